"""Parts of agents: each call of the model and each role is removed by itself, and nothing else changes."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.languages.fingerprint import fingerprint
from operators.recombine.agent_parts import without_parts

FILES = Path(__file__).parents[2] / "search/adopt/files"
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


# ---------------------------------------------------------------- names that stand for the model


@pytest.mark.parametrize(
    "text",
    [
        "def solve(q, llm):\n    ask = llm\n    return ask(q)\n",
        "def solve(q, llm):\n    first: object = llm\n    then = first\n    return then(q)\n",
        "def solve(q, llm):\n    return (ask := llm)(q)\n",
        "def helper(ask, q):\n    return ask(q)\ndef solve(q, llm):\n    return helper(llm, q)\n",
        "def helper(q, *, ask):\n    return ask(q)\ndef solve(q, llm):\n    return helper(q, ask=llm)\n",
        "def solve(q, llm):\n    ask = llm if q else 0\n    def inner():\n        return ask(q)\n    return inner()\n",
    ],
)
def test_a_call_of_the_model_under_another_name_is_a_call(text: str) -> None:
    removals, entangled = without_parts({"agent.py": text})
    assert (len(removals), entangled) == (1, ())
    assert asked(text) == ("<Q>", [("Q", "")])
    assert asked(removals[0].files["agent.py"]) == ("", [])


def test_a_name_is_the_model_in_the_scope_that_assigns_it_alone() -> None:
    text = "def other(ask):\n    return ask('x')\ndef solve(q, llm):\n    ask = llm\n    return other(str) + ask(q)\n"
    removals, _ = without_parts({"agent.py": text})
    assert [each.words for each in removals] == ["without call-01: agent.py line 5: ask(q)"]


ADAS = """
from adas import Info, LLMAgentBase


def forward(self, taskInfo):
    critic = LLMAgentBase(["feedback", "correct"], "Critic", "strict reviewer")
    experts = [LLMAgentBase(["answer"], "Expert", role=role) for role in ("chemist", "clerk")]
    plain = LLMAgentBase(["answer"], "Plain", "helpful assistant")
    said = [expert([taskInfo], "solve")[0] for expert in experts]
    feedback, correct = critic.query([taskInfo, *said], "check")
    return plain([taskInfo, feedback], experts[0]([taskInfo], "again")[0].content)[0]
"""


def forwarded(text: str, folder: Path) -> tuple[str, list[tuple[str, str]]]:
    """Run an adopted agent; returns its answer, and (last line, role) of each prompt."""
    spec = importlib.util.spec_from_file_location("adas", folder / "adas.py")
    assert spec is not None
    assert spec.loader is not None
    adas = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adas)
    seen: list[tuple[str, str]] = []

    def llm(prompt: str, system: str = "") -> str:
        seen.append((prompt.splitlines()[-1], system.removeprefix("You are a ").rstrip(".")))
        return "Answer: 7"

    agent = ModuleType("agent")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "adas", adas)
        patched.setitem(sys.modules, "agent", agent)
        exec(text, vars(agent))
        return str(adas.solve("Q", llm)), seen


def test_calls_and_roles_of_agents_of_adas_are_parts() -> None:
    removals, entangled = without_parts({"agent.py": ADAS})
    assert entangled == ()
    found = {each.node_id: forwarded(each.files["agent.py"], FILES)[1] for each in removals}
    whole = [("solve", "chemist"), ("solve", "clerk"), ("check", "strict reviewer"), ("again", "chemist")]
    last = ("7", "helpful assistant")
    assert forwarded(ADAS, FILES) == ("Answer: 7", [*whole, last])
    assert found == {
        "call-01": [*whole[2:], last],
        "call-02": [*whole[:2], whole[3], last],
        "call-03": whole,
        "call-04": [*whole[:3], ("feedback: Answer: 7", "helpful assistant")],
        "role-01": [*whole[:2], ("check", "helpful assistant"), whole[3], last],
        "role-02": [("solve", last[1]), ("solve", last[1]), whole[2], ("again", last[1]), last],
    }


def test_without_info_nothing_of_adas_is_a_part() -> None:
    assert without_parts({"agent.py": ADAS.replace("Info, LLM", "LLM")}) == ((), ())


NAMES = st.sampled_from(["llm", "ask", "f", "x"])
LINES = st.one_of(
    st.builds("{} = {}".format, NAMES, NAMES),
    st.builds("{} = {}({})".format, NAMES, NAMES, NAMES),
    st.builds("def f({}): return {}({})".format, NAMES, NAMES, NAMES),
    st.builds("for {} in [{}, f({})]: {}(1)".format, NAMES, NAMES, NAMES, NAMES),
)


@settings(max_examples=20)
@given(st.lists(LINES, max_size=6))
def test_each_part_of_any_program_is_another_program_that_parses(lines: list[str]) -> None:
    files = {"agent.py": "\n".join(lines)}
    removals, entangled = without_parts(files)
    assert entangled == ()
    texts = {each.files["agent.py"] for each in removals}
    assert len(texts | {ast.unparse(ast.parse(files["agent.py"])) + "\n"}) == len(removals) + 1
    assert all(ast.parse(text) for text in texts)
