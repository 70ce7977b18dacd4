"""Small folders in other systems' formats, written for these tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

OPENEVOLVE = {
    "initial_program.py": """\
# EVOLVE-BLOCK-START
X = 1.0  # tune: -2..2


def guess():
    return X
# EVOLVE-BLOCK-END


def run():
    return guess()
""",
    "evaluator.py": """\
import importlib.util

from openevolve.evaluation_result import EvaluationResult


def measured(path):
    spec = importlib.util.spec_from_file_location("program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return 1 - (program.run() - 0.3) ** 2


def evaluate_stage1(path):
    return {"combined_score": measured(path), "runs": 1}


def evaluate_stage2(path):
    score = measured(path)
    return EvaluationResult(metrics={"combined_score": score, "quick": True}, artifacts={"hint": f"got {score:.3f}"})


def evaluate(path):
    return evaluate_stage2(path)
""",
    "config.yaml": """\
max_iterations: 100
llm: {primary_model: some-model}
prompt:
  system_message: Find the number.
evaluator: {timeout: 20, cascade_evaluation: true, cascade_thresholds: [0.4, 0.75]}
""",
}
SHINKA = {
    "initial.py": """\
# EVOLVE-BLOCK-START
X = 1.0  # tune: -2..2
# EVOLVE-BLOCK-END


def run(scale):
    return X * scale
""",
    "evaluate.py": """\
import argparse

from shinka.core import run_shinka_eval


def aggregate(results):
    mean = sum(results) / len(results)
    return {"combined_score": 1 - (mean - 0.3) ** 2, "public": {"mean": mean}, "text_feedback": "closer to 0.3"}


def validate(result):
    return (result < 1.5, None if result < 1.5 else f"{result} is too large")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--program_path")
    parser.add_argument("--results_dir")
    asked = parser.parse_args()
    run_shinka_eval(
        program_path=asked.program_path,
        results_dir=asked.results_dir,
        experiment_fn_name="run",
        num_runs=2,
        get_experiment_kwargs=lambda number: {"scale": 1.0},
        validate_fn=validate,
        aggregate_metrics_fn=aggregate,
    )
""",
}
METRIC_LINES = {
    "sleep time.sh": "#!/bin/sh\nSTEPS=9  # tune: 1..20\necho $STEPS\n",
    ".auto/measure.sh": '#!/bin/bash\nn=$(sh "sleep time.sh")\necho "METRIC größe_µs=$((n * n))"\n',
    ".auto/checks.sh": '#!/bin/bash\n[ "$(sh "sleep time.sh")" -gt 0 ]\n',
    ".auto/prompt.md": "Make it small.\n",
    ".auto/config.json": '{"maxIterations": 50}\n',
}
HARBOR = {
    "instruction.md": "Write the sum of /app/numbers.txt to /app/sum.txt.\n",
    "task.toml": "[agent]\ntimeout_sec = 20\n[verifier]\ntimeout_sec = 10\n[environment]\nmemory_mb = 512\n",
    "environment/Dockerfile": "FROM debian\nWORKDIR /app\nCOPY numbers.txt /app/\n",
    "environment/numbers.txt": "1\n2\n39\n",
    "tests/test.sh": """\
#!/bin/bash
cd /app
if [ "$(cat /app/sum.txt)" = 42 ]; then echo 1 > /logs/verifier/reward.txt; else echo 0 > /logs/verifier/reward.txt; fi
""",
    "solution/solve.sh": "echo 42 > /app/sum.txt\n",
}
AI_SCIENTIST = {
    "experiment.py": """\
import argparse
import json
import os

RATE = 1.0  # tune: -2..2

parser = argparse.ArgumentParser()
parser.add_argument("--out_dir", default="run_0")
asked = parser.parse_args()
os.makedirs(asked.out_dir, exist_ok=True)
means = {"val_loss": (RATE - 0.3) ** 2, "seconds": 0.1}
with open(f"{asked.out_dir}/final_info.json", "w") as file:
    json.dump({name: {"means": means, "stderrs": {}} for name in ("tiny", "small")}, file)
""",
    "prompt.json": '{"system": "You are a scientist.", "task_description": "Lower the loss."}\n',
    "seed_ideas.json": '[{"Name": "an_idea"}]\n',
    "plot.py": "import matplotlib\n",
    "run_0/final_info.json": '{"tiny": {"means": {"val_loss": 0.49, "seconds": 0.1}}}\n',
}
AUTORESEARCH = {
    "train.py": """\
from prepare import evaluate_bpb

RATE = 1.0  # tune: -2..2

print("step 1")
print("---")
print(f"val_bpb:          {evaluate_bpb(RATE):.6f}")
print("training_seconds: 0.1")
""",
    "prepare.py": "def evaluate_bpb(rate):\n    return 1 + (rate - 0.3) ** 2\n",
    "program.md": "Lower val_bpb. Only train.py may change.\n",
    "results.tsv": "commit\tval_bpb\n",
}


def written(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
