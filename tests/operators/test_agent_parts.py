"""Parts of agents: each call of the model and each role is removed by itself, and nothing else changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.languages.fingerprint import fingerprint
from operators.recombine.agent_parts import without_parts

SEEDS = sorted((Path(__file__).parents[2] / "operators/agents").glob("*.py"))
AGENT = """
def solve(question, llm):
    plan = llm(f"Plan: {question}", system="a planner")
    said = [helper(llm, plan, llm("again")) for _ in range(2)]
    return "/".join([plan, *said])


def helper(llm, plan, other):
    return llm(plan + other, "a clerk")
"""


def asked(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Run an agent's ``solve``; returns its answer, and the prompts with their roles."""
    seen: list[tuple[str, str]] = []

    def llm(prompt: str, system: str = "") -> str:
        seen.append((prompt, system))
        return f"<{prompt}>"

    names: dict[str, Any] = {}
    exec(text, names)
    solve: Callable[..., str] = names["solve"]
    return solve("Q", llm), seen


def test_each_call_and_each_role_is_removed_by_itself() -> None:
    removals, entangled = without_parts({"agent.py": AGENT, "notes.md": "llm(1)"})
    assert entangled == ()
    assert [each.node_id for each in removals] == ["call-01", "call-02", "call-03", "role-01", "role-02"]
    assert removals[1].words == "without call-02: agent.py line 4: llm('again')"
    assert {each.files["notes.md"] for each in removals} == {"llm(1)"}
    plan, planner, clerk = "<Plan: Q>", ("Plan: Q", "a planner"), ("<Plan: Q><again>", "a clerk")
    whole = f"<{plan}<again>>"
    again = ("again", "")
    expected = {
        "call-01": ("/<<again>>/<<again>>", [again, ("<again>", "a clerk")] * 2),
        "call-02": (f"{plan}/<{plan}>/<{plan}>", [planner, *[(plan, "a clerk")] * 2]),
        "call-03": (f"{plan}//", [planner, again, again]),
        "role-01": (f"{plan}/{whole}/{whole}", [("Plan: Q", ""), *[again, clerk] * 2]),
        "role-02": (f"{plan}/{whole}/{whole}", [planner, *[again, (clerk[0], "")] * 2]),
    }
    assert {each.node_id: asked(each.files["agent.py"]) for each in removals} == expected


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_every_known_design_has_parts_that_leave_other_programs(path: Path) -> None:
    files = {"agent.py": path.read_text()}
    removals, entangled = without_parts(files)
    assert entangled == ()
    assert len({fingerprint(each.files) for each in removals} | {fingerprint(files)}) == len(removals) + 1
    assert removals


@pytest.mark.parametrize("text", ["x = (", "\0", "def solve(q, llm):\n    return llm.ask(q)\n", "llm = 3\n"])
def test_a_program_without_calls_has_no_parts(text: str) -> None:
    assert without_parts({"agent.py": text}) == ((), ())


@pytest.mark.parametrize("more", ["", ", ''", ", system=''", ", *roles", ", other=1"])
def test_what_is_no_role_stays(more: str) -> None:
    removals, _ = without_parts({"a.py": f"llm('x'{more})\n"})
    assert [each.node_id for each in removals] == ["call-01"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="since Python 3.12 every f-string can be written again")
def test_what_cannot_be_written_again_is_listed_with_the_reason() -> None:
    removals, entangled = without_parts({"a.py": "x = f\"{llm('\x01')}\"\n"})
    assert removals == ()
    assert [(name, path) for name, path, _ in entangled] == [("call-01", "a.py")]
    assert "f-string" in entangled[0][2]
