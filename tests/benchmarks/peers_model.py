"""The stand-in model of ``peers.py``: one server for all systems, which answers each in the form that it asked for.

The program that a system wants to change is found in its prompt, between the marks of the evolvable block. What is
changed depends on the program, the seed and the number of the answer, never on who asks: see ``peers_edits.py``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from model_server import Act, Say
from openai_api import OpenAiApi
from peers_edits import Catalogue
from peers_tasks import END, START

MODEL = "stand-in"
_SHOWN = (
    "# Current Program",
    "# Current program",
    "# Incorrect Program to Fix",
    "The component being optimized:",
    "The program:",
)
"""What stands before the program to be changed: OpenEvolve and the hill climber, Shinka (two), GEPA, Treewright."""


@dataclass
class StandIn:
    """Answers to requests of one search. ``program``: of the seed, where a prompt asks for a new program."""

    catalogue: Catalogue
    seed: int
    program: str
    answers: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def server(self) -> OpenAiApi:
        """Return the server, which is to be entered."""
        api = OpenAiApi(model=MODEL)
        api.act = lambda number: self.act(api.asked[number - 1])
        return api

    def act(self, body: dict[str, Any]) -> Act:
        messages = [str(message["content"]) for message in body["messages"]]
        return Say(self.answer("\n".join(messages)))

    def answer(self, prompt: str) -> str:
        """Return the answer to a prompt, with a change of the program in it."""
        old = program_in(prompt)
        draft = "Write a new program for the task" in prompt
        if old is None and not draft:
            return "There is nothing to change."
        with self.lock:
            self.answers += 1
            number = self.answers
        change = self.catalogue.simpler if "Make the program simpler" in prompt else self.catalogue.another
        new = change(self.program if draft or old is None else old, self.seed, number)
        return formed(prompt, old or "", new, number, whole=draft)


def program_in(prompt: str) -> str | None:
    """Return the program that a prompt shows to be changed; None without one."""
    places = [place for words in _SHOWN if (place := prompt.rfind(words)) >= 0]
    found = re.compile(re.escape(START) + ".*?" + re.escape(END.rstrip()), re.DOTALL).search(
        prompt, max(places, default=0)
    )
    return found[0] + "\n" if found and places else None


def formed(prompt: str, old: str, new: str, number: int, whole: bool = False) -> str:
    """Return a change in the form that the prompt asks for."""
    searched, replacement = block(old, new)
    edits = f"<<<<<<< SEARCH\n{searched}=======\n{replacement}>>>>>>> REPLACE\n"
    fenced = f"```python\n{new}```\n"
    named = f"<NAME>\nchange_{number}\n</NAME>\n\n<DESCRIPTION>\nA change.\n</DESCRIPTION>\n\n"
    if "<DIFF>" in prompt:
        return f"{named}<DIFF>\n{edits}\n</DIFF>\n"
    if "<CODE>" in prompt:
        return f"{named}<CODE>\n{fenced}</CODE>\n"
    if "The component being optimized:" in prompt:
        return fenced
    return f"IDEA: change {number}\n\n" + (fenced if whole else edits)


def block(old: str, new: str) -> tuple[str, str]:
    """Return (lines that occur once, lines instead of them): from the first to the last line that differs."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    top = common(before, after)
    below = min(common(before[::-1], after[::-1]), len(before) - top, len(after) - top)
    bottom = len(before) - below
    while top > 0 and not once("".join(before[top:bottom]), old):
        top -= 1
    return "".join(before[top:bottom]), "".join(after[top : len(after) - below])


def common(before: Sequence[str], after: Sequence[str]) -> int:
    """Return how many lines two texts have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))


def once(part: str, text: str) -> bool:
    return bool(part) and text.find(part) == text.rfind(part)
