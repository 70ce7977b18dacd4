"""What the tests of the archive share: records with honest defaults, and a run written into tree and archive alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archive.llm_calls import LlmCall, LlmRequest
from archive.records import (
    Audit,
    Candidate,
    Conditions,
    CurvePoint,
    Direction,
    Evaluation,
    Failed,
    MoveRecord,
    Node,
    Outcome,
    Propose,
    Purpose,
    Refusal,
    Replicate,
    Request,
    Resources,
    Run,
    Scored,
    StageAnswered,
    StageAnswers,
    Trained,
    node_id_for,
)
from archive.storage.store import Archive
from archive.tree import Tree

HOUSE = Path(__file__).resolve().parents[2]
START = 1_700_000_000.0
HERE = Conditions("corpus-1", 10.0, "cpu-1t")
ELSEWHERE = Conditions("corpus-1", 10.0, "cuda")


def a_run(name: str = "night", direction: Direction = "minimise") -> Run:
    config = {"task": {"name": "toy", "seconds": 10}, "policy": None}
    return Run(name, f"id-of-{name}", "toy", "val_bpb", direction, "ucb", 7, config, {"seed": 7}, START)


def request_for(node: Node, seed: int, purpose: Purpose = "screen", move: int | None = None) -> Request:
    return Request(node.node_id, node.run, node.move if move is None else move, node.candidate.files, seed, purpose)


def scored(request: Request, score: float, *, conditions: Conditions = HERE, at: float = START, **more: Any) -> Scored:
    facts: dict[str, Any] = {
        "resources": Resources(10.0, {"launch": 0.5, "train": 10.0}, 9.5, 200.0, 100),
        "trust": "audited",
        "sandbox": "bwrap",
        "device": "cpu",
        "started_at": at,
        "finished_at": at + 10.5,
        "audit": Audit(128, 1e-5, 2e-4),
        "metrics": {"parameters": 1000.0},
    }
    return Scored(request=request, conditions=conditions, score=score, **{**facts, **more})


def failed(request: Request, outcome: Outcome = "crashed", *, conditions: Conditions = HERE, **more: Any) -> Failed:
    facts: dict[str, Any] = {
        "resources": Resources(1.0),
        "trust": "audited",
        "sandbox": "bwrap",
        "device": "cpu",
        "started_at": START,
        "finished_at": START + 1,
        "reason": f"it {outcome}",
        "log": "Traceback: boom\n",
    }
    return Failed(request=request, conditions=conditions, outcome=outcome, **{**facts, **more})


def trained(request: Request, state: bytes = b"state", *, conditions: Conditions = HERE, **more: Any) -> Trained:
    facts: dict[str, Any] = {
        "resources": Resources(10.0, {"launch": 0.5, "train": 10.0}, 9.5, 200.0, 100, machine_speed=21.5),
        "trust": "audited",
        "sandbox": "bwrap",
        "device": "cpu",
        "started_at": START,
        "finished_at": START + 10.5,
        "metrics": {"parameters": 1000.0},
    }
    return Trained(request=request, conditions=conditions, state=state, **{**facts, **more})


def answered(request: Request, stage: int) -> StageAnswered:
    used = Resources(0.0, {"launch": 0.5, "score": 1.0}, 1.5, 200.0)
    answers = StageAnswers(f"set {stage}", bytes(8 * (stage + 1)), Audit(5, 0.0, 0.25), used, "audited")
    return StageAnswered(
        request=request, conditions=HERE, resources=used, trust="audited", sandbox="bwrap", device="cpu",
        started_at=START, finished_at=START + 1.5, stage=stage, answers=answers,
    )  # fmt: skip


def a_call(run: str = "night", move: int = 1, turn: int = 0, **more: Any) -> LlmCall:
    facts: dict[str, Any] = {
        "operator": "improve", "model": "m", "outcome": "answered", "prompt": "please", "answer": "here",
        "tokens_in": 10, "tokens_out": 5, "tokens_cached": 2, "seconds": 1.5, "dollars": 0.25, "at": START,
    }  # fmt: skip
    return LlmCall(run=run, move=move, turn=turn, **{**facts, **more})


def a_request(run: str = "night", move: int = 1, **more: Any) -> LlmRequest:
    facts: dict[str, Any] = {
        "request": f"r{move}", "turn": 0, "operator": "improve", "asked": "m", "tokens_at_most": 100,
        "dollars_at_most": 1.0, "at": START,
    }  # fmt: skip
    return LlmRequest(run=run, move=move, **{**facts, **more})


def a_curve(points: int, slope: float = 0.1) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(10 * i, float(i), 4.0 - slope * i) for i in range(points))


class Diary:
    """One run, written into an archive and into a tree at once, as the loop does."""

    def __init__(self, archive: Archive, run: Run | None = None, conditions: Conditions = HERE) -> None:
        self.archive = archive
        self.run = run or a_run()
        archive.start_run(self.run)
        self.tree = Tree(self.run.run, self.run.direction, conditions)

    def choose(self, move: Propose | Replicate) -> MoveRecord:
        number = len(self.tree.moves)
        record = MoveRecord(self.run.run, number, move, 1000 + number)
        self.archive.choose(record)
        self.tree.choose(record)
        return record

    def refuse(self, record: MoveRecord, reason: str = "a duplicate") -> None:
        assert isinstance(record.move, Propose)
        refusal = Refusal(self.run.run, record.number, record.move.operator, record.move.parents, reason)
        self.archive.refuse(refusal)
        self.tree.refuse(refusal)

    def add(self, record: MoveRecord, text: str, idea: str = "", ablated: str | None = None) -> Node:
        assert isinstance(record.move, Propose)
        number = len(self.tree)
        files, operator = {"train.py": text}, record.move.operator
        candidate = Candidate(files, record.move.parents, operator, idea or f"idea {number}", ablated=ablated)
        node_id = node_id_for(self.run.run_id, number)
        node = self.archive.add(Node(node_id, self.run.run, number, record.number, candidate, START + number))
        self.tree.add(node)
        return node

    def record(self, evaluation: Evaluation) -> Evaluation:
        kept = self.archive.record(evaluation)
        self.tree.record(kept)
        return kept

    def child(
        self,
        *parents: Node,
        text: str | None = None,
        operator: str = "tune",
        idea: str = "",
        ablated: str | None = None,
    ) -> Node:
        """A proposal that becomes a node at once."""
        record = self.choose(Propose(operator, tuple(parent.node_id for parent in parents)))
        return self.add(record, text if text is not None else f"NODE = {len(self.tree)}\n", idea, ablated)

    def screened(self, node: Node, *scores: float | None, conditions: Conditions = HERE) -> Node:
        """Screenings with the seeds 0, 1, ... on from those it has; None is a crash."""
        for score in scores:
            request = request_for(node, len(self.tree.evaluations[node.node_id]))
            at = START + 60 * self.tree.evaluated
            if score is None:
                self.record(failed(request, conditions=conditions))
            else:
                self.record(scored(request, score, conditions=conditions, at=at))
        return node


def a_family(archive: Archive, direction: Direction = "minimise", name: str = "night") -> tuple[Diary, list[Node]]:
    """A root, a better child, a worse one, a crashed grandchild; the children's crossover, the best; a refusal."""
    sign = 1 if direction == "minimise" else -1
    diary = Diary(archive, a_run(name, direction))
    root = diary.screened(
        diary.child(text="WIDTH = 64\n", operator="seed", idea="the seed program"), sign * 3.4, sign * 3.6
    )
    good = diary.screened(diary.child(root, idea="wider"), sign * 3.2)
    bad = diary.screened(diary.child(root, idea="narrower"), sign * 3.9)
    broken = diary.screened(diary.child(good, idea="deeper", operator="improve"), None)
    best = diary.screened(diary.child(good, bad, idea="both", operator="crossover"), sign * 3.0, sign * 3.1)
    diary.refuse(diary.choose(Propose("tune", (good.node_id,))))
    return diary, [root, good, bad, broken, best]


def an_ablation(archive: Archive, subject: Node, whole: Sequence[float], **without: Sequence[float | None]) -> Diary:
    """A run that took steps of ``subject``'s lineage out: scores of the whole, and of what is left ``without`` a node.

    The names are node ids behind an underscore, since some begin with a digit.
    """
    config = {"task": {"name": "toy"}, "operators": {"ablate": {"node": subject.node_id}}}
    name = f"ablation-{subject.node_id[:8]}"
    run = Run(name, f"id-of-{name}", "toy", "val_bpb", "minimise", "ablation", 7, config, {"seed": 7}, START + 1e6)
    diary = Diary(archive, run)
    root = diary.screened(diary.child(operator="seed"), *whole)
    for step, scores in without.items():
        idea = f"without {step[1:9]}: what it was"
        diary.screened(diary.child(root, operator="ablate", idea=idea, ablated=step[1:]), *scores)
    return diary
