"""What of a program may change: its files by pattern, its numbers by path, and its blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from operators.languages.language import Language, language_for
from operators.languages.parameters import Parameter
from operators.languages.syntax import Unparsable
from prepare.blocks import in_blocks
from prepare.globs import matches
from prepare.syntax import first_error
from prepare.task import Task

Files = Mapping[str, str]


@dataclass(frozen=True)
class Editable:
    """Patterns of the files that may change, numbers that are declared by their path, and whether only blocks may."""

    patterns: tuple[str, ...] = ("**",)
    declared: Mapping[str, str] = field(default_factory=dict)
    evolve_blocks: bool = False

    @classmethod
    def of(cls, task: Task) -> Editable:
        return cls(tuple(task.editable), task.parameters, task.evolve_blocks)

    def paths(self, files: Files) -> list[str]:
        """Return the files of a program that may change, in the order of the patterns."""
        return editable_files(self.patterns, files)

    def language(self, path: str) -> Language:
        return language_for(path, self.declared)

    def parameters(self, files: Files) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) of all numbers that may change. Files that do not parse have none."""
        for path in self.paths(files):
            with suppress(Unparsable):
                for parameter in self.language(path).parameters(files[path]):
                    if not self.evolve_blocks or _is_in_block(files[path], parameter):
                        yield path, parameter


def editable_files(patterns: Sequence[str], files: Files) -> list[str]:
    """Return the files of a program that match one of the patterns, in the order of the patterns."""
    return list(dict.fromkeys(path for pattern in patterns for path in sorted(files) if matches(path, (pattern,))))


def require_parsable(files: Files, earlier: Sequence[Files] = ()) -> None:
    """Raise ``Unparsable`` for a file that does not parse.

    A data file whose versions in ``earlier`` programs did not all parse may stay as it is: JSON with comments.
    """
    if (error := first_error(files, earlier)) is not None:
        raise Unparsable(error)


def _is_in_block(text: str, parameter: Parameter) -> bool:
    raw = text.encode("utf-8", "surrogatepass")
    start, end = (len(raw[:place].decode("utf-8", "surrogatepass")) for place in (parameter.start, parameter.end))
    return in_blocks(text, start, end)
