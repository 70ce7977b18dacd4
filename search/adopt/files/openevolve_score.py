"""Reads what OpenEvolve's evaluator says, strictly. The evaluator shares a process with the program: self_reported.

To reach `trust: verified`, have the program return what it found, and compute the score here:

    found = candidate.call("run_packing")        # a function of the program; nothing of it runs in this process
    ...                                          # recompute everything; raise prepare.Invalid("circle 3 overlaps 7")
    return prepare.Score(value)

Then remove `trust: self_reported` from task.yaml, and evaluator.py and openevolve_run.py from `readonly`.
"""

import prepare
from prepare.metric_lines import MetricError, metrics_of
from prepare.scorer import finite_number

PROGRAM = "initial_program.py"


def score(candidate, case):
    """Return combined_score, else the mean of the metrics, as OpenEvolve does. Artifacts are the feedback."""
    found = candidate.call("openevolve_run.py:evaluate", PROGRAM)
    if not isinstance(found, dict) or not isinstance(found.get("metrics"), dict):
        raise prepare.Invalid("the evaluator has to return a dict of metrics, or an EvaluationResult")
    metrics = found["metrics"]
    numbers = [number for value in metrics.values() if (number := finite_number(value)) is not None]
    if "combined_score" not in metrics and numbers:
        metrics = {**metrics, "combined_score": sum(numbers) / len(numbers)}
    try:
        kept = metrics_of(metrics, "combined_score")
    except MetricError as error:
        raise prepare.Invalid(str(error)) from None
    value = kept.pop("combined_score")
    artifacts = found.get("artifacts")
    said = {name: text for name, text in metrics.items() if isinstance(text, str)}  # such as an error
    said |= artifacts if isinstance(artifacts, dict) else {}
    feedback = "\n".join(f"{name}: {text}" for name, text in said.items())[:8000]
    return prepare.Score(value, {**kept, "stage": float(finite_number(found.get("stage")) or 0)}, feedback)
