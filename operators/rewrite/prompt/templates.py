"""The Markdown templates of prompts: a folder of one's own comes before the one of this repository.

``{{name}}`` in a template stands for a part that the operator gives. A line ``<!-- what follows differs ... -->`` ends
what several prompts of a run have in common, so that a provider can cache it. The texts of the templates behind a
prompt are its version: each call keeps their hash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

OWN = Path(__file__).resolve().parents[2] / "prompts"
_HOLE = re.compile(r"\{\{(\w+)\}\}")
_CUT = re.compile(r"^<!-- what follows differs[^\n]*-->\n?", re.MULTILINE)


class Templates:
    """All templates, read once: a search has the same prompts from its start to its end."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """``folder``: whose templates come before ours.

        Raises ValueError if it is none, or has a file of another name or with a hole that ours does not have.
        """
        self._texts = {path.stem: path.read_text(encoding="utf-8") for path in OWN.glob("*.md")}
        if folder is not None:
            self._texts |= _overrides(Path(folder), self._texts)

    def text(self, name: str) -> str:
        """The template of that name as it stands in its file."""
        return self._texts[name]

    def version(self, names: Sequence[str]) -> str:
        """The texts of these templates as one: equal for equal prompts' templates, and enough to see what they were."""
        return "\n".join(f"<!-- {name}.md -->\n{self.text(name).strip()}\n" for name in names)

    def holes(self, name: str) -> set[str]:
        """The names of the parts that a template wants."""
        return set(_HOLE.findall(self.text(name)))

    def filled(self, name: str, parts: Mapping[str, str]) -> str:
        """The template with its holes filled, all of it as one text."""
        stable, rest = self.halves(name, parts)
        return "\n".join(half for half in (stable, rest) if half)

    def halves(self, name: str, parts: Mapping[str, str]) -> tuple[str, str]:
        """(what several prompts have in common, the rest); the first is empty where the template has no cut.

        Filled in one pass, so that what fills a hole can neither open another nor make a cut.
        """
        halves = _CUT.split(self.text(name), maxsplit=1)
        filled = [_HOLE.sub(lambda hole: parts[hole[1]], half).strip() for half in halves]
        stable, rest = filled if len(filled) == 2 else ("", filled[0])
        return (f"{stable}\n" if stable else ""), f"{rest}\n"


def _overrides(folder: Path, ours: Mapping[str, str]) -> dict[str, str]:
    """The templates of a folder by name. Raises ValueError."""
    known = ", ".join(f"{name}.md" for name in sorted(ours))
    if not folder.is_dir():
        raise ValueError(f"prompts={folder}: there is no such folder; expected one with {known}")
    texts = {}
    for path in sorted(folder.glob("*.md")):
        if path.name == "README.md":
            continue
        if path.stem not in ours:
            raise ValueError(f"prompts={folder}: {path.name} is no template; expected {known}")
        try:
            texts[path.stem] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read as UTF-8 text: {error}") from None
        wanted, given = (set(_HOLE.findall(text)) for text in (texts[path.stem], ours[path.stem]))
        if unknown := wanted - given:
            may = ", ".join(sorted(given)) or "none"
            raise ValueError(f"{path}: unknown {{{{{min(unknown)}}}}}; this template may use {may}")
    return texts
