"""A local server that speaks the Messages API: for whole searches whose model costs nothing, and for the client.

Its answers are billed as usual. See ``model_server.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from model_server import TOKENS_IN, TOKENS_OUT, Act, Fail, ModelServer, Quality, Say, an_edit

__all__ = ["MODEL", "TOKENS_IN", "TOKENS_OUT", "MessagesApi", "Quality"]

MODEL = "claude-sonnet-5-5"
_STOPS = {"end": "end_turn", "refusal": "refusal", "length": "max_tokens"}


@dataclass
class MessagesApi(ModelServer):
    """``status`` other than 200 is the answer to everything; ``quality``: how the answer of that number turns out."""

    status: int = 200
    quality: Callable[[int], Quality] | None = None
    read: int = 0
    """Tokens of each prompt that were read from the cache, beside ``TOKENS_IN`` fresh ones."""

    def __post_init__(self) -> None:
        if self.status != 200:
            refused = Fail(self.status, "authentication_error", "invalid x-api-key")
            self.act, self.listing = lambda number: refused, refused
        elif self.quality is not None:
            quality = self.quality
            self.act = lambda number: _of(quality(number), number)

    def usage(self, say: Say) -> dict[str, Any]:
        counts = {"input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT, "cache_read_input_tokens": self.read}
        return counts if say.counted else {}

    def whole(self, say: Say, text: str, number: int) -> dict[str, Any]:
        content = [{"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": text}]
        return self._message(number) | {"stop_reason": _STOPS[say.stop], "content": content, "usage": self.usage(say)}

    def _message(self, number: int) -> dict[str, Any]:
        return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": MODEL}

    def pieces(self, say: Say, text: str, number: int) -> list[bytes]:
        usage = self.usage(say)
        begin = self._message(number) | {
            "content": [],
            "stop_reason": None,
            "usage": usage and usage | {"output_tokens": 1},
        }
        return list(map(_event, self._events(begin, say, text, usage)))

    def _events(self, begin: dict[str, Any], say: Say, text: str, usage: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": begin}
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
        yield {"type": "content_block_stop", "index": 0}
        yield {"type": "ping"}
        yield {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}
        size = max(8, len(text) // 20 + 1)
        for start in range(0, len(text), size):
            delta = {"type": "text_delta", "text": text[start : start + size]}
            yield {"type": "content_block_delta", "index": 1, "delta": delta}
        yield {"type": "content_block_stop", "index": 1}
        out = {"output_tokens": usage["output_tokens"]} if usage else {}
        yield {"type": "message_delta", "delta": {"stop_reason": _STOPS[say.stop], "stop_sequence": None}, "usage": out}
        yield {"type": "message_stop"}

    def failure(self, fail: Fail) -> dict[str, Any]:
        return {"type": "error", "error": {"type": fail.kind, "message": fail.message}, "request_id": "req_1"}

    def begun(self, fail: Fail, number: int) -> list[bytes]:
        return [*self.pieces(Say(), "IDEA: half of", number)[:7], _event(self.failure(fail))]

    def models(self) -> dict[str, Any]:
        return {"id": MODEL, "type": "model", "display_name": "x", "created_at": "2026-09-28T00:00:00Z"}


def _of(quality: Quality, number: int) -> Act:
    if quality == "refusal":
        return Say(stop="refusal")
    return Say() if quality == "edit" else Say(an_edit(number, "this line is not there"))


def _event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()
