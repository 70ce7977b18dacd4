"""Several answers of a real model to each prompt, on a program of 25 lines: for machines that are slow or busy.

    python tests/live/samples.py --out samples.jsonl --label now [--samples 6] [--operators improve,hybrid]
    python tests/live/samples.py --out samples.jsonl --label now --read [--record]      # asks nobody

``proposals.py`` sends 3,700 tokens for each answer; here a prompt of 1,900 is sent once, and the server (llama.cpp's
own) gives ``--samples`` answers to it at once. The prompts are those of the real operators, on a tree of ``binpacking``
whose scores were measured; what is read is the first answer, by the operators themselves. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from grown import edited
from judging import reached, summary
from model import NAME
from proposals import URL, Book, figures, turns_at_most

from archive.llm_calls import LlmCall
from archive.records import ROOT_OPERATOR, Candidate, Conditions, Propose, Resources
from archive.tree import Tree
from operators.base import NoCandidate, Operator
from operators.factory import build_operators
from operators.llm.base import Answer, Prompt
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from prepare.load import task_from
from search import factory
from search.settings import config_for

sys.path.append(str(Path(__file__).resolve().parents[1] / "operators"))

from garden import Garden
from recorded import BOOK, verdict

PATH = "pack.py"
_VALUE = "np.where(gap <= near, 1000 - gap, np.where"
_CLOSED = "    value[bins == bins.max()] = -500  # unopened\n"
SCORED = {
    "ordered": (4.520, "tune", "ORDER_100 = 1", (("ORDER_100 = -1", "ORDER_100 = 1"),)),
    "classes": (4.709, "tune", "NEAR = 2, FAR = 20", (("NEAR = 12 ", "NEAR = 2 "), ("FAR = 12 ", "FAR = 20 "))),
    "squared": (4.676, "improve", "square small gaps", ((_VALUE, _VALUE.replace("- gap", "- gap**2")),)),
    "doubled": (4.676, "improve", "weigh small gaps twice", ((_VALUE, _VALUE.replace("- gap", "- 2 * gap")),)),
}
"""Children of the first program: score, operator, idea, edits."""
FAILED = {
    "infinite": (
        "OverflowError: cannot convert float infinity to integer",
        "an unopened bin is never better than an open one",
        ((_CLOSED, _CLOSED.replace("-500", "-np.inf")),),
    ),
    "summed": (
        "numpy.exceptions.AxisError: axis 1 is out of bounds for array of dimension 1",
        "scale the priorities to a sum of one",
        (("    return value\n", "    return value / value.sum(axis=1)\n"),),
    ),
}
"""Children that crash: reason, idea, edits."""
MOVES = {
    "improve": ("root",), "hybrid": ("root",), "simplify": ("root",), "debug": ("infinite",),
    "crossover": ("squared", "doubled"), "draft": ("root",),
}  # fmt: skip
LONGEST = 400
"""Tokens of an answer, at most."""


def grown() -> tuple[Garden, dict[str, str]]:
    """The tree, and the ids of its nodes by name."""
    task: Any = task_from(config_for(["task=binpacking"], "cpu").task)
    garden, conditions = Garden(task.metric.direction), Conditions("binpacking", task.seconds, "a CPU")
    garden.task, garden.tree = task, Tree("run", task.metric.direction, conditions)
    source = factory.seed_files(task)[PATH]
    root = garden.grow({PATH: source}, (), ROOT_OPERATOR, "the first program")
    garden.score(root, 4.676, conditions=conditions)
    names = {"root": root.node_id}
    for name, (score, operator, idea, edits) in SCORED.items():
        node = garden.grow({PATH: edited(source, edits)}, (root.node_id,), operator, idea)
        garden.score(node, score, conditions=conditions)
        names[name] = node.node_id
    for name, (reason, idea, edits) in FAILED.items():
        node = garden.grow({PATH: edited(source, edits)}, (root.node_id,), "improve", idea)
        log = f'  File "/candidate/{PATH}", line 25, in priority\n{reason}'
        garden.fail(node, "crashed", reason, log=log, conditions=conditions, resources=Resources(0.4))
        names[name] = node.node_id
    return garden, names


class Recorded(Scripted):
    """A model with one answer, which may have been cut off."""

    def __init__(self, answer: str, cut_off: bool) -> None:
        super().__init__([answer])
        self._cut_off = cut_off

    def complete(self, prompt: Prompt) -> Answer:
        return replace(super().complete(prompt), cut_off=self._cut_off)


def propose(operator: str, prompts: str | None, model: Scripted) -> Candidate | NoCandidate:
    """What an operator makes of the first answer of a model."""
    garden, names = grown()
    meter = Meter(model, max_dollars=1.0, max_tokens=10**9, record=lambda call: None, lookup=lambda *call: None)
    parents = tuple(names[name] for name in MOVES[operator])
    context = garden.context(seed=0, move=99, program="Lower the excess.", gate=lambda files: None)
    with turns_at_most(1):
        return _operator(operator, prompts, meter).propose(Propose(operator, parents), context)


def refusal(result: Candidate | NoCandidate) -> str | None:
    """Why an answer was refused; None for one that became a candidate. A crossover goes on without the model."""
    if isinstance(result, Candidate):
        return result.idea.partition("; conflicts drawn: ")[2] or None
    return result.reason.rpartition("one repair did not help: ")[2]


def _operator(name: str, prompts: str | None, meter: Meter) -> Operator:
    entry = config_for(["task=binpacking", "llm=local", "operators=all"], "cpu").operators[name]
    entry.options["prompts"] = prompts
    return build_operators({name: entry}, meter).operators[name]


def request(url: str, prompt: Prompt, samples: int) -> dict[str, Any]:
    """All answers of the server to a prompt."""
    messages = [{"role": "system", "content": prompt.system}]
    messages += [{"role": turn.role, "content": turn.whole} for turn in prompt.messages]
    body = {"model": NAME, "messages": messages, "max_tokens": LONGEST, "n": samples, "seed": 1, "cache_prompt": True}
    sent = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=7200) as answered:
        found: dict[str, Any] = json.load(answered)
    return found


def sample(book: Book, label: str, operator: str, options: argparse.Namespace) -> None:
    """Ask for the answers that a label lacks for an operator, and keep them."""
    seen = Recorded("nothing", False)
    propose(operator, options.prompts, seen)
    prompt, begun = seen.prompts[0], time.monotonic()
    answered = request(options.url, prompt, options.samples)
    seconds, usage = time.monotonic() - begun, answered["usage"]
    for turn, choice in enumerate(answered["choices"]):
        call = LlmCall(
            run=label, move=list(MOVES).index(operator), turn=turn, operator=operator, model=NAME, outcome="answered",
            prompt=prompt.text, answer=choice["message"]["content"], tokens_in=usage["prompt_tokens"], tokens_out=None,
            tokens_cached=None, seconds=round(seconds / options.samples, 1), dollars=None, at=0.0,
            cut_off=choice["finish_reason"] == "length",
        )  # fmt: skip
        book.add("call", label, call=asdict(call))
    print(f"{label} {operator}: {len(answered['choices'])} answers, {seconds:.0f} s", file=sys.stderr, flush=True)


def judged(book: Book, label: str, prompts: str | None) -> list[dict[str, Any]]:
    """A row for each answer of a label, as ``judging.summary`` expects."""
    rows = []
    for row in book.of("call", label):
        call = LlmCall(**row["call"])
        reason = refusal(propose(call.operator, prompts, Recorded(call.answer, call.cut_off)))
        print(f"{label} {call.operator} {call.turn}: {reason or 'accepted'}"[:160], file=sys.stderr)
        rows.append(
            {
                "operator": call.operator, "first": reached(reason), "last": reached(reason), "told": reason,
                "reason": reason, "turns": 1, "ran": None, "fate": None, "compared": False, "gain": None,
                "tokens_in": call.tokens_in, "tokens_out": call.tokens_out, "tokens_cached": None,
                "seconds": call.seconds,
            }
        )  # fmt: skip
    return rows


def record(book: Book, label: str) -> None:
    """Write the whole answers of a label as data of an ordinary test, each with what is made of it now."""
    garden, names = grown()
    programs = {name: garden.tree[names[name]].candidate.files[PATH] for name in names}
    answers = {}
    for call in (LlmCall(**row["call"]) for row in book.of("call", label)):
        program = MOVES[call.operator][0]
        if not call.cut_off:
            told = verdict(call.operator, PATH, programs[program], call.answer)
            answers[call.answer] = {
                "operator": call.operator, "program": program, "text": call.answer, "verdict": told,
            }  # fmt: skip
    used = {answer["program"] for answer in answers.values()}
    kept = {"model": NAME, "path": PATH, "programs": {name: programs[name] for name in sorted(used)}}
    BOOK.write_text(json.dumps({**kept, "answers": list(answers.values())}, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=URL, help="a server of llama.cpp (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("samples.jsonl"), help="keeps what was asked (%(default)s)")
    parser.add_argument("--label", default="now", help="of these answers in that file (%(default)s)")
    parser.add_argument("--samples", type=int, default=6, help="answers to each prompt (%(default)s)")
    parser.add_argument("--operators", default=",".join(MOVES), help="whose prompts (%(default)s)")
    parser.add_argument("--prompts", help="a folder of templates that come before the project's own")
    parser.add_argument("--read", action="store_true", help="only read what was asked before")
    parser.add_argument("--record", action="store_true", help="make the answers data of tests/operators")
    parser.add_argument("--quick", action="store_true", help="two answers to the prompt of simplify")
    options = parser.parse_args()
    book = Book.open(options.out)
    if options.quick:
        options.samples, options.operators = 2, "simplify"
    kept = {row["call"]["operator"] for row in book.of("call", options.label)}
    for operator in options.operators.split(","):
        if operator not in kept and not options.read:
            sample(book, options.label, operator, options)
    if options.record:
        record(book, options.label)
    rows = judged(book, options.label, options.prompts)
    print(json.dumps({"label": options.label, **summary(rows, figures)}))


if __name__ == "__main__":
    main()
