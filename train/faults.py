"""Named points at which a test can kill this process: ``TREEWRIGHT_FAULT=score`` or, at the third pass, ``score:3``.

    move      a move is written, and what asks a language model for it has not begun
    node      a candidate is written, and not committed yet
    launch    the training sandbox is open
    train     the state has arrived, the training sandbox is still open
    score     the claims have arrived, the scoring sandbox is still open
    audit     the audited logits have arrived, the auditing sandbox is still open
    seal      a training for a claim is sealed, and not judged yet
    stage     the answers of a stage of a judgement are recorded, and the next stage has not begun
    landed    an evaluation has reached the search, and is not recorded yet
    commit    an evaluation is recorded

See tests/faults/test_fault_points.py. Without the variable a point costs one dictionary look-up.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import Literal

Point = Literal["move", "node", "launch", "train", "score", "audit", "seal", "stage", "landed", "commit"]
_passed = itertools.count(1)


def fault(point: Point) -> None:
    """Kill this process with SIGKILL if TREEWRIGHT_FAULT names this point."""
    if (wanted := os.environ.get("TREEWRIGHT_FAULT")) is None:
        return
    name, _, time = wanted.partition(":")
    if name == point and next(_passed) == int(time or 1):
        os.kill(os.getpid(), signal.SIGKILL)
