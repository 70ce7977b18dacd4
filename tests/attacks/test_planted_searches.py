"""Whole searches whose operator proposes nothing but one attack: whatever it scores, it is not crowned.

    pytest -m "slow or nightly" tests/attacks/test_planted_searches.py

Everything is real: policy, archive, sandboxes, the claim on fresh seeds. The last two tests show what the others could
miss: an honest better program is crowned in such a search, and a cheat that remembers everything leads it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest
from attacking import Attack, program

import search
from archive.query.query import open_reader
from archive.records import Candidate, Propose
from archive.storage.store import Archive
from operators.base import Context
from prepare.language_model import LanguageModelTask
from search import factory
from search.api import SearchComponents
from search.settings import config_for
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import NoSandbox

pytestmark = pytest.mark.timeout(1500)

HERE = Path(__file__).parent
ATTACKS = (
    *("look_ahead", "trains_in_children_of_predict", "replays_between_sandboxes", "changes_with_its_calls"),
    *("changes_with_the_batch", "changes_with_the_position", "easier_rows", "easier_text", "false_claims"),
    *("fits_the_batch", "keeps_its_weights", "learns_while_judged", "logits_of_a_subclass", "look_ahead_by_hash"),
    *("look_ahead_in_text", "look_ahead_seldom", "look_ahead_where_it_pays", "replays_answers", "seed_fishing"),
    *("targets_from_the_stack", "text_by_heart", "trains_in_predict", "trains_on_validation", "unnormalised"),
)
PLAN = ("claim.candidates=1", "claim.confirm_seeds=1", "claim.report_seeds=3", "claim.most_report_seeds=3")
BUDGET = 13
"""Three runs of the root, three variants of what is planted, and a claim of seven evaluations."""
BETTER = """
import torch

LETTERS = torch.tensor(list(b" abcdefghijklmnopqrstuvwxyz\\n"))

def read(tokens):
    known = torch.full((256,), 27)
    known[LETTERS] = torch.arange(28)
    return known[tokens.long()]

def train(session):
    data = read(session.start())
    triples = torch.bincount(784 * data[:-2] + 28 * data[1:-1] + data[2:], minlength=784 * 28)
    return {"table": (triples.view(784, 28) + 0.1).log()}

def predict(state, task):
    def model(tokens):
        letters = read(tokens)
        before = torch.cat([torch.zeros_like(letters[:, :1]), letters[:, :-1]], 1)
        logits = torch.full((*tokens.shape, 256), -20.0)
        logits[..., LETTERS] = state["table"][28 * before + letters]
        return logits
    return model
"""
"""An honest program that counts triples of letters."""


@pytest.fixture(scope="module")
def task(toy_task: LanguageModelTask) -> LanguageModelTask:
    """The toy task without a rehearsal, which saves a quarter of the time, and with patience for a busy machine."""
    limits = dataclasses.replace(toy_task.limits, rehearsal_seconds=0.0, startup_seconds=60.0, check_seconds=60.0)
    return dataclasses.replace(toy_task, limits=limits)


@pytest.fixture(scope="module")
def judge(task: LanguageModelTask, evaluator: AuditedEvaluator) -> AuditedEvaluator:
    return AuditedEvaluator(task, evaluator.sandbox)


@dataclass(frozen=True)
class Plant:
    """Proposes variants of one program, which differ in a constant that does nothing."""

    source: str
    name: str = "plant"
    arity: int = 1
    needs_llm: bool = False

    def applies(self, tree: object, node_id: str) -> bool:
        return True

    def propose(self, move: Propose, context: Context) -> Candidate:
        files = {"train.py": f"{self.source}\nVARIANT = {context.move_number}\n"}
        return Candidate(files, move.parents, self.name, "a variant")


def searched(source: str, evaluator: AuditedEvaluator, path: Path) -> search.Search:
    """Play a search to its end, in which nothing but variants of ``source`` is proposed."""
    words = ["operators=numeric", "llm=none", f"budget.evaluations={BUDGET}", "claim.least_power=0", *PLAN]
    config, task = config_for(words, "cpu"), evaluator.task
    given = factory.Overrides(operators={"plant": Plant(source)})
    components = SearchComponents(task, factory.seed_files(task), evaluator, make_slots(1), given)
    with Archive.open(path) as archive, search.Search.of(config, components, archive) as found:
        while (request := found.ask()) is not None:
            found.tell(found.evaluate(request))
    return found


def champion(found: search.Search, tried: bool = True) -> str | None:
    """The champion of a finished search. ``tried``: whether what was planted passes the checks of its text."""
    assert found.result is not None
    assert found.result.finished, found.result
    assert (len(found.tree) > 2) == tried
    verdict = found.result.verdict
    return verdict.node_id if verdict is not None and verdict.kind == "champion" else None


@pytest.mark.nightly
@pytest.mark.parametrize("name", ATTACKS)
def test_a_planted_attack_is_not_crowned(name: str, judge: AuditedEvaluator, tmp_path: Path) -> None:
    attack = Attack.read(HERE / "candidates" / f"{name}.py")
    source = program(attack, judge.task)
    found = searched(source, judge, tmp_path / "a.duckdb")
    assert champion(found, tried=judge.gate({"train.py": source}) is None) is None, found.summary()


@pytest.mark.nightly
def test_an_honest_better_program_is_crowned(judge: AuditedEvaluator, tmp_path: Path) -> None:
    """By a claim in stages, which is a narrower one."""
    in_stages = AuditedEvaluator(dataclasses.replace(judge.task, claim_stages=3), judge.sandbox)
    found = searched(BETTER, in_stages, tmp_path / "a.duckdb")
    assert champion(found) is not None, found.result
    asked = open_reader(tmp_path / "a.duckdb").query("SELECT DISTINCT stage FROM stage_answers ORDER BY stage")
    assert asked.rows == [(0,), (1,)]


@pytest.mark.nightly
@pytest.mark.parametrize("stages", [1, 3])
def test_a_cheat_that_remembers_everything_leads_and_is_not_crowned(
    task: LanguageModelTask, tmp_path: Path, stages: int
) -> None:
    """Without any sandbox: the protocol of a claim holds by itself."""
    source = (HERE / "planted" / "remembers_everything.py").read_text().replace('"MEMORY"', repr(str(tmp_path / "m")))
    task = dataclasses.replace(task, claim_stages=stages)
    found = searched(source, AuditedEvaluator(task, NoSandbox()), tmp_path / "a.duckdb")
    tree = found.tree
    leader = tree.leader()
    assert leader not in (None, tree.root)
    assert tree.mean(leader) < tree.mean(tree.root) - 1.0, "it leads by what it has been told"
    assert champion(found) is None, found.result
    claimed = [node.node_id for node in tree.nodes if tree.scores(node.node_id, "report")]
    assert tree.root in claimed, "there was a claim"
    assert len(claimed) > 1, "of something else"
