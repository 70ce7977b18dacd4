"""What became of a proposal: at which stage an answer was refused, whether the program ran, whether it was better.

read       the answer was of the form that was asked for
applied    its edits fitted the program
parsed     the program that came of it is Python
accepted   it changes something, is not known, is what the operator wants, and passes the gates
ran        one second of training, scoring and audit by the real evaluator gave a score
improved   ten seconds of training, beside its parent at the same time with the same seed, gave a better one
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from archive.records import Evaluation, Request, Scored
from prepare.language_model import LanguageModelTask
from train.hardware.slots import Slot, make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import Sandbox

STAGES = ("read", "applied", "parsed", "accepted", "ran")
_REFUSED_AT = (
    ("applied", r"the search text is not in|the search text occurs|names a file"),
    ("parsed", r"does not parse"),
    ("read", r"neither a search|has no end|is not complete|fenced block|backticks|cut off|was empty|characters;|"
             r"one or the other|PLACE|search text is empty|leaves out a part|defined twice"),
)  # fmt: skip
_CLASSES = (
    ("the answer was cut off", r"cut off"),
    ("the search text is not there", r"the search text is not in"),
    ("the search text is there several times", r"the search text occurs"),
    ("no block and no file", r"neither a search"),
    ("a block without an end", r"has no end|is not complete"),
    ("several files in one", r"fenced blocks for|one or the other"),
    ("half of a definition", r"leaves out a part|a place of its own|defined twice"),
    ("a name that is nowhere defined", r"nowhere defined"),
    ("a file that may not be changed", r"names a file"),
    ("does not parse", r"does not parse"),
    ("nothing changed", r"nothing changed|equals one of its parents"),
    ("known already", r"tried before|is known already"),
    ("nearly what failed", r"this is nearly"),
    ("no simpler", r"did not become simpler"),
    ("no new constant", r"no new module-level constant|is (?:named|defined) and never used|a range is not of the form"),
    ("blocks for a new program", r"there is no file to change"),
    ("a fixed seed", r"fixed random seed"),
    ("no functions", r"must define the functions"),
    ("no answer", r"^no answer"),
)


def refused_at(reason: str) -> str:
    """The stage that an answer did not reach. What no pattern knows was refused by the gates or the operator."""
    if reason.startswith("block ") and "search text is empty" not in reason:
        return "applied"
    return next((stage for stage, pattern in _REFUSED_AT if re.search(pattern, reason)), "accepted")


def class_of(reason: str) -> str:
    """A refusal in few words, to be counted."""
    return next((name for name, pattern in _CLASSES if re.search(pattern, reason)), reason[:60])


def reached(reason: str | None) -> tuple[str, ...]:
    """The stages before training that an answer passed; None: it became a candidate."""
    before = STAGES[:-1]
    return before if reason is None else before[: before.index(refused_at(reason))]


@dataclass(frozen=True)
class Bench:
    """Where candidates run: the real evaluator, and one whose training is a second long."""

    full: AuditedEvaluator
    short: AuditedEvaluator
    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, task: LanguageModelTask, sandbox: Sandbox) -> Bench:
        brief = replace(task, seconds=1.0, rows=task.batch)
        slots = make_slots(2, 1) if len(make_slots(None)) > 1 else make_slots(1, 1) * 2
        return cls(AuditedEvaluator(task, sandbox), AuditedEvaluator(brief, sandbox), slots)

    def ran(self, files: Mapping[str, str]) -> dict[str, Any]:
        """One second: the outcome, and why where it failed."""
        return _said(_evaluated(self.short, files, 5, self.slots[0]))

    def paired(self, pair: Sequence[Mapping[str, str]], seed: int) -> list[dict[str, Any]]:
        """A full training of both at the same time, so that what else the machine does hurts both alike."""
        with ThreadPoolExecutor(len(pair)) as pool:
            jobs = [
                pool.submit(_evaluated, self.full, files, seed, slot)
                for files, slot in zip(pair, self.slots, strict=False)
            ]
            return [_said(job.result()) for job in jobs]


def _evaluated(evaluator: AuditedEvaluator, files: Mapping[str, str], seed: int, slot: Slot) -> Evaluation:
    request = Request("live", "live", 0, files, seed, "screen")
    return evaluator.evaluate(request, slot, threading.Event(), lambda *told: None)


def _said(evaluation: Evaluation) -> dict[str, Any]:
    if isinstance(evaluation, Scored):
        return {"outcome": "scored", "score": evaluation.score}
    return {"outcome": evaluation.outcome, "reason": evaluation.reason[:300], "log": evaluation.log[-4000:]}


def summary(rows: Sequence[Mapping[str, Any]], figures: Callable[[Sequence[Any]], dict[str, Any]]) -> dict[str, Any]:
    """Figures of all rows and of each operator's, and what answers were refused and programs ended for.

    Rows have ``operator``, ``told`` (of the first answer), ``reason`` (of the last one) and ``fate``; None: not so.
    """

    def counted(said: Iterable[str | None]) -> dict[str, int]:
        return dict(Counter(word for word in said if word).most_common())

    return {
        **figures(rows),
        "refused_first": counted(row["told"] and class_of(row["told"]) for row in rows),
        "refused_last": counted(row["reason"] and class_of(row["reason"]) for row in rows),
        "fates": counted(row["fate"] for row in rows),
        "operators": {
            name: figures([row for row in rows if row["operator"] == name])
            for name in dict.fromkeys(row["operator"] for row in rows)
        },
    }


def share(hits: Iterable[object]) -> float | None:
    """The share of what is true; None of nothing."""
    found = [bool(hit) for hit in hits]
    return round(sum(found) / len(found), 3) if found else None


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 1) if known else None
