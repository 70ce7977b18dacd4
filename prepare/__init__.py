"""The API that a language-model candidate or a task's ``score.py`` imports; the rest is trusted: tasks, data, metric.

A scorer uses ``prepare.Score``, ``prepare.Invalid`` and ``prepare.Case`` (see ``prepare.scorer``); one that judges
agents uses ``prepare.graded``, too (see ``prepare.items``).
A candidate that trains a language model is a module with two functions:

    import prepare

    def train(session: prepare.Session) -> dict[str, torch.Tensor]:
        ...                              # build the model: not charged
        data = session.start()           # starts the clock; returns the training data, read-only: [N] uint8 bytes, or
                                         # [N] int16 tokens in rows of session.task.context + 1
        while session.remaining() > 0:
            ...
        return model.state_dict()

    def predict(state, task: prepare.TaskInfo):
        ...                              # rebuild the model
        return lambda tokens: logits     # [B, T] int64 -> [B, T, vocab], causal and stateless

    if __name__ == "__main__":
        prepare.standalone(train, predict)

The candidate never computes, reports or times its own score: the evaluator does, in other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prepare.items import graded, number_in
from prepare.scorer import Attempt, Case, Invalid, Score
from prepare.session import Session, TaskInfo

if TYPE_CHECKING:
    from torch import Tensor

    Train = Callable[[Session], dict[str, Tensor]]
    Predict = Callable[[dict[str, Tensor], TaskInfo], Callable[[Tensor], Tensor]]

__all__ = ["Attempt", "Case", "Invalid", "Score", "Session", "TaskInfo", "graded", "number_in", "standalone"]


def standalone(train: Train, predict: Predict) -> None:
    """Run this program alone on the real data, and print its self-reported score."""
    from prepare.standalone import main  # here, since it is not needed in a sandbox

    main(train, predict)
