"""``python -m search ablate``: each step taken out is worth what it gained, and nothing is trained twice."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from inside import run, search
from launching import HOUSE, STUB, one, sql

from archive.query.tables import digits
from operators.recombine.ablate import Removal, without

COMMAND = {"_target_": "os.system", "command": "touch owned"}
AUDITED = {"_target_": "train.language_model.evaluator.AuditedEvaluator"}
BEFORE = "A = 1\nB = 2\n\n\ndef f(x):\n    return x\n\n\ndef g(x):\n    y = x\n    return y\n"


def files(text: str) -> dict[str, str]:
    return {"train.py": text}


# ---------------------------------------------------------------- taking one step out


def taken(program: str, step: str, before: str = BEFORE) -> Removal | str:
    return without("n", "idea", files(program), files(step), files(before))


def test_a_step_is_taken_out_and_later_ones_stay() -> None:
    step = BEFORE.replace("A = 1", "A = 5")
    program = step.replace("B = 2", "B = 7").replace("return y", "return 2 * y")
    assert taken(program, step) == Removal("n", "idea", files(program.replace("A = 5", "A = 1")))


def test_code_is_taken_out_too() -> None:
    step = BEFORE.replace("return x\n", "return x + 1\n", 1)
    program = step.replace("A = 1", "A = 9")
    assert taken(program, step) == Removal("n", "idea", files(BEFORE.replace("A = 1", "A = 9")))


def test_what_later_steps_changed_again_stays() -> None:
    step = BEFORE.replace("A = 1", "A = 5").replace("B = 2", "B = 6")
    program = step.replace("A = 5", "A = 8")
    assert taken(program, step) == Removal("n", "idea", files(BEFORE.replace("A = 1", "A = 8")), partial=True)


def test_a_step_of_which_nothing_is_left() -> None:
    for last in ("A = 6", "A = 1"):
        left = taken(BEFORE.replace("A = 1", last), BEFORE.replace("A = 1", "A = 5"))
        assert isinstance(left, str)
        assert "nothing of it is left" in left


# ---------------------------------------------------------------- a whole run


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a search with the stub evaluator, whose score is a known function of the constants."""
    folder = tmp_path_factory.mktemp("night")
    # One slot, and a seed by which some parameter is clear: by luck none is in one night of three.
    done = search(folder, "run=night", "operators=tune", "budget.evaluations=60", "seed=1", "executor.slots=1")
    assert done.returncode == 0, done.stderr
    return folder / "treewright.duckdb"


def ablate(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "search", "ablate", *words, *STUB], folder, timeout=120)


def verdict(archive: Path) -> str:
    return str(one(archive, "any_value(node_id) FROM decisions WHERE kind IN ('champion', 'no_champion')"))


@pytest.mark.slow
def test_each_step_is_worth_what_it_gained(night: Path) -> None:
    node = verdict(night)
    before = one(night, "count(*) FROM evaluations WHERE run = 'night'")
    done = ablate(night.parent, node[:10], "--runs", "3")
    assert done.returncode == 0, done.stderr + done.stdout
    name = f"ablation-{node[:8]}"
    counts = sql(
        night,
        "SELECT n.number, count(*) AS runs FROM nodes n JOIN evaluations USING (node_id) "
        f"WHERE n.run = '{name}' GROUP BY ALL ORDER BY 1",
    )
    assert {row["runs"] for row in counts} == {3}
    assert len(counts) >= 2
    assert one(night, "count(*) FROM evaluations WHERE run = 'night'") == before  # the search's own run is left alone
    worse = re.findall(r"worse by ([\d.]+) bpb", done.stdout)
    assert worse, done.stdout
    assert [float(gain) for gain in worse] == sorted(map(float, worse), reverse=True)
    # What is told is what the archive says: the mean without a step, less the mean of the whole.
    whole, without_it = sql(
        night,
        f"SELECT n.number = 0 AS whole, avg(score) AS mean FROM nodes n JOIN evaluations USING (node_id) "
        f"WHERE n.run = '{name}' GROUP BY n.node_id, n.number ORDER BY whole DESC, mean DESC LIMIT 2",
    )
    assert float(worse[0]) == pytest.approx(without_it["mean"] - whole["mean"], abs=1e-4)

    # And so does the view, for each step.
    steps = sql(night, f"SELECT step, worth, error, runs FROM ablations WHERE run = '{name}' AND node_id = '{node}'")
    assert len(steps) == len(counts) - 1
    for step in steps:
        worth = abs(step["worth"])
        assert re.search(rf"{step['step'][:8]}.*({worth:.4f}|{digits(worth)})", done.stdout), done.stdout
        assert step["runs"] == 3
        assert step["error"] is not None

    again = ablate(night.parent, node[:10], "--runs", "3")  # nothing is trained twice
    assert again.returncode == 0, again.stderr
    assert one(night, f"count(*) FROM evaluations WHERE run = '{name}'") == 3 * len(counts)
    more = ablate(night.parent, node[:10], "--runs", "4", "--json")  # and more runs go on from there
    assert more.returncode == 0, more.stderr
    told = {step["step"]: step["difference"] for step in json.loads(more.stdout)["steps"]}
    for step in sql(night, f"SELECT step, worth FROM ablations WHERE run = '{name}' AND node_id = '{node}'"):
        assert told[step["step"]]["gain"] == pytest.approx(step["worth"])
    assert one(night, f"count(*) FROM evaluations WHERE run = '{name}'") == 4 * len(counts)


@pytest.mark.slow
def test_what_cannot_be_ablated_is_said(night: Path, tmp_path: Path) -> None:
    root = one(night, "any_value(node_id) FROM nodes WHERE run = 'night' AND number = 0")
    for words, said in (
        ((root,), "it is the seed program itself"),
        (("zzz",), "no node has an id that starts with"),
        ((root, "archive=nowhere.duckdb"), "there is no archive"),
        ((root, "policy=greedy"), "those of the node's own run"),
        ((verdict(night), "task.seconds=3"), "task.seconds: 10.0 -> 3"),
        ((verdict(night), "evaluator.noise=0.5"), "evaluator.noise: 0.01 -> 0.5"),
    ):
        done = ablate(night.parent, *words)
        assert done.returncode != 0
        assert said in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not (night.parent / "nowhere.duckdb").exists()


# ---------------------------------------------------------------- an archive from elsewhere


def crafted(night: Path, folder: Path, *path: str, section: object) -> Path:
    """A copy of the archive whose run has another value at ``path`` of its configuration."""
    folder.mkdir(exist_ok=True)
    copy = folder / "treewright.duckdb"
    shutil.copy(night, copy)
    with duckdb.connect(str(copy)) as connection:
        ((text,),) = connection.execute("SELECT config FROM runs WHERE run = 'night'").fetchall()
        config = json.loads(text)
        inner = config
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = section
        connection.execute("UPDATE runs SET config = ? WHERE run = 'night'", [json.dumps(config)])
    return copy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "section", "said"),
    [
        (("task", "corpus"), COMMAND, "task.corpus names the class 'os.system'"),
        (("task", "limits"), {"memory_mb": COMMAND}, "task.limits.memory_mb has the key '_target_'"),
        (("task",), {**COMMAND, "name": "x"}, "the task is built by the class 'os.system'"),
        (("task",), "touch owned", "the task is a str"),
        (("evaluator",), COMMAND, "evaluator names the class 'os.system'"),
        (("evaluator",), {**AUDITED, "median_rule": COMMAND}, "evaluator.median_rule has the key '_target_'"),
    ],
)
def test_an_archive_cannot_name_code(
    night: Path, tmp_path: Path, path: tuple[str, ...], section: object, said: str
) -> None:
    copy = crafted(night, tmp_path, *path, section=section)
    words = ["--config-dir", str(HOUSE / "tests" / "conf"), *(["evaluator=stub"] if path[0] == "task" else [])]
    done = run([sys.executable, "-m", "search", "ablate", verdict(copy), *words], tmp_path, timeout=250)
    assert done.returncode == 1, done.stderr + done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "owned").exists()
    assert one(copy, "count(*) FROM runs") == one(night, "count(*) FROM runs")


@pytest.mark.slow
def test_other_parts_of_a_recorded_configuration_are_not_made(night: Path, tmp_path: Path) -> None:
    """Policy, operators, model and executor of a recorded run are replaced, or never looked at."""
    copy = night
    for key in ("policy", "operators", "llm", "executor", "data"):
        section: object = {"tune": COMMAND} if key == "operators" else COMMAND
        (tmp_path / key).mkdir()
        copy = crafted(copy, tmp_path / key, key, section=section)
    folder = copy.parent
    done = ablate(folder, verdict(copy), "--runs", "2")
    assert done.returncode == 0, done.stderr
    assert not (folder / "owned").exists()


@pytest.mark.slow
def test_a_class_of_the_user_s_own_is_named_again(night: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "search", "ablate", verdict(night), "--config-dir", str(HOUSE / "tests" / "conf")]
    done = run(words, night.parent)
    assert done.returncode == 1
    said = "evaluator names the class 'stub_evaluator.StubEvaluator'; expected one of train.language_model.evaluator"
    assert said in done.stderr
    assert "evaluator=NAME" in done.stderr
    assert "--config-dir DIR" in done.stderr


# ---------------------------------------------------------------- the same from what is known already


def explain(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "search", "explain", *words], folder, timeout=250)


@pytest.mark.slow
def test_what_each_parameter_gains_is_estimated_without_an_evaluation(night: Path) -> None:
    before = one(night, "count(*) FROM evaluations")
    done = explain(night.parent, verdict(night)[:10])
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^  (\S+ \S+ -> \S+) +([+-][\d.]+) ± ([\d.]+)  (helps|does harm|not clear)$", done.stdout, re.M)
    assert len(told) >= 2, done.stdout
    gains = [float(gain) for _, gain, _, _ in told]
    assert gains == sorted(gains, reverse=True)
    assert "helps" in {verdict for *_, verdict in told}, done.stdout
    assert one(night, "count(*) FROM evaluations") == before
    facts = json.loads(explain(night.parent, verdict(night)[:10], "--json").stdout)
    assert facts["node"] == verdict(night)
    assert [f"{each['gain']:+.2f}" for each in facts["parameters"]] == [gain for _, gain, _, _ in told]


@pytest.mark.slow
def test_what_cannot_be_explained_is_said(night: Path) -> None:
    root = one(night, "any_value(node_id) FROM nodes WHERE run = 'night' AND number = 0")
    done = explain(night.parent, root)
    assert done.returncode == 0
    assert "differs from the seed program in no parameter" in done.stdout
    for words, said in (
        (("zzz",), "no node has an id that starts with"),
        ((root, "archive=nowhere.duckdb"), "there is no archive"),
        ((root, "task.seconds=3"), "only archive= can be set here"),
    ):
        done = explain(night.parent, *words)
        assert done.returncode != 0
        assert said in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert not (night.parent / "nowhere.duckdb").exists()
