"""Runs an AI-Scientist experiment, and reads final_info.json strictly. The experiment reports itself: self_reported.

To reach `trust: verified`, call functions of experiment.py with data that this file holds, and compute the metric here;
then remove `trust: self_reported` from task.yaml.
"""

import prepare
from prepare.metric_lines import MetricError, metrics_of, object_in
from prepare.scorer import finite_number

METRIC = "loss"


def score(candidate, case):
    """Return the mean of the metric over the data sets."""
    done = candidate.run(["python", "experiment.py", "--out_dir=run"])
    said = (done.stderr or done.stdout).decode("utf-8", "replace")[-3000:]
    if done.status != 0:
        raise prepare.Invalid(f"experiment.py ended with exit status {done.status}\n{said}")
    try:
        sets = object_in(candidate.read("run/final_info.json").decode("utf-8", "replace"))
        found = [means_of(name, values) for name, values in sets.items()]
        if not found:
            raise MetricError("final_info.json has no data set")
        return prepare.Score(sum(means[METRIC] for means in found) / len(found), averages(found), said)
    except MetricError as error:
        raise prepare.Invalid(f"final_info.json: {error}") from None


def means_of(name, values):
    """Return the means of one data set."""
    means = values.get("means") if isinstance(values, dict) else None
    if not isinstance(means, dict):
        raise MetricError(f"{name} has no means")
    return metrics_of({key: finite_number(value) for key, value in means.items()}, METRIC)


def averages(found):
    """Return the mean of each other metric that all data sets have."""
    shared = set.intersection(*map(set, found)) - {METRIC}
    return {name: sum(means[name] for means in found) / len(found) for name in sorted(shared)}
