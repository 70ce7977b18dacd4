"""How good a model's proposals are, and what they cost: made by the real operators, judged by the real evaluator.

    python tests/live/model.py serve &
    python tests/live/proposals.py --out live.jsonl --label now [--proposals 60] [--pairs 20]
    python tests/live/proposals.py --out live.jsonl --label now --read-again before     # paid answers, today's reader

Proposals are made from a tree that is the same every time (``grown.py``), the n-th with the seed n, through
``conf/llm/local.yaml`` and the real client: improve with each aim, hybrid, simplify, draft, debug of
four failures, and crossovers whose conflicts the model resolves. Each is judged as ``judging.py`` says; whether it
``improved`` is asked of the first ``--pairs`` programs that ran. All answers and verdicts are kept in ``--out``, a line
each, under their ``--label``: what is there is not paid for again. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from grown import SIGMA, grown
from judging import Bench, mean, reached, share, summary
from model import NAME

from archive.llm_calls import LlmCall
from archive.noise import SeedDeviation
from archive.records import Candidate, Propose
from operators.base import Context, Operator
from operators.config import LlmConfig
from operators.factory import LlmCallbacks, build_meter, build_operators
from operators.llm.base import Answer, Cost, Prompt, Unavailable
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from operators.rewrite import conversation
from operators.rewrite.improve import Improve
from operators.rewrite.operator import LlmOperator
from operators.rewrite.prompt.change_kinds import ChangeKind
from operators.rewrite.prompt.templates import Templates
from prepare.load import find_file, task_from
from search import factory
from search.config import Config
from search.settings import config_for
from train.sandbox.base import find_sandbox

Row = dict[str, Any]
URL = "http://127.0.0.1:8080/v1"
ROUND = (
    ("draft", ("root",)),
    *(("improve", ("root",)),) * 2, ("simplify", ("root",)),
    *(("improve", ("tuned",)),) * 3, ("hybrid", ("tuned",)),
    *(("improve", ("squared",)),) * 3, ("hybrid", ("squared",)), ("simplify", ("squared",)),
    *(("debug", (name,)) for name in ("lion", "untied", "huge", "cast")),
    ("crossover", ("squared", "gated")), ("crossover", ("linear", "plateau")),
    ("draft", ("root",)),
)  # fmt: skip
"""The moves of 20 proposals. Those of one parent are made one after another: a server keeps what prompts begin with."""
TOKENS = ("in", "cached", "out")
LONGEST = 400
"""Tokens of an answer. The programs here have 1,500: a change has to be given as blocks."""


@dataclass
class Book:
    """What is known of each label, a line each in a file: calls, proposals, runs, pairs."""

    path: Path
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> Book:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return cls(path, [json.loads(line) for line in lines])

    def add(self, kind: str, label: str, **facts: Any) -> None:
        row = {"kind": kind, "label": label, **facts}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, kind: str, label: str) -> Iterator[Row]:
        return (row for row in self.rows if (row["kind"], row["label"]) == (kind, label))

    def call(self, label: str, move: int, turn: int) -> LlmCall | None:
        for row in self.of("call", label):
            if (row["call"]["move"], row["call"]["turn"]) == (move, turn):
                return LlmCall(**row["call"])
        return None


class Aimed(Improve):
    """Improve with one aim after another, and not the ones that credit would choose: each is to be seen."""

    def change_kind(self, context: Context) -> ChangeKind:
        rounds, place = divmod(context.move_number, len(ROUND))
        kinds = self.kinds_for(context.task)
        return kinds[(rounds + sum(name == "improve" for name, _ in ROUND[:place])) % len(kinds)]


class Turns:
    """A model with a seed of its own for repairs: with the same one it says the same again."""

    def __init__(self, first: Any, again: Any) -> None:
        self.first, self.again = first, again
        self.name, self.price, self.attempts = first.name, first.price, first.attempts

    def complete(self, prompt: Prompt) -> Answer:
        answer: Answer = (self.again if len(prompt.messages) > 1 else self.first).complete(prompt)
        return answer

    def max_cost(self, prompt: Prompt) -> Cost:
        cost: Cost = self.first.max_cost(prompt)
        return cost

    def check(self) -> None:
        self.first.check()


def _seeds(number: int) -> tuple[int, int]:
    """Of a proposal's first answer and of its repair."""
    return number, 10_000 + number


class Listening(Templates):
    """Hears the reasons that answers are refused for, on their way to the model."""

    def __init__(self, folder: str | None) -> None:
        super().__init__(folder)
        self.heard: list[str] = []

    def render(self, name: str, parts: Mapping[str, str]) -> str:
        if name == "repair":
            self.heard.append(parts["reason"])
        return super().render(name, parts)


@contextmanager
def turns_at_most(count: int) -> Iterator[None]:
    """Conversations of at most so many turns."""
    before, conversation.TURNS = conversation.TURNS, count
    try:
        yield
    finally:
        conversation.TURNS = before


@dataclass(frozen=True)
class Maker:
    """Makes the n-th proposal of a label."""

    config: Config
    book: Book
    label: str
    bench: Bench
    program: str
    seed: Mapping[str, str]
    prompts: str | None = None
    paid: str | None = None
    """The label whose answers are read again; the model is not asked."""
    repaired: int = 1_000_000
    """So many proposals may be repaired, as in a search; later ones end with their first answer, which costs half."""

    def propose(self, number: int) -> None:
        garden, names = grown(self.bench.full.task, self.seed)
        operator, parents = ROUND[number % len(ROUND)]
        asked: set[int] = set()
        made, reasons = self._operator(operator, self._meter(number, asked)), Listening(self.prompts)
        listening: Any = made if isinstance(made, LlmOperator) else getattr(made, "_resolver")  # noqa: B009
        listening.templates = reasons
        move = Propose(operator, tuple(names[name] for name in parents))
        context = garden.context(
            seed=number,
            move=number,
            sigma=SeedDeviation(SIGMA, SIGMA, SIGMA, 1),
            program=self.program,
            gate=self.bench.full.gate,
            run=self.label,
        )
        with turns_at_most(conversation.TURNS if number < self.repaired else 1):
            result = made.propose(move, context)
        facts = {"number": number, "operator": operator, "parents": parents, "turns": len(asked)}
        facts |= {"reasons": reasons.heard, "refused": None}
        if isinstance(result, Candidate):
            facts |= {"files": dict(result.files), "idea": result.idea, "aim": result.aim}
            if drawn := result.idea.partition("; conflicts drawn: ")[2]:  # a crossover goes on without the model
                facts |= {"refused": drawn}
        else:
            facts |= {"refused": result.reason}
        self.book.add("proposal", self.label, **facts)
        print(f"{number:>4} {operator:<10} {facts['refused'] or 'accepted'}"[:160], file=sys.stderr, flush=True)

    def _operator(self, name: str, meter: Meter) -> Operator:
        if name == "improve":
            return Aimed(meter, name, self.prompts)
        usual = self.config.operators[name]
        entry = replace(usual, options={**usual.options, "prompts": self.prompts})
        return build_operators({name: entry}, meter).operators[name]

    def _meter(self, number: int, asked: set[int]) -> Meter:
        def lookup(run: str, move: int, turn: int) -> LlmCall | None:
            asked.add(turn)
            return self.book.call(self.paid or self.label, move, turn)

        def record(call: LlmCall) -> None:
            self.book.add("call", self.label, call=asdict(call))

        if self.paid is not None:
            silent = Scripted([Unavailable("this answer was not recorded")] * 9)
            return Meter(silent, max_dollars=1.0, max_tokens=10**9, record=lambda call: None, lookup=lookup)
        books = LlmCallbacks(record=record, lookup=lookup)
        first, again = (build_meter(self._seeded(seed), books) for seed in _seeds(number))
        assert first is not None
        assert again is not None
        first.model = Turns(first.model, again.model)
        return first

    def _seeded(self, seed: int) -> LlmConfig:
        llm = self.config.llm
        return replace(llm, options={**llm.options, "extra": {"seed": seed}})

    def parent(self, proposal: Row) -> Mapping[str, str]:
        garden, names = grown(self.bench.full.task, self.seed)
        return garden.tree[names[proposal["parents"][0]]].candidate.files


def by_number(rows: Iterator[Row]) -> dict[int, Row]:
    return {row["number"]: row for row in rows}


def make(maker: Maker, numbers: Sequence[int], pairs: int) -> None:
    """All proposals, then what ran, then what was better; only what the book does not have."""
    book, label = maker.book, maker.label
    made = by_number(book.of("proposal", label))
    for number in sorted(numbers, key=lambda number: (number % len(ROUND), number)):
        if number not in made:
            maker.propose(number)
    made = by_number(book.of("proposal", label))
    ran = by_number(book.of("ran", label))
    for number in sorted(made.keys() - ran.keys()):
        if made[number]["refused"] is None:
            verdict = maker.bench.ran(made[number]["files"])
            book.add("ran", label, number=number, **verdict)
            print(f"{number:>4} {verdict['outcome']} {verdict.get('reason', '')}"[:160], file=sys.stderr, flush=True)
    compared = by_number(book.of("pair", label))
    ran = by_number(book.of("ran", label))
    for number in [n for n in sorted(ran) if ran[n]["outcome"] == "scored"][:pairs]:
        if number not in compared:
            child, parent = maker.bench.paired([made[number]["files"], maker.parent(made[number])], 100 + number)
            book.add("pair", label, number=number, child=child, parent=parent)
            print(f"{number:>4} {child.get('score')} {parent.get('score')}", file=sys.stderr, flush=True)


def turns(book: Book, label: str, paid: str | None) -> dict[int, list[Row]]:
    """The calls of each proposal, in order."""
    found: dict[int, list[Row]] = {}
    for row in book.of("call", paid or label):
        found.setdefault(row["call"]["move"], []).append(row["call"])
    return {move: sorted(calls, key=lambda call: call["turn"]) for move, calls in found.items()}


def judged(book: Book, label: str, paid: str | None = None) -> list[Row]:
    """A row for each proposal of a label: how far its first answer came, how far it came in the end."""
    calls = turns(book, label, paid)
    ran, pairs = by_number(book.of("ran", label)), by_number(book.of("pair", label))
    rows = []
    for number, made in sorted(by_number(book.of("proposal", label)).items()):
        mine, reasons = calls.get(number, [])[: made["turns"]], made["reasons"]
        if not mine:
            continue  # a crossover without a conflict asks nobody
        pair = pairs.get(number)
        gain = pair["parent"]["score"] - pair["child"]["score"] if pair and _both(pair) else None
        refused = reasons[-1] if made["refused"] and reasons else made["refused"]
        rows.append(
            {
                "number": number, "operator": made["operator"],
                "first": reached(reasons[0] if reasons else made["refused"]), "last": reached(refused),
                "told": reasons[0] if reasons else None, "reason": refused, "turns": len(mine),
                "ran": ran[number]["outcome"] == "scored" if number in ran else None,
                "fate": ran[number]["outcome"] if number in ran else None,
                "compared": pair is not None, "gain": gain,
                **{f"tokens_{part}": sum(call[f"tokens_{part}"] or 0 for call in mine) for part in TOKENS},
                "seconds": sum(call["seconds"] for call in mine),
            }
        )  # fmt: skip
    return rows


def _both(pair: Row) -> bool:
    return "score" in pair["child"] and "score" in pair["parent"]


def figures(rows: Sequence[Row]) -> Row:
    """Shares of all proposals, but for ``improved_*``: of those that were compared with their parents."""
    compared = [row for row in rows if row["compared"]]
    second = [row for row in rows if row["turns"] > 1]
    return {
        "proposals": len(rows),
        **{f"first_{stage}": share(stage in row["first"] for row in rows) for stage in ("read", "applied", "parsed")},
        "first_accepted": share("accepted" in row["first"] for row in rows),
        **{stage: share(stage in row["last"] for row in rows) for stage in ("read", "applied", "parsed", "accepted")},
        "ran": share(row["ran"] for row in rows) if any(row["ran"] is not None for row in rows) else None,
        "repairs": len(second),
        "repairs_that_helped": sum("accepted" in row["last"] for row in second),
        "compared": len(compared),
        "improved": sum((row["gain"] or 0.0) > 0 for row in compared),
        "improved_by_0.03": sum((row["gain"] or 0.0) > 0.03 for row in compared),
        **{f"tokens_{part}": mean(row[f"tokens_{part}"] for row in rows) for part in TOKENS},
        "seconds": mean(row["seconds"] for row in rows),
    }


def settings(url: str, model: str, prompt_tokens: int, longest: int, temperature: str = "null") -> Config:
    words = [f"llm.base_url={url}", f"llm.model={model}", f"llm.prompt_tokens={prompt_tokens}"]
    words += [f"llm.max_tokens={longest}", "llm.stream=false"]  # llama-cpp-python counts no tokens of a stream
    return config_for(["llm=local", "operators=all", f"llm.temperature={temperature}", *words], "cpu")


def numbers(text: str) -> Sequence[int]:
    """``60`` -> 0 to 59; ``8-15,20`` -> these. Raises ValueError, as argparse expects."""
    if text.isdigit():
        return range(int(text))
    ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return [number for first, *last in ends for number in range(first, (last or [first])[0] + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=URL, help="an OpenAI-compatible server (%(default)s)")
    parser.add_argument("--model", default=NAME, help="its name there (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("live.jsonl"), help="keeps what was paid for (%(default)s)")
    parser.add_argument("--label", default="now", help="of these proposals in that file (%(default)s)")
    parser.add_argument("--proposals", type=numbers, default=range(60), help="so many, or which: 8-15,20 (60)")
    parser.add_argument(
        "--pairs", type=int, default=0, help="programs that are trained beside their parents, 20 s each"
    )
    parser.add_argument("--prompts", help="a folder of templates that come before the project's own")
    parser.add_argument("--prompt-tokens", type=int, default=5000, help="of one prompt, at most (%(default)s)")
    parser.add_argument("--longest", type=int, default=LONGEST, help="tokens of an answer, at most (%(default)s)")
    parser.add_argument("--read-again", metavar="LABEL", help="read the answers of that label again; asks nobody")
    parser.add_argument("--temperature", default="null", help="null: what the server thinks best (%(default)s)")
    parser.add_argument("--repaired", type=int, default=1_000_000, help="proposals that may be repaired (default: all)")
    parser.add_argument("--quick", action="store_true", help="four proposals and no pairs")
    options = parser.parse_args()
    config = settings(options.url, options.model, options.prompt_tokens, options.longest, options.temperature)
    task = task_from(config.task)
    task.corpus.prepare()
    book = Book.open(options.out)
    maker = Maker(
        config, book, options.label, Bench.of(task, find_sandbox("auto")), find_file(task.program).read_text(),
        factory.seed_files(task), options.prompts, options.read_again, options.repaired,
    )  # fmt: skip
    make(maker, range(4) if options.quick else options.proposals, 0 if options.quick else options.pairs)
    print(json.dumps({"label": options.label, **summary(judged(book, options.label, options.read_again), figures)}))


if __name__ == "__main__":
    main()
