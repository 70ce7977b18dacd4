"""What the user asked of a running search, as the fold of its ``steer`` events; commands, events and their effect.

A command travels from ``python -m archive steer`` or the live page to the search (``archive/query/steer.py``), which
records it as an event before it takes effect. A resumed search folds the same events, so it makes the same choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from archive.records import Event

KIND = "steer"
"""Kind of the events."""

MOST_WORDS = 4_000
"""Characters of one instruction."""


@dataclass(frozen=True)
class Instruction:
    """Words of the user for the prompts of all moves from number ``since`` on; empty: withdraws the earlier ones."""

    since: int
    words: str


@dataclass(frozen=True)
class Steering:
    """The effect of all commands so far."""

    pinned: frozenset[str] = frozenset()
    """Proposals start from these nodes and their descendants, while an operator applies there."""
    banned: frozenset[str] = frozenset()
    """These nodes and their descendants are no parents, no leaders and no finalists."""
    instructions: tuple[Instruction, ...] = ()
    extra: Mapping[str, float] | None = None
    """Limit of the budget -> what was added to it."""

    @classmethod
    def of(cls, events: Iterable[Event]) -> Steering:
        """Fold the events of a run, oldest first."""
        steering = cls()
        for event in events:
            steering = steering.after(event)
        return steering

    def after(self, event: Event) -> Steering:
        """Return the steering after one more event."""
        detail, node = event.detail or {}, {event.node_id or ""}
        match event.code:
            case "pin":
                return replace(self, pinned=self.pinned | node, banned=self.banned - node)
            case "ban":
                return replace(self, banned=self.banned | node, pinned=self.pinned - node)
            case "free":
                return replace(self, pinned=self.pinned - node, banned=self.banned - node)
            case "instruct":
                new = Instruction(int(_number(detail.get("move"))), str(detail.get("words", "")))
                return replace(self, instructions=(*self.instructions, new))
            case "budget":
                return replace(self, extra=_added(self.extra or {}, detail))
        return self

    def instructions_for(self, move: int) -> tuple[str, ...]:
        """Return the instructions in force when a move was chosen, oldest first."""
        words: list[str] = []
        for instruction in self.instructions:
            if instruction.since <= move:
                words = [*words, instruction.words] if instruction.words else []
        return tuple(words)


def _added(extra: Mapping[str, float], detail: Mapping[str, Any]) -> dict[str, float]:
    limit = str(detail.get("limit"))
    return {**extra, limit: extra.get(limit, 0) + _number(detail.get("added"))}


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0
