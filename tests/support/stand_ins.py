"""Small shell programs that behave as the command lines of coding agents do, for tests of the client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

Said = Sequence[dict[str, object]]

CLAUDE: Said = (
    {"type": "system", "subtype": "init", "model": "claude-sonnet-5-5", "tools": []},
    {"type": "assistant", "message": {"content": [{"type": "text", "text": "IDEA: double"}]}},
    {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": "IDEA: double",
        "num_turns": 1,
        "stop_reason": "end_turn",
        "total_cost_usd": 0.0125,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 1000,
            "output_tokens": 21,
        },
        "modelUsage": {"claude-haiku-5-5": {"outputTokens": 3}, "claude-sonnet-5-5": {"outputTokens": 18}},
    },
)
CODEX: Said = (
    {"type": "thread.started", "thread_id": "t"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "0", "type": "reasoning", "text": "hm"}},
    {"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": "IDEA: double"}},
    {"type": "turn.completed", "usage": {"input_tokens": 1300, "cached_input_tokens": 1000, "output_tokens": 21}},
)
GEMINI = {
    "session_id": "s",
    "response": "IDEA: double",
    "stats": {
        "models": {
            "gemini-9-flash": {"tokens": {"prompt": 300, "candidates": 1, "thoughts": 0, "cached": 0, "total": 301}},
            "gemini-9-pro": {
                "tokens": {"prompt": 1000, "candidates": 12, "thoughts": 8, "cached": 600, "total": 1020},
            },
        }
    },
}
GEMINI_LINES: Said = (
    {"type": "init", "session_id": "s", "model": "gemini-9-pro"},
    {"type": "message", "role": "user", "content": "the prompt"},
    {"type": "message", "role": "assistant", "content": "IDEA: ", "delta": True},
    {"type": "message", "role": "assistant", "content": "double", "delta": True},
    {"type": "result", "status": "success", "stats": {"input_tokens": 1300, "output_tokens": 21, "cached": 600}},
)


def lines(said: Said) -> str:
    return "\n".join(map(json.dumps, said))


def script(folder: Path, body: str, name: str = "tool", shell: str = "/bin/sh") -> str:
    """Write a program that reads its input and does what ``body`` says; return its path."""
    path = folder / name
    path.write_text(f"#!{shell}\ncat > prompt\n{body}\n")
    path.chmod(0o755)
    return str(path)


def saying(folder: Path, output: str, body: str = "", **more: str) -> str:
    """Write a program that writes a text to standard output."""
    mark = "END_OF_OUTPUT"
    return script(folder, f"cat <<'{mark}'\n{output}\n{mark}\n{body}", **more)
