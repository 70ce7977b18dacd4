"""Judges an agent on questions whose answers it never sees. The model is a service of this trusted process.

``Model`` is a scripted stand-in, so that this task runs without a key: replace its body by a request to a real model.
"""

import random
import re

import prepare

QUESTIONS, ERRORS = 20, 0.4


def cases(split, rng):
    """Yield the questions of a split: other ones for val (steers), select and holdout (read by claims only)."""
    for number in range(QUESTIONS):
        left, right = (int(each) for each in rng.integers(10, 1000, size=2))
        yield {"name": f"{split}-{number}", "question": f"{left} + {right}", "answer": str(left + right)}


class Model:
    """A model that adds, and forgets to carry in a share of its answers."""

    def __init__(self, seed):
        self.calls = 0
        self._random = random.Random(seed)

    def __call__(self, prompt):
        self.calls += 1
        if self.calls > 20:
            raise prepare.Invalid("more than 20 calls of llm for one question")
        found = re.search(r"(\d+) \+ (\d+)", str(prompt))
        if found is None:
            return "I see no sum."
        total = int(found[1]) + int(found[2])
        return str(total - self._random.choice([1, 10, 100]) if self._random.random() < ERRORS else total)


def score(candidate, case):
    """Return 1 for the right answer, else 0."""
    model = Model(f"{case.seed}/{case.name}")
    answer = candidate.call("solve", case.data["question"], services={"llm": model})
    right = answer == case.data["answer"]
    feedback = (
        "" if right else f"{case.data['question']}: answered {str(answer)[:80]!r}, expected {case.data['answer']}"
    )
    return prepare.Score(float(right), {"calls": float(model.calls)}, feedback)
