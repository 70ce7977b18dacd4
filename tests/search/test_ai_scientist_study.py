"""A template of AI-Scientist's first version as a study: adopted, run with its baseline made here, and written up."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from inside import archive as ask
from inside import run

from archive.paper import build
from archive.paper.numbers import Study
from archive.query.query import open_reader

EXPERIMENT = """\
import argparse
import json
import os

RATE = 1.0  # tune: 0..2
SHIFT = 2.0  # tune: 0..4

parser = argparse.ArgumentParser()
parser.add_argument("--out_dir", default="run_0")
asked = parser.parse_args()
os.makedirs(asked.out_dir, exist_ok=True)
means = {"val_loss": 1 + (RATE - 0.3) ** 2 + (SHIFT - 1) ** 2, "train_loss": 0.5}
with open(os.path.join(asked.out_dir, "final_info.json"), "w") as file:
    json.dump({name: {"means": means, "stderrs": {}, "final_info_dict": {}} for name in ("tiny", "small")}, file)
"""
TEMPLATE = {
    "experiment.py": EXPERIMENT,
    "prompt.json": '{"system": "You are a scientist.", "task_description": "Lower the loss of a toy."}\n',
    "seed_ideas.json": '[{"Name": "shift"}]\n',
    "plot.py": "raise SystemExit('plots are not run')\n",
    "notes.txt": "# Run 0: the baseline\n",
    "run_0/final_info.json": '{"tiny": {"means": {"val_loss": 0.001, "train_loss": 0.001}}}\n',
}
PLAN = """\
study: toy
title: Constants of a template
hypothesis: Tuning RATE and SHIFT lowers the validation loss of the template.
task: ./ours
metric: val_loss
direction: minimise
evaluations: 30
seeds: [1, 2, 3]
settings: [operators=numeric, executor.slots=1, task.deterministic=true]
"""


@pytest.mark.slow
def test_a_template_is_studied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in TEMPLATE.items():
        (tmp_path / "theirs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / name).write_text(text)
    search = [sys.executable, "-m", "search"]
    metric = ["--metric", "val_loss", "--direction", "minimise"]
    adopted = run([*search, "adopt", "theirs", "--to", "ours", *metric], tmp_path)
    assert adopted.returncode == 0, adopted.stderr
    assert (
        "kept beside the program, where no candidate sees them: plot.py, notes.txt, seed_ideas.json" in adopted.stdout
    )
    assert "left out: run_0/final_info.json; the baseline (run_0) is evaluated here" in adopted.stdout
    for name in ("plot.py", "notes.txt"):
        assert (tmp_path / "ours" / name).read_text() == TEMPLATE[name]
    shutil.rmtree(tmp_path / "theirs")

    (tmp_path / "plan.yaml").write_text(PLAN)
    studied = run([*search, "study", "plan.yaml"], tmp_path)
    assert studied.returncode == 0, studied.stdout + studied.stderr
    assert "0 deviations from the plan" in studied.stdout

    monkeypatch.setattr(build, "LATEX", "no-such-latex")
    assert ask(tmp_path, "paper", "toy", "--out", "papers").returncode == 0
    assert ask(tmp_path, "audit", "papers/toy-1").returncode == 0
    study = Study.of(open_reader(tmp_path / "treewright.duckdb"), "toy")
    assert study.value("baseline") == pytest.approx(1 + 0.7**2 + 1), "what experiment.py gives, not their run_0"
    assert "self" in (tmp_path / "papers" / "toy-1" / "paper.tex").read_text()
    workspace = "SELECT DISTINCT path FROM files JOIN nodes USING (node_id) WHERE number = 0"
    assert study.reader.query(workspace).rows == [("experiment.py",)], "no candidate sees plots and notes"
