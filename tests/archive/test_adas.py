"""Archives of ADAS: adopted as a task that runs their agents, exported, and adopted again."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_sample import START, Diary, a_run, request_for, scored
from gallery import StandIn, module_of

from archive.__main__ import main
from archive.records import CaseScore, Decision, Node, Purpose
from archive.storage.store import Archive
from prepare.load import task_from
from prepare.program import ProgramTask, folder_settings
from prepare.scorer import Case
from search.adopt.adas import HEADER
from search.cli.adopt import adopt
from train.program.model import CountedModel, ScriptedSession

CHAIN = """def forward(self, taskInfo):
    agent = LLMAgentBase(['thinking', 'answer'], 'Chain-of-Thought Agent')
    thinking, answer = agent([taskInfo], 'Please think step by step and then solve the task.')
    return answer
"""
VOTE = """def forward(self, taskInfo):
    from collections import Counter
    agents = [LLMAgentBase(['thinking', 'answer'], 'Agent', temperature=0.8) for _ in range(5)]
    answers = [agent([taskInfo], 'Please think step by step and then solve the task.')[1].content for agent in agents]
    return Counter(answers).most_common(1)[0][0]
"""
REFLEXION = """def forward(self, taskInfo):
    agent = LLMAgentBase(['thinking', 'answer'], 'Agent')
    critic = LLMAgentBase(['feedback', 'correct'], 'Critic')
    thinking, answer = agent([taskInfo], 'Think step by step.', 0)
    for i in range(2):
        feedback, correct = critic([taskInfo, thinking, answer], 'Check the answer. Say if it is correct.', i)
        if correct.content == 'True':
            break
        thinking, answer = agent([taskInfo, answer, feedback], 'Think step by step.', i + 1)
    return answer
"""
FITNESS = "95% Bootstrap Confidence Interval: (10.0%, 30.0%), Median: {}%"


def entries(*codes: str) -> list[dict[str, Any]]:
    return [
        {"thought": "t", "name": f"n{n}", "code": code, "generation": n, "fitness": FITNESS.format(20 + n)}
        for n, code in enumerate(codes)
    ]


def adopted(tmp_path: Path, text: str) -> ProgramTask:
    source = tmp_path / "theirs"
    source.mkdir()
    (source / "mgsm_results_run_archive.json").write_text(text)
    assert adopt([str(source), "--to", str(tmp_path / "ours")]) == 0
    task = task_from(folder_settings(tmp_path / "ours"))
    assert isinstance(task, ProgramTask)
    return task


def share_right(folder: Path, agent: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Run an agent through the stand-in on the first items of the task."""
    shim = module_of(folder / "adas.py")
    monkeypatch.setitem(sys.modules, "adas", shim)
    monkeypatch.setitem(sys.modules, "agent", loaded(agent))
    scorer, answer = module_of(folder / "score.py"), module_of(folder / "model.py").answer
    solve: Callable[..., str] = shim.solve
    found = []
    service = task_from(folder_settings(folder)).llm
    for data in list(scorer.cases("val", np.random.default_rng(1)))[:100]:
        handle = StandIn({"solve": solve}, model=CountedModel(service, lambda item: ScriptedSession(answer, item)))
        handle.begin_case(data["name"])
        score = scorer.score(handle, Case(data["name"], "val", data, 1))
        assert score.ending in ("right", "wrong"), score.feedback
        found.append(score.value)
    return float(np.mean(found))


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("agent", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_archive_becomes_a_task_whose_agents_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = adopted(tmp_path, json.dumps(entries(CHAIN, REFLEXION, VOTE)))
    said = capsys.readouterr().out
    assert "ours: ADAS; right, maximise; may change: agent.py" in said
    assert "self_reported" not in said
    assert (task.trust, task.seed_files()["agent.py"]) == ("verified", f"{HEADER}{VOTE}")
    folder = tmp_path / "ours"
    chain, reflexion, vote = (share_right(folder, folder / f"agents/00{n}.py", monkeypatch) for n in range(3))
    assert 0.6 < chain < 0.95
    assert reflexion > chain - 0.05
    assert vote > chain + 0.05


def test_the_recorded_test_fitness_is_kept_and_chooses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = entries(CHAIN, VOTE)
    first["test_fitness"] = FITNESS.format(99)
    second |= {"test_fitness": FITNESS.format(12), "test_fitness_gsm8k": FITNESS.format(13), "name": "\ud800"}
    task = adopted(tmp_path, json.dumps([first, second]))
    assert task.seed_files()["agent.py"] == f"{HEADER}{VOTE}"
    assert "it had 21% right in their search and 12% in their test" in capsys.readouterr().out
    kept = json.loads((tmp_path / "ours/agents/archive.json").read_text())
    assert kept[1] == {"file": "001.py", "name": "\ud800", "generation": "1"} | {
        key: FITNESS.format(share) for key, share in (("fitness", 21), ("test_fitness", 12), ("test_fitness_gsm8k", 13))
    }


@pytest.mark.parametrize("text", ["[", "{}", "[1]", '[{"code": "x = 1"}]', '[{"code": 3}]'])
def test_what_is_no_archive_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "theirs"
    source.mkdir()
    (source / "a_run_archive.json").write_text(text)
    assert adopt([str(source), "--to", str(tmp_path / "ours")]) == 1
    assert "a_run_archive.json" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_agents_are_exported_with_an_interval_that_holds_their_median(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive, a_run(direction="maximise"))
        root = diary.child(operator="seed", text=f"{HEADER}{CHAIN}")
        cases = tuple(CaseScore(str(n), float(n % 2), ending="right" if n % 2 else "wrong") for n in range(20))
        diary.record(scored(request_for(root, 1), 0.5, cases=cases))
    assert main(["export", "--adas", f"--archive={path}"]) == 0
    text = capsys.readouterr().out
    (entry,) = json.loads(text)
    assert entry["generation"] == "initial"
    assert entry["fitness"].endswith("Median: 50.0%")
    assert "Interval: (30.0%, 70.0%)" in entry["fitness"]
    assert adopted(tmp_path, text).seed_files()["agent.py"] == f"{HEADER}{CHAIN}"


def test_the_holdout_is_exported_as_test_fitness_once_a_claim_has_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.duckdb"

    def items(right: int) -> tuple[CaseScore, ...]:
        return tuple(CaseScore(str(n), float(n < right), ending="right" if n < right else "wrong") for n in range(20))

    def exported() -> list[str | None]:
        assert main(["export", "--adas", f"--archive={path}"]) == 0
        return [entry.get("test_fitness") for entry in json.loads(capsys.readouterr().out)]

    def judged(diary: Diary, node: Node, right: int, purpose: Purpose, seed: int) -> None:
        diary.record(scored(request_for(node, seed, purpose), right / 20, cases=items(right)))

    with Archive.open(path) as archive:
        diary = Diary(archive, a_run(direction="maximise"))
        root = diary.child(operator="seed", text=f"{HEADER}{CHAIN}")
        vote = diary.child(root, text=f"{HEADER}{VOTE}")
        judged(diary, root, 10, "screen", 1)
        judged(diary, vote, 19, "screen", 1)
        judged(diary, vote, 17, "confirm", 2)
        judged(diary, vote, 15, "report", 3)
    assert exported() == [None, None]
    with Archive.open(path) as archive:
        archive.decide(Decision("night", "champion", vote.node_id, "better", {}, START))
    root_only, tested = exported()
    assert root_only is None
    assert tested is not None
    assert tested.endswith("Median: 75.0%")
