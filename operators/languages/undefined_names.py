"""Names that a program uses but does not define, in languages that can tell."""

from __future__ import annotations

from collections.abc import Mapping

from operators.languages.language import language_for


def undefined_names(files: Mapping[str, str]) -> tuple[str, ...]:
    """Return all names that a file uses and does not define. Files that do not parse have none."""
    return tuple(name for path, text in sorted(files.items()) for name in language_for(path).undefined_names(text))
