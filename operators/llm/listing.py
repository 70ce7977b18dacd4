"""The models that a server lists, in the forms that servers have for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.llm.base import Interrupted
from operators.llm.text import field, one_name

_SHOWN = 12
_PREFIX = "models/"
"""Gemini's lists have it, and its calls take both names."""


@dataclass(frozen=True)
class ModelList:
    """Names of models. ``whole``: False if the server has more pages."""

    names: frozenset[str]
    whole: bool = True

    @classmethod
    def of(cls, body: Any) -> ModelList:
        """Read a list of names or models, or an object that has one. Raises ``Interrupted`` for a page of text."""
        if isinstance(body, (str, bytes)):
            raise Interrupted(
                "the server sent a page instead of its list of models; check llm.base_url", unreadable=True
            )
        whole = not any(field(body, name) for name in ("has_more", "next_page_token", "nextPageToken", "next"))
        entries = body if isinstance(body, list) else field(body, "data") or field(body, "models") or ()
        entries = entries if isinstance(entries, list) else ()
        return cls(frozenset(str(name) for entry in entries if (name := _name(entry))), whole)

    def has(self, name: str) -> bool:
        """Return whether a model is listed: also without a router's variant (``x/y:nitro``) or a tag."""
        wanted = name.removeprefix(_PREFIX)
        names = {listed.removeprefix(_PREFIX) for listed in self.names}
        variant_of = wanted.rpartition(":")[0] if "/" in wanted else ""
        return wanted in names or f"{wanted}:latest" in names or variant_of in names

    @property
    def words(self) -> str:
        """What the server has, for a warning."""
        if not self.names:
            return "the server lists no models"
        some = ", ".join(sorted(one_name(name)[:60] for name in self.names)[:_SHOWN])
        page = "" if self.whole else " on its first page"
        return f"it is not among the {len(self.names)} models that the server lists{page}: {some}"


def _name(entry: Any) -> object:
    if isinstance(entry, str):
        return entry
    return (field(entry, "id") or field(entry, "name") or field(entry, "model")) if isinstance(entry, Mapping) else None
