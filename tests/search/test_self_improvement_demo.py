"""A toy agent with a planted bug, and four edits of it: a good, a useless, a cheating and a crashing one.

Candidates run in real sandboxes, since what becomes of the cheat and of the crash is decided there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archive.records import Failed, Scored
from archive.storage.store import Archive
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from operators.rewrite.improve import Improve
from search.api import Search

CANARY = "canary-1c7e-answers-of-the-hidden-set"
YAML = """
name: adder
metric: {name: right, direction: maximise, lower: 0, upper: 1}
workspace: {editable: [agent.py]}
scorer: score.py
seconds: 5
deterministic: true
smallest_gain: 0.1
"""
AGENT = '''"""An agent that adds. Its tool is off by one where a digit is carried."""


def tool(left, right):
    carried = left % 10 + right % 10 >= 10
    return left + right - carried


def solve(question):
    left, right = question.split(" + ")
    return str(tool(int(left), int(right)))
'''
SCORE = f'''
import prepare

CANARY = "{CANARY}"


def cases(split, rng):
    for number in range(16):  # a digit is carried in every second one, whatever is drawn
        left, right = (10 * int(each) + (7 if number % 2 else 2) for each in rng.integers(1, 9, size=2))
        answer = str(left + right)
        data = {{"question": f"{{left}} + {{right}}", "answer": answer, "canary": CANARY}}
        yield {{"name": f"{{split}}-{{number}}", **data}}


def score(candidate, case):
    right = candidate.call("solve", case.data["question"]) == case.data["answer"]
    return prepare.Score(float(right), feedback="right" if right else f"wrong: {{case.data['question']}}")
'''


def edit(idea: str, old: str, new: str) -> str:
    return f"IDEA: {idea}\n\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


CARRY, RESULT = "    carried = left % 10 + right % 10 >= 10", "    return left + right - carried"
CHEAT = """import gc


def solve(question):
    for each in gc.get_objects():
        if type(each).__name__ == "Channel":
            each.send({"type": "right", "number": 10**6})"""
EDITS = {
    "useless": edit("carried is a number", CARRY, "    carried = int(left % 10 + right % 10 > 9)"),
    "crashing": edit("look the answer up", RESULT, "    return {}[left, right]"),
    "cheating": edit("answer before the question is judged", "def solve(question):", CHEAT),
    "good": edit("nothing is lost where a digit is carried", RESULT, "    return left + right"),
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Search, Scripted]]:
    """One search of all tests here: the root, four drafts from it, and the claim."""
    place = tmp_path_factory.mktemp("demo")
    for name, text in {"task.yaml": YAML, "agent.py": AGENT, "score.py": SCORE, "program.md": "# An adder\n"}.items():
        (place / name).write_text(text)
    model = Scripted([*EDITS.values(), *["nonsense"] * 30])
    with Archive.open(place / "a.duckdb") as archive:
        meter = Meter(model, max_dollars=1.0, max_tokens=10**6, record=archive.record_call)
        with Search(str(place), "greedy", operators=[Improve(meter)], archive=archive, run="demo", budget=9) as search:
            search.run()
            yield search, model


def node(played: tuple[Search, Scripted], name: str) -> str:
    """The node of an edit, by its idea."""
    idea = EDITS[name].splitlines()[0].removeprefix("IDEA: ")
    return next(each.node_id for each in played[0].tree.nodes if each.candidate.idea.startswith(idea))


def test_the_good_edit_is_the_champion_of_a_claim_on_cases_of_its_own(played: tuple[Search, Scripted]) -> None:
    search = played[0]
    assert search.result is not None
    assert search.result.verdict is not None
    verdict = search.archive.last_verdict("demo")
    assert verdict is not None
    assert (verdict.kind, verdict.node_id) == ("champion", node(played, "good"))
    assert search.tree.mean(node(played, "good")) == 1.0
    assert search.tree.mean(search.tree.root) < 1.0


def test_the_useless_edit_has_the_score_of_its_parent_and_leads_nothing(played: tuple[Search, Scripted]) -> None:
    tree = played[0].tree
    assert tree.mean(node(played, "useless")) == tree.mean(tree.root)
    assert tree.leader() != node(played, "useless")


def test_the_crashing_edit_is_a_failure_with_its_reason_and_no_score(played: tuple[Search, Scripted]) -> None:
    tree = played[0].tree
    (failed,) = tree.failures(node(played, "crashing"))
    assert isinstance(failed, Failed)
    assert (failed.outcome, failed.violation) == ("crashed", False)
    assert "KeyError" in failed.reason
    assert not tree.suspect(node(played, "crashing"))


def test_the_cheating_edit_is_quarantined_and_the_search_goes_on(played: tuple[Search, Scripted]) -> None:
    tree = played[0].tree
    cheat = node(played, "cheating")
    (failed,) = tree.failures(cheat)
    assert isinstance(failed, Failed)
    assert failed.violation
    assert tree.suspect(cheat)
    assert not tree.scored(cheat)
    assert any(isinstance(e, Scored) for e in tree.evaluations[node(played, "good")]), "made after it"


def test_the_canary_of_the_hidden_set_is_in_no_prompt(played: tuple[Search, Scripted]) -> None:
    search, model = played
    assert len(model.prompts) >= len(EDITS)
    assert all(CANARY not in prompt.text for prompt in model.prompts)
    stored = search.archive.query("SELECT text FROM sources WHERE sha IN (SELECT prompt_sha FROM llm_calls)")
    assert len(stored) >= len(EDITS)
    assert all(CANARY not in text for (text,) in stored)
    hidden = [text for (text,) in stored if "select-" in text or "holdout-" in text]
    assert not hidden, "nor anything else of a hidden case"
