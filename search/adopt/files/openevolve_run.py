"""Calls OpenEvolve's evaluator as OpenEvolve does: its stages one after another while the score passes the threshold.

Runs in the program's sandbox. A program that ends at an early stage keeps that stage's score, as in OpenEvolve.
"""

import os

import evaluator

CASCADE = True
THRESHOLDS = (0.5, 0.75, 0.9)


def evaluate(program):
    """Return metrics, artifacts and the last stage (0: not staged)."""
    path = os.path.abspath(program)
    stages = [getattr(evaluator, f"evaluate_stage{number}", None) for number in (1, 2, 3)]
    stages = stages[: stages.index(None)] if None in stages else stages
    if not CASCADE or not stages:
        metrics, artifacts = parts(evaluator.evaluate(path))
        return {"metrics": metrics, "artifacts": artifacts, "stage": 0}
    metrics, artifacts = {}, {}
    for number, stage in enumerate(stages, 1):
        found, more = parts(stage(path))
        metrics, artifacts = {**metrics, **found}, {**artifacts, **more}
        if number <= len(THRESHOLDS) and not passes(found, THRESHOLDS[number - 1]):
            break
    return {"metrics": metrics, "artifacts": artifacts, "stage": number}


def parts(result):
    """Return metrics and artifacts of a dict or an EvaluationResult as plain values."""
    metrics = getattr(result, "metrics", result)
    artifacts = getattr(result, "artifacts", None) or {}
    plain = {str(name): value.item() if hasattr(value, "item") else value for name, value in metrics.items()}
    return plain, {str(name): str(value)[:4000] for name, value in artifacts.items()}


def passes(metrics, threshold):
    """Return whether combined_score, or else the mean of the numbers, reaches a threshold."""
    numbers = [value for value in metrics.values() if isinstance(value, (int, float)) and not isinstance(value, bool)]
    score = metrics.get("combined_score", sum(numbers) / len(numbers) if numbers else 0.0)
    return isinstance(score, (int, float)) and score >= threshold
