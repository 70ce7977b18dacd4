"""Runs solve.sh and Harbor's tests/test.sh in one sandbox, and reads the reward strictly: self_reported.

To reach `trust: verified`, read what the program made (`candidate.read("result.csv")`) and judge it here; then remove
`trust: self_reported` from task.yaml and tests/ from `readonly`.
"""

import prepare
from prepare.metric_lines import MetricError, metrics_in_json, metrics_of, number_in, object_in
from prepare.scorer import finite_number

METRIC = "reward"


def score(candidate, case):
    """Return the reward: of reward.json, or else of reward.txt."""
    prepared = candidate.run(["sh", "-c", "mkdir -p logs/verifier && sh ./solve.sh"])
    done = candidate.run(["bash", "tests/test.sh"])
    said = b"\n".join((prepared.stdout, prepared.stderr, done.stdout, done.stderr)).decode("utf-8", "replace")
    listed = candidate.run(["ls", "logs/verifier"]).stdout.decode("utf-8", "replace").split()
    try:
        metrics = rewards(candidate, listed)
    except MetricError as error:
        raise prepare.Invalid(f"{error}\ntests/test.sh ended with exit status {done.status}\n{said[-3000:]}") from None
    return prepare.Score(metrics.pop(METRIC), metrics, said[-4000:])


def rewards(candidate, listed):
    """Return the rewards by name. Without one called METRIC, that is their mean."""
    if "reward.json" not in listed:
        text = candidate.read("logs/verifier/reward.txt").decode("utf-8", "replace")
        return metrics_of({METRIC: number_in(text)}, METRIC)
    text = candidate.read("logs/verifier/reward.json").decode("utf-8", "replace")
    values = object_in(text)
    if METRIC in values:
        return metrics_in_json(text, METRIC)
    numbers = [finite_number(value) for value in values.values()]
    if not numbers or None in numbers:
        raise MetricError("reward.json has to have finite numbers only")
    return metrics_of({**values, METRIC: sum(numbers) / len(numbers)}, METRIC)
