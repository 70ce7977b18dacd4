"""Judges prompts by the proposals that a language model makes of them: the scorer of the task ``self/prompts``.

Each case is one proposal: the operator ``improve`` asks the model of the task's settings to improve a program of a
small tree, with the candidate's templates in the place of the shipped ones, and with one repair turn. Operator, parser,
checks and the programs, whose losses are known functions (``valleys``), are on the trusted side; templates are texts.

The score of a case is ``p = (accepted + improving) / 2``: whether the answer became a candidate, and whether the true
loss of that candidate is lower than the parent's.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from archive.noise import SeedDeviation
from archive.records import Candidate, Propose
from operators.base import Context, NoCandidate
from operators.languages.fingerprint import fingerprint
from operators.llm.base import Answer, AnswerRefused, Cost, Prompt
from operators.llm.meter import Meter
from operators.llm.prices import Price
from operators.rewrite.improve import Improve
from prepare.files import ROOT
from prepare.program import ProgramTask, PromptText, Workspace
from prepare.scorer import CandidateHandle, Case, Ending, Invalid, Score, Split
from prepare.task import Metric
from search.playing.proposer import TRUSTED, digest_of
from search.playing.situations import PATH, Situation, situation
from search.playing.stages import NestedStages, OfEvaluation
from search.playing.utility import Outcome, Utility
from train.program.model import ModelRefused

TEMPLATES = ("system.md", "improve.md", "repair.md", "aims.md")
"""What the prompts of ``improve`` are made from."""
COUNTS: Mapping[Split, int] = {"val": 120, "select": 120, "holdout": 240}
SHAPES: Mapping[Split, tuple[int, float]] = {"val": (4, 0.0), "select": (5, 0.0), "holdout": (6, 2.0)}
"""Constants of the programs and their coupling: ``holdout`` has ridges, which are neither in ``val`` nor ``select``."""
STAGES = (40, 80, 120)
"""Cases of ``val`` after which a candidate that is clearly worse than its parent is stopped."""
CANARY = "canary-c41d77e2-90ab-hidden-set-of-the-prompts-task"
"""Stands in every hidden case. Text that holds it has come from there."""
JUDGES = (*TRUSTED, "operators/rewrite", "operators/languages", "operators/llm")
"""Folders whose code judges a candidate: part of every case, so that scores of other code are not compared."""
UTILITY = Utility("paper", 1.0, 0.0, 0.0)
PROGRAM = "Lower the loss by other values of the constants."
SIGMA = SeedDeviation(0.01, 0.008, 0.012, 8)


def cases(split: Split) -> Iterator[dict[str, Any]]:
    """Yield the proposals of a split: each improves a program of its own."""
    digest = judging_digest()
    for number in range(COUNTS[split]):
        yield {"name": f"{split}/{number}", "number": number, "trusted": digest, "canary": CANARY}


@cache
def judging_digest() -> str:
    """Return a digest of the code that judges candidates."""
    return digest_of(ROOT, JUDGES)


def score(candidate: CandidateHandle, case: Case) -> Score:
    """Return the utility of one proposal. Raises Invalid for templates that are none."""
    begun = _BEGUN.get(candidate, _begun)
    if begun.stages.stopped:
        return Score(0.0, {"played": 0.0}, "not asked: clearly worse than the parent on the cases before")
    shown = situation(*SHAPES[case.split], [_place(case.split), int(case.data["number"])])
    made = begun.operator.propose(Propose("improve", (shown.parent,)), _context(shown))
    ending, words = _judged(made, shown)
    value = UTILITY.of(Outcome({"right": 1.0, "wrong": 0.5}.get(ending, 0.0)))
    begun.stages.compare(case, value)
    return Score(value, {"played": 1.0, "accepted": float(ending != "unparsed")}, words, ending=ending)


def _place(split: Split) -> int:
    return ("val", "select", "holdout").index(split)


def _judged(made: Candidate | NoCandidate, shown: Situation) -> tuple[Ending, str]:
    """Return ``right`` for an improving proposal, ``wrong`` for another, ``unparsed`` for none; and the feedback."""
    if isinstance(made, NoCandidate):
        return "unparsed", f"no proposal: {made.reason}"
    gain = shown.valley.loss_of(shown.files[PATH]) - shown.valley.loss_of(made.files[PATH])
    told = "failed: a constant is outside of its range" if math.isinf(gain) else f"gained {gain:+.3f} in the loss"
    return ("right" if gain > 0 else "wrong"), f"{made.idea}: {told}"


@dataclass(frozen=True)
class _Begun:
    """An evaluation: the operator with the candidate's templates, and the stages so far."""

    operator: Improve
    stages: NestedStages


def _begun(candidate: CandidateHandle) -> _Begun:
    return _Begun(operator_of(candidate), NestedStages(STAGES))


def operator_of(candidate: CandidateHandle) -> Improve:
    """Return the operator with the candidate's templates. Raises Invalid for templates that are none."""
    with tempfile.TemporaryDirectory(prefix="prompts-") as folder:
        for name in TEMPLATES:
            (Path(folder) / name).write_bytes(candidate.read(name))
        try:
            return Improve(_meter(AskedModel(candidate)), prompts=folder)
        except ValueError as error:
            raise Invalid(str(error).replace(f"prompts={folder}: ", "").replace(f"{folder}/", "")) from None


def _meter(model: AskedModel) -> Meter:
    """Return the model behind a meter without caps: those of the task's settings hold, in ``candidate.llm``."""
    return Meter(model, max_dollars=math.inf, max_tokens=10**12, record=lambda call: None)


def _context(shown: Situation) -> Context:
    return Context(
        task=_TASK,
        tree=shown.tree,
        rng=np.random.default_rng(shown.key),
        run=shown.tree.run,
        move_number=len(shown.tree.moves),
        sigma=SIGMA,
        program=PROGRAM,
        known={fingerprint(node.candidate.files) for node in shown.tree.nodes},
    )


_TASK = ProgramTask(
    "fit",
    "",
    Metric("loss", "minimise"),
    Workspace([PATH]),
    10.0,
    scorer="score.py",
    prompt=PromptText("`fit(data, learn)` returns a model of the data. Its settings are the constants of the program."),
)
_BEGUN: OfEvaluation[_Begun] = OfEvaluation()


@dataclass
class AskedModel:
    """The model that the scorer is lent, as operators ask it. Implements ``operators.llm.base.LanguageModel``."""

    candidate: CandidateHandle
    name: str = "lent"
    price: Price | None = None
    attempts: int = 1

    def complete(self, prompt: Prompt) -> Answer:
        """Return the model's answer to a conversation. Raises AnswerRefused over a limit of the task's settings."""
        turns = prompt.messages
        told = turns[0].whole if len(turns) == 1 else "\n\n".join(f"[{turn.role}]\n{turn.whole}" for turn in turns)
        try:
            return Answer(self.candidate.llm(told, prompt.system), self.name, 0, 0, 0, 0.0, 0.0)
        except ModelRefused as refusal:
            raise AnswerRefused(str(refusal)) from None

    def max_cost(self, prompt: Prompt) -> Cost:
        return Cost(0, 0.0)

    def check(self) -> str | None:
        """Return None: whether the model can be asked was checked when the search began."""
        return None
