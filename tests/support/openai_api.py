"""A local server that speaks OpenAI's chat completions, as vLLM, Ollama, llama.cpp and OpenRouter do.

See ``model_server.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from model_server import TOKENS_IN, TOKENS_OUT, Fail, ModelServer, Say

MODEL = "qwen2.5-coder:1.5b"
_STOPS = {"end": "stop", "refusal": "content_filter", "length": "length"}


@dataclass
class OpenAiApi(ModelServer):
    """``cached``: tokens of each prompt that came from the cache; None for a server that says nothing about it."""

    cached: int | None = None
    cost: float | None = None
    """Dollars that each answer is said to have cost, as routers do."""
    model: str = MODEL

    def usage(self, say: Say) -> dict[str, Any]:
        if not say.counted:
            return {}
        counts: dict[str, Any] = {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT}
        counts["total_tokens"] = TOKENS_IN + TOKENS_OUT
        if self.cached is not None:
            counts["prompt_tokens_details"] = {"cached_tokens": self.cached}
        if self.cost is not None:
            counts["cost"] = self.cost
        return {"usage": counts}

    def whole(self, say: Say, text: str, number: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": _STOPS[say.stop]}
        return self._about(number, "chat.completion") | {"choices": [choice]} | self.usage(say)

    def pieces(self, say: Say, text: str, number: int) -> list[bytes]:
        about = self._about(number, "chat.completion.chunk")
        size = max(8, len(text) // 20 + 1)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": text[start : start + size]} for start in range(0, len(text), size)]
        chunks = [about | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append(about | {"choices": [{"index": 0, "delta": {}, "finish_reason": _STOPS[say.stop]}]})
        if say.counted:
            chunks.append(about | {"choices": []} | self.usage(say))
        return [*map(_event, chunks), b"data: [DONE]\n\n"]

    def _about(self, number: int, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{number}", "object": kind, "created": 1_790_000_000, "model": self.model}

    def failure(self, fail: Fail) -> dict[str, Any]:
        return {"error": {"message": fail.message, "type": fail.kind, "param": None, "code": fail.kind}}

    def begun(self, fail: Fail, number: int) -> list[bytes]:
        return [*self.pieces(Say(), "IDEA: half of", number)[:2], _event(self.failure(fail))]

    def models(self) -> dict[str, Any]:
        data = [{"id": self.model, "object": "model", "created": 1_790_000_000, "owned_by": "x"}]
        return {"object": "list", "data": data}


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
