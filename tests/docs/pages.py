"""The Markdown pages of the project: fenced blocks, commands in them, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for folder in (".", "docs", "examples", "skills/treewright", "tests", "tests/benchmarks")
    for path in (HOUSE / folder).glob("*.md")
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line of a ``sh`` block, without its comment."""

    page: str
    text: str
    folder: str = "."
    """Where it is typed, seen from the checkout: after ``cd FOLDER`` on the same line."""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, or those in one language; fences may be indented."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(page, name, text) for name, text in found if language is None or name == language]


def commands(page: Path) -> Iterator[Command]:
    """Every command line of the page's ``sh`` blocks; ``a && b`` are two; a backslash continues a line."""
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            folder = "."
            for part in re.split(r"\s&&\s", re.sub(r"\s*(^|\s)#\s.*$", "", line)):
                if part.startswith("cd ") and (HOUSE / part[3:]).is_dir():
                    folder = part[3:]
                elif part.strip():
                    yield Command(str(page.relative_to(HOUSE)), part.strip(), folder)


def inline_commands(page: Path) -> Iterator[Command]:
    """Complete commands in running text, between backquotes; names of commands, ``...`` and ``[OPTION]`` are not."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for found in re.findall(r"`([^`]+)`", text):
        command = " ".join(found.split())
        is_whole = not re.search(r"\.\.\.| \[| (ablate|evaluate|explain)$", command)
        if is_whole and re.match(r"(make|pip|python -m \w+|treewright) ", command):
            yield Command(str(page.relative_to(HOUSE)), command)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> set[str]:
    """Targets of the page's relative links."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return {target for target in found if not target.startswith(("http:", "https:", "mailto:"))}
