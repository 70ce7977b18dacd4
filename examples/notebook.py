"""A search as in a notebook: a function of your own as the metric, then a training.

python examples/notebook.py                     # the function: about two seconds
python examples/notebook.py --train             # three evaluations of the seed program of task=shakespeare, too
"""

from __future__ import annotations

import sys

import numpy as np

import search

# %% A metric of your own

PROGRAM = """\
STEP = 0.5      # tune: 0.001..2 log
MOMENTUM = 0.0  # tune: 0..0.99


def minimise(gradient, x):
    velocity = 0.0
    for _ in range(20):
        velocity = MOMENTUM * velocity - STEP * gradient(x)
        x = x + velocity
    return x
"""


def score(request: search.Request) -> float:
    """Return how far from the minimum of a noisy quadratic the program ends, as a log10: lower is better.

    The seed decides the start and the noise, so that the claim at the end tests the winner on fresh ones.
    """
    rng = np.random.default_rng(request.seed)
    namespace: dict = {}
    exec(request.files["train.py"], namespace)
    ends = [
        namespace["minimise"](lambda x: 3.0 * x + 0.1 * rng.normal(), start) for start in rng.uniform(-1, 1, size=32)
    ]
    return float(np.log10(np.mean(np.clip(np.abs(ends), 1e-9, 1e9))))


def run(s: search.Search) -> None:
    """Evaluate what the search asks for until its budget is used, and print the result."""
    while (request := s.ask()) is not None:
        s.tell(s.evaluate(request))
    print(s.summary())


task = search.OwnTask(score, PROGRAM, direction="minimise", name="descent", metric="log10_distance")
with search.Search(task, operators="numeric", seed=1) as s:
    run(s)
    print(s.best.candidate.files["train.py"] if s.best else "nothing was scored")

# %% A training, in the sandbox

if "--train" in sys.argv:
    with search.Search("shakespeare", operators="numeric", budget=3, overrides=["task.seconds=2"]) as s:
        run(s)
