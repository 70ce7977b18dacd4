"""Runs Shinka's evaluate.py beside the program, and reads metrics.json and correct.json strictly: self_reported.

To reach `trust: verified`, have the program return what it found, and compute the score here:

    found = candidate.call("run_packing")        # a function of the program; nothing of it runs in this process
    ...                                          # recompute everything; raise prepare.Invalid("circle 3 overlaps 7")
    return prepare.Score(value)

Then remove `trust: self_reported` from task.yaml, and evaluate.py from `readonly`.
"""

import prepare
from prepare.metric_lines import MetricError, metrics_in_json, object_in
from prepare.scorer import finite_number

PROGRAM = "initial.py"
RESULTS = "results"


def score(candidate, case):
    """Return combined_score of a correct program."""
    argv = ["python", "evaluate.py", "--program_path", PROGRAM, "--results_dir", RESULTS]
    done = candidate.run(argv)
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace")[-3000:]
        raise prepare.Invalid(f"evaluate.py ended with exit status {done.status}\n{said}")
    try:
        correct = object_in(text_of(candidate, "correct.json"))
        if correct.get("correct") is not True:
            raise prepare.Invalid(f"not correct: {str(correct.get('error'))[:3000]}")
        text = text_of(candidate, "metrics.json")
        metrics, whole = metrics_in_json(text, "combined_score"), object_in(text)
    except MetricError as error:
        raise prepare.Invalid(str(error)) from None
    value = metrics.pop("combined_score")
    public = whole.get("public")
    for name, number in public.items() if isinstance(public, dict) else ():
        if (finite := finite_number(number)) is not None and name != "combined_score":
            metrics[str(name)] = finite
    return prepare.Score(value, metrics, str(whole.get("text_feedback") or "")[:8000])


def text_of(candidate, name):
    """Return the text of a result file."""
    return candidate.read(f"{RESULTS}/{name}").decode("utf-8", "replace")
