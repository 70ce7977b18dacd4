"""How many answers of real models the reader reads, and how many of these byte for byte as their blocks state.

    git worktree add ../before 7e73f0f^
    python tests/benchmarks/answers.py --history chat-history.md
    python tests/benchmarks/answers.py --history chat-history.md --checkout ../before
    python tests/benchmarks/answers.py --quick          # four answers of its own

The history is ``tests/fixtures/chat-history.md`` of aider's repository, whose models answer in such blocks, too. Each
answer for one file is read against a text that is made of its own search texts, so that what it has to become is known.
Left out are answers for several files, with an empty search text, or with a search text that is part of another one.

    right     it becomes what its blocks state
    wrong     it is read, and becomes something else
    refused   with a reason; an answer whose blocks are not whole has to be
    lost      refused, although all of its blocks are whole
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_SAID = ("#### ", "> ", "# aider chat")
"""How lines of a history begin that a user or the program wrote."""
BEGIN = "<<<<<<< SEARCH"
_BLOCK = re.compile(r"^<<<<<<< SEARCH *\n(.*?)^=======[ ]*\n(.*?)^>>>>>>> REPLACE", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"^([\w./-]+\.\w+)\n```", re.MULTILINE)
QUICK = (
    "IDEA: more\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE\n",
    "a.py\n```python\n<<<<<<< SEARCH\nx = 1\n=======\n\nx = 2\n>>>>>>> REPLACE\n```\n",
    "Two.\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n>>>>>>> REPLACE\n\n<<<<<<< SEARCH\ny\n=======\nz\n>>>>>>> REPLACE\n",
    "IDEA: cut\n<<<<<<< SEARCH\nx = 1\n=======\nx = 2\n",
)


@dataclass(frozen=True)
class Recorded:
    """An answer, the file that it is for, a text with all of its search texts, and what that has to become."""

    text: str
    path: str
    before: str
    after: str | None
    """None: its blocks are not whole."""


def said(history: str) -> Iterator[str]:
    """The answers of a history that have blocks."""
    lines: list[str] = []
    for line in [*history.split("\n"), NOT_SAID[0]]:
        if not line.startswith(NOT_SAID):
            lines.append(line)
        elif lines:
            answer, lines = "\n".join(lines), []
            if BEGIN in answer:
                yield f"{answer.strip()}\n"


def recorded(answer: str) -> Recorded | None:
    """An answer with what it has to become; None for one that is left out."""
    paths, blocks = set(_FILE.findall(answer)) or {"train.py"}, _BLOCK.findall(answer)
    if len(paths) > 1:
        return None
    if len(blocks) != answer.count(BEGIN):
        return Recorded(answer, paths.pop(), "x = 1\n", None)
    before, after = ("# start\n" + "".join(f"{b[i]}# {n}\n" for n, b in enumerate(blocks)) for i in (0, 1))
    once = all(search.strip() and before.count(search) == 1 for search, _ in blocks)
    return Recorded(answer, paths.pop(), before, after) if once else None


def reader(checkout: Path | None) -> Callable[[Recorded], str | None]:
    """What reads an answer in this checkout or another one: the new text, or None for a refusal."""
    if checkout is not None:
        sys.path.insert(0, str(checkout.resolve()))
    module: Any = importlib.import_module("operators.rewrite.answers.search_replace")
    if checkout is not None and checkout.resolve() not in Path(module.__file__).parents:
        raise ValueError(f"{module.__file__} was imported and not the reader of {checkout}")
    names = len(inspect.signature(module.read_answer).parameters) - 1

    def read(answer: Recorded) -> str | None:
        try:
            proposal = module.read_answer(answer.text, *([[answer.path]] * names))
            files: Mapping[str, str] = module.apply(proposal, {answer.path: answer.before})
        except module.InvalidAnswer:
            return None
        return files[answer.path]

    return read


def fate(answer: Recorded, text: str | None) -> str:
    """Of right, wrong, lost and refused."""
    if text is None:
        return "refused" if answer.after is None else "lost"
    return "right" if text == answer.after else "wrong"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=Path, help="a chat history of aider")
    parser.add_argument("--checkout", type=Path, help="read with the reader of another checkout (default: this one)")
    parser.add_argument("--quick", action="store_true", help="four answers of its own, and no history")
    options = parser.parse_args()
    if options.history is None and not options.quick:
        parser.error("--history FILE or --quick is needed")
    answers = QUICK if options.quick else tuple(said(options.history.read_text(encoding="utf-8")))
    known = [each for each in map(recorded, answers) if each is not None]
    read = reader(options.checkout)
    fates = Counter(fate(answer, read(answer)) for answer in known)
    print(json.dumps({"answers": len(known), "left_out": len(answers) - len(known), **fates}))


if __name__ == "__main__":
    main()
