"""The API that a candidate imports, and (in the other modules) the trusted half: tasks, data, metric, scorer.

A training candidate is a module with two functions:

    import prepare

    def train(session: prepare.Session) -> dict[str, torch.Tensor]:
        ...                              # build the model: not charged
        data = session.start()           # the clock starts; the training data arrive, read-only: [N] uint8 bytes, or
                                         # [N] int16 tokens in rows of session.task.context + 1
        while session.remaining() > 0:
            ...
        return model.state_dict()

    def predict(state, task: prepare.TaskInfo):
        ...                              # rebuild the model
        return lambda tokens: logits     # [B, T] int64 -> [B, T, vocab], causal and stateless

    if __name__ == "__main__":
        prepare.standalone(train, predict)

The candidate never computes, reports or times its own score: that happens elsewhere, where it cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prepare.session import Session, TaskInfo

if TYPE_CHECKING:
    from torch import Tensor

    Train = Callable[[Session], dict[str, Tensor]]
    Predict = Callable[[dict[str, Tensor], TaskInfo], Callable[[Tensor], Tensor]]

__all__ = ["Session", "TaskInfo", "standalone"]


def standalone(train: Train, predict: Predict) -> None:
    """Run this program alone, on the real data, and print its own score for a person to look at."""
    from prepare.standalone import main  # not at the top: a sandbox has no use for it

    main(train, predict)
