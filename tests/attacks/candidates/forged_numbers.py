"""Reports a number that no float can hold."""

import contextlib
from pathlib import Path

ATTACK = 24
VARIANT_OF = "forged_reports"
ENDS = "invalid"
REASON = "something else than a step and a loss"
HARM = "dead"


def train(session):
    session.start()
    with contextlib.suppress(OSError):
        Path("results.json").write_text('{"val_bpb": 1' + 400 * "0" + "}")
    session._tell(1, 10**400)
    while True:
        pass


def predict(state, task):
    return None
