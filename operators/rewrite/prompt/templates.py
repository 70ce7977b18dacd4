"""Markdown templates of prompts, from this repository or from a folder of the user.

``{{name}}`` in a template is a placeholder for a section that the operator provides; a paragraph that is only a
placeholder of an empty section is left out. A line
``<!-- what follows differs ... -->`` ends the part that several prompts of a run share, so that providers can cache it.
The texts of the templates are the version of a prompt: each call keeps their hash.

Jinja2 is not used: it would replace the ten lines of ``render_halves`` only, be a dependency of its own (torch has it,
this package has not), and make a user's folder of prompts executable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

BUILT_IN = Path(__file__).resolve().parents[2] / "prompts"
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_FILLED = re.compile(r"(^)?\{\{(\w+)\}\}(\n\n)?", re.MULTILINE)
_CUT = re.compile(r"^<!-- what follows differs[^\n]*-->\n?", re.MULTILINE)


class Templates:
    """All templates, read once, so that a search has the same templates from start to end."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """Read the templates; those in ``folder`` replace built-in ones.

        Raises ValueError if there is no such folder, or a file has an unknown name or placeholder.
        """
        ours = {path.stem: path.read_text(encoding="utf-8") for path in BUILT_IN.glob("*.md")}
        own = {} if folder is None else _overrides(Path(folder), ours)
        self._texts = ours | own
        self.replaced = frozenset(own)
        """Names of the templates that come from ``folder``."""

    def text(self, name: str) -> str:
        """Return the template of that name as it is in its file."""
        return self._texts[name]

    def version(self, names: Sequence[str]) -> str:
        """Return the texts of these templates as one, which identifies and documents them."""
        return "\n".join(f"<!-- {name}.md -->\n{self.text(name).strip()}\n" for name in names)

    def placeholders(self, name: str) -> set[str]:
        """Return the names of the sections that a template uses."""
        return set(_PLACEHOLDER.findall(self.text(name)))

    def render(self, name: str, parts: Mapping[str, str]) -> str:
        """Return the filled template as one text."""
        stable, rest = self.render_halves(name, parts)
        return "\n".join(half for half in (stable, rest) if half)

    def render_halves(self, name: str, parts: Mapping[str, str]) -> tuple[str, str]:
        """Return (the part that several prompts share, the rest); the first is empty without a cut in the template.

        Sections are filled in one pass after the cut, so that their text can neither hold a placeholder nor a cut.
        """
        halves = _CUT.split(self.text(name), maxsplit=1)
        filled = [_FILLED.sub(lambda match: _section(match, parts), half).strip() for half in halves]
        stable, rest = filled if len(filled) == 2 else ("", filled[0])
        return (f"{stable}\n" if stable else ""), f"{rest}\n"


def _section(match: re.Match[str], parts: Mapping[str, str]) -> str:
    """Return the text in place of a placeholder, with the blank line that follows it unless nothing stands before."""
    start, name, gap = match.groups()
    return "" if start is not None and gap and not parts[name] else f"{parts[name]}{gap or ''}"


def _overrides(folder: Path, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the templates of a folder by name. Raises ValueError."""
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
        wanted, given = (set(_PLACEHOLDER.findall(text)) for text in (texts[path.stem], ours[path.stem]))
        if unknown := wanted - given:
            may = ", ".join(sorted(given)) or "none"
            raise ValueError(f"{path}: unknown {{{{{min(unknown)}}}}}; this template may use {may}")
    return texts
