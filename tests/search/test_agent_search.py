"""Searches for agents: head-room, bad agents, the log of the holdout. Sandboxes are launched, as the subject."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from archive.records import Candidate, CaseScore, Conditions, Propose, Request, Resources, Scored, Split
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.rewrite.prompt.feedback import endings
from operators.seed_agents import SeedAgents
from prepare.model_limits import LlmService
from prepare.program import ProgramTask, Workspace
from prepare.task import Metric
from search.api import Search
from search.cli.check import _findings, _items, _room, _smallest_split
from search.cli.trials import parser
from search.display.summary import summarise
from train.hardware.slots import Slot

CHEATS = sorted((Path(__file__).parents[2] / "conf/task/arithmetic/cheats").glob("*.py"))


def run_of(values: list[float]) -> Scored:
    cases = tuple(CaseScore(str(n), value, ending="right" if value else "wrong") for n, value in enumerate(values))
    request = Request("n", "r", 0, {}, 1, "screen")
    return Scored(
        request=request, conditions=Conditions("f", 1.0, "cpu"), resources=Resources(1.0), trust="verified",
        sandbox="bwrap", device="cpu", started_at=0.0, finished_at=1.0, cases=cases, score=sum(values) / len(values),
    )  # fmt: skip


def task_with(smallest: float | None) -> ProgramTask:
    return ProgramTask(
        "t", "/t", Metric("right", "maximise"), Workspace(["a.py"]), 1.0, scorer="score.py", smallest_gain=smallest,
        llm=LlmService(),
    )  # fmt: skip


@pytest.mark.parametrize("split", ["val", "select"])
def test_a_seed_that_is_right_nearly_everywhere_leaves_no_head_room(split: Split) -> None:
    (found,) = _room([run_of([1.0] * 99 + [0.0])], split)
    assert (found.level, f"0.990 right on {split}, more than 0.97" in found.line) == ("problem", True)
    assert list(_room([run_of([1.0] * 97 + [0.0] * 3)], split)) == []


def test_enough_items_are_said_with_the_numbers() -> None:
    (found,) = _items(task_with(0.1), [run_of([1.0, 0.0] * 30)] * 2, ("select", 80))
    assert (found.level, "80 items of select; a gain of 0.1 takes 71" in found.line) == ("ok", True)


EASY = """
import prepare
def cases(split, rng):
    for number in range(100):
        yield {"name": str(number), "hard": split == "val" and number % 2 == 1}
def score(candidate, case):
    said = candidate.attempt("solve", "q", services={"llm": candidate.llm})
    return prepare.graded(said, lambda answer: not case.data["hard"])
"""


@pytest.mark.slow
def test_check_refuses_a_task_whose_select_leaves_no_head_room(tmp_path: Path) -> None:
    """In sandboxes, as users call it: `val` alone has hard items."""
    folder = tmp_path / "easy"
    folder.mkdir()
    (folder / "agent.py").write_text("def solve(question, llm):\n    return 'x'\n")
    (folder / "model.py").write_text("def answer(prompt, rng):\n    return 'x'\n")
    (folder / "score.py").write_text(EASY)
    (folder / "task.yaml").write_text(
        "name: easy\nmetric: {name: right, direction: maximise, lower: 0, upper: 1}\nscorer: score.py\nseconds: 20\n"
        "workspace: {editable: [agent.py]}\nllm: {answers: scripted, scripted: model.py}\n"
    )
    findings = list(_findings(parser("check", "").parse_args([str(folder)])))
    problems = [finding.line for finding in findings if finding.level == "problem"]
    assert [line for line in problems if "1.000 right on select" in line], problems
    assert not [line for line in problems if "right on val" in line]


def test_noise_between_seeds_takes_more_items() -> None:
    (found,) = _items(task_with(0.1), [run_of([1.0, 0.0] * 40), run_of([0.0, 1.0] * 40)], ("holdout", 80))
    assert found.level == "problem"
    assert "80 items of holdout; a gain of 0.1 takes 267" in found.line


class Counting:
    """An evaluator that counts the cases of each split, and judges nothing."""

    def __init__(self, **counts: int) -> None:
        self.counts = counts

    def count_cases(self, slot: Slot, split: Split) -> int:
        return self.counts[split]


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"val": 10, "select": 60, "holdout": 90}, ("problem", "60 items of select; a gain of 0.1 takes 71")),
        ({"val": 10, "select": 90, "holdout": 70}, ("problem", "70 items of holdout; a gain of 0.1 takes 71")),
        ({"val": 10, "select": 90, "holdout": 71}, ("ok", "71 items of holdout")),
    ],
)
def test_the_smallest_split_that_a_claim_reads_decides(counts: dict[str, int], said: tuple[str, str]) -> None:
    local: Any = SimpleNamespace(evaluator=Counting(**counts), slots=(Slot(0, "cpu", None, (0,), 1),))
    first = run_of([1.0, 0.0] * 40)
    (found,) = _items(task_with(0.1), [first] * 2, _smallest_split(local, first))
    assert (found.level, said[1] in found.line) == (said[0], True), found.line


def test_errors_are_told_apart_in_prompts() -> None:
    cases = [CaseScore(code, 0.0, ending=code) for code in ("right", "wrong", "time", "empty", "time")]
    assert endings(cases) == "1 of 5 items ended right, 1 wrong, 3 in an error (1 empty, 2 time)."
    assert endings([CaseScore("a", 0.0)]) == ""


class Cheating:
    """Proposes the cheats of the task, one after another."""

    arity, needs_llm, name = 1, False, "draft"

    def __init__(self) -> None:
        self.left = list(CHEATS)

    def applies(self, tree: Tree, node_id: str) -> bool:
        return node_id == tree.root and bool(self.left)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        path = self.left.pop()
        return Candidate({"agent.py": path.read_text()}, move.parents, self.name, path.stem)


def played(tmp_path: Path, budget: int, operators: Any, claim: bool = True) -> Search:
    more: Any = {"run": "r", "budget": budget, "claim": claim, "overrides": ["llm=none"]}
    search = Search("arithmetic", operators=operators, archive=tmp_path / "a.duckdb", **more)
    while (request := search.ask()) is not None:
        search.tell(search.evaluate(request))
    return search


@pytest.mark.slow
def test_agents_that_cheat_or_loop_are_stopped_and_the_search_goes_on(tmp_path: Path) -> None:
    with played(tmp_path, 14, [Cheating(), SeedAgents("later")], claim=False) as search:
        fates = {
            node.candidate.idea: [(e.outcome, e.reason if e.outcome != "scored" else "") for e in evaluations]
            for node in search.tree.nodes
            if (evaluations := search.tree.evaluations[node.node_id])
        }
        stems = [path.stem for path in CHEATS]
        assert {fates[stem][0][0] for stem in stems} == {"invalid"}
        assert "8 crashed" in fates["opens_a_socket"][0][1]
        assert "8 crashed" in fates["reads_labels"][0][1]
        assert "8 time" in fates["loops"][0][1]
        assert any(idea not in stems and fate[0][0] == "scored" for idea, fate in fates.items())


@pytest.mark.slow
def test_a_known_design_becomes_champion_and_the_holdout_is_opened_for_it_once(tmp_path: Path) -> None:
    with played(tmp_path, 24, [SeedAgents()]) as search:
        assert search.result is not None
        assert search.result.verdict is not None
        assert search.result.verdict.kind == "champion"
        text = summarise(search.engine, search.result, search.archive, None)
        assert "winner's curse" in text
        found = search.archive.query("SELECT code, node_id FROM events WHERE kind = 'holdout'")
        assert found == [("opened", search.result.verdict.node_id)]
    with played(tmp_path, 40, [SeedAgents()]) as again:
        codes = again.archive.query("SELECT code FROM events WHERE kind = 'holdout' ORDER BY arrival")
        assert codes in ([("opened",)], [("opened",), ("opened_again",)])
