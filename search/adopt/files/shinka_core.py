"""Stands in for shinka.core: run_shinka_eval, as evaluate.py calls it, without plots, workers and early stops."""

import importlib.util
import json
import os


def run_shinka_eval(
    program_path,
    results_dir,
    experiment_fn_name,
    num_runs,
    get_experiment_kwargs=None,
    aggregate_metrics_fn=None,
    validate_fn=None,
    **_,
):
    """Run the experiment num_runs times; write metrics.json and correct.json. Returns metrics, correct, error."""
    metrics, error = {"combined_score": 0.0}, None
    try:
        experiment = getattr(module_of(program_path), experiment_fn_name)
        results = []
        for run in range(num_runs):
            result = experiment(**(get_experiment_kwargs(run) if get_experiment_kwargs else {}))
            valid, why = validate_fn(result) if validate_fn else (True, None)
            if not valid and error is None:
                error = why or "validate_fn refused the result"
            results.append(result)
        metrics = aggregate_metrics_fn(results) if aggregate_metrics_fn else {"combined_score": float(results[0])}
    except Exception as failure:  # noqa: BLE001 - reported in correct.json, as Shinka does
        error = f"{type(failure).__name__}: {failure}"
    os.makedirs(results_dir, exist_ok=True)
    for name, values in (("metrics", metrics), ("correct", {"correct": error is None, "error": error})):
        with open(os.path.join(results_dir, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(values, file, default=plain)
    return metrics, error is None, error


def module_of(path):
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("program", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(value):
    """Return arrays and numpy numbers as JSON values."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
