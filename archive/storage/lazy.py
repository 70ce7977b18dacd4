"""Texts, curves and cases that are loaded from the file on first access: a tree of 100,000 programs fits in memory.

StoredFiles   the files of a candidate (a mapping path -> text)
StoredRows    the learning curve of an evaluation, or its scores by case (a sequence of records)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")


class Query(Protocol):
    """Run one trusted statement over the committed rows."""

    def __call__(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...


class StoredFiles(Mapping[str, str]):
    """The files of a candidate: paths in memory, texts loaded on access."""

    __slots__ = ("_load", "_shas")

    def __init__(self, shas: Mapping[str, str], load: Callable[[str], str]) -> None:
        """``shas``: path -> SHA-256 of the text; ``load``: SHA-256 -> text."""
        self._shas = shas
        self._load = load

    def __getitem__(self, path: str) -> str:
        return self._load(self._shas[path])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shas)

    def __len__(self) -> int:
        return len(self._shas)

    def __repr__(self) -> str:
        return f"StoredFiles({dict(self._shas)!r})"


class StoredRows(Sequence[T], Generic[T]):
    """Records of an evaluation: their number in memory, they themselves loaded on access."""

    __slots__ = ("_length", "_load")

    def __init__(self, length: int, load: Callable[[], tuple[T, ...]]) -> None:
        self._length = length
        self._load = load

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        return self._load()[place]

    def __iter__(self) -> Iterator[T]:
        return iter(self._load())

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        """Compare by records, also with a tuple, so that evaluations compare by value."""
        if not isinstance(other, StoredRows | tuple):
            return NotImplemented
        return len(other) == len(self) and tuple(other) == self._load()

    def __hash__(self) -> int:
        return hash(self._load())

    def __repr__(self) -> str:
        return f"StoredRows({self._length})"
