"""Gates read a program and never run it: syntax, size, seeds, literals, quotations."""

from __future__ import annotations

import base64
import dataclasses
import zlib

import pytest

from prepare.task import Limits, Task
from train.gates import SHARED, Gates

PREDICT = "def predict(state, task): ...\n"
BARE = "def train(session): ...\n" + PREDICT


@pytest.fixture(scope="module")
def gates(toy_task: Task) -> Gates:
    return Gates.of(toy_task)


@pytest.fixture(scope="module")
def quotation(toy_task: Task) -> bytes:
    return toy_task.corpus.evaluation("holdout")[500 : 500 + 40].tobytes()


def refuse(gates: Gates, text: str) -> str | None:
    return gates.refuse({"train.py": text})


def test_the_seed_programs_pass(gates: Gates, toy_seed: str) -> None:
    from prepare.load import HOUSE

    assert refuse(gates, toy_seed) is None
    assert refuse(gates, (HOUSE / "train/seeds/shakespeare.py").read_text()) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def train(session:\n", "does not parse"),
        ("x = '\0'", "does not parse"),
        ("(" * 5000, "does not parse"),
        ("def train(session): ...\n", "must define the functions"),
        (PREDICT + "def other(): ...\n", "must define the functions"),
        (BARE + "#" * 70_000, "64,000 are allowed"),
        (BARE + "import torch\ntorch.manual_seed(1234)\n", "line 4: a fixed random seed"),
        (BARE + "import random\nrandom.seed(-1)\n", "a fixed random seed"),
        (BARE + "SEED = 7\nimport torch\ntorch.manual_seed(SEED)\n", "a fixed random seed"),
        (BARE + "SEED: int = 7\nimport torch\ntorch.manual_seed(SEED * 2 + 1)\n", "a fixed random seed"),
        (BARE + "import numpy as np\nr = np.random.default_rng(seed=3)\n", "a fixed random seed"),
        (BARE + f"x = {'ab' * 3000!r}\n", "6,000 bytes of long literals; 4,096 are allowed"),
        (BARE + f"x = {list(range(100)) * 50}\n", "5,000 bytes of long literals"),
        (BARE + f"x = {1 << 40_000:#x}\n", "5,001 bytes of long literals"),
    ],
)
def test_a_refusal_says_why(gates: Gates, text: str, reason: str) -> None:
    assert reason in (refuse(gates, text) or "")


@pytest.mark.parametrize(
    "text",
    [
        BARE + "import torch\ndef f(session):\n    torch.manual_seed(session.seed + 1)\n",
        BARE + "import numpy as np\ndef f(session):\n    return np.random.default_rng([session.seed, 3])\n",
        BARE + "import torch\ng = torch.Generator('cpu')\n",
        "from functools import partial\ndef f(x, session): ...\ntrain = partial(f, 1)\n" + PREDICT,
        BARE + f"x = {'short ' * 3!r}\n" * 400,
    ],
)
def test_what_is_allowed_is_not_refused(gates: Gates, text: str) -> None:
    assert refuse(gates, text) is None


def test_other_files_are_refused(gates: Gates) -> None:
    reason = gates.refuse({"train.py": BARE, "../prepare/scoring.py": ""})
    assert reason is not None
    assert "'../prepare/scoring.py' is not among the files that may change (train.py)" in reason


def reversed_base85(text: bytes) -> str:
    return repr(base64.b85encode(text[::-1]))


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: repr(text.decode()),
        lambda text: "0  # " + text.decode(),
        lambda text: repr(text),
        lambda text: repr(text[::-1]),
        lambda text: repr(text.hex()),
        lambda text: repr(base64.b64encode(text)),
        lambda text: repr(base64.b32encode(text)),
        lambda text: repr(zlib.compress(text)),
        lambda text: repr(base64.b64encode(zlib.compress(text)).decode()),
        lambda text: "[" + ", ".join(repr(text[i : i + 5].decode()) for i in range(0, 40, 5)) + "]",
        lambda text: repr(list(text)),
        lambda text: repr(int.from_bytes(text, "big")),
        lambda text: repr(int.from_bytes(text, "little")),
        reversed_base85,
    ],
)
def test_a_quotation_is_seen_in_every_spelling(gates: Gates, quotation: bytes, spell) -> None:
    assert "contains text of an evaluation split" in (refuse(gates, f"{BARE}x = {spell(quotation)}\n") or "")


def test_only_a_long_quotation_counts(gates: Gates, toy_task: Task, quotation: bytes) -> None:
    assert refuse(gates, f"{BARE}# {quotation[: SHARED - 3].decode()}\n") is None
    training = toy_task.corpus.documents()[0][100:160].tobytes().decode()
    assert refuse(gates, f"{BARE}# {training}\n") is None


def test_dashes_are_no_quotation(toy_task: Task) -> None:
    """A text may hold rulers and so may a program."""

    class Ruled:
        name = "ruled"

        def evaluation(self, split: str):
            import numpy as np

            return np.frombuffer(b"-" * 200 + b" " * 100, np.uint8)

    gates = Gates.of(dataclasses.replace(toy_task, corpus=Ruled()))
    assert refuse(gates, f"{BARE}# {'-' * 80}\n# {' ' * 60}\n") is None


def test_the_limits_are_the_tasks(toy_task: Task) -> None:
    gates = Gates.of(dataclasses.replace(toy_task, limits=Limits(source_kb=1, literal_bytes=30)))
    assert "1,000 are allowed" in (refuse(gates, BARE + "#" * 2000) or "")
    assert "30 are allowed" in (refuse(gates, BARE + f"x = {'abcdefgh' * 5!r}\n") or "")
