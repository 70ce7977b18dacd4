"""Gates read a program and never run it: syntax, size, seeds, literals, quotations."""

from __future__ import annotations

import base64
import bz2
import codecs
import dataclasses
import itertools
import lzma
import random
import string
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from prepare.language_model import LanguageModelTask, Limits
from prepare.load import ROOT
from train.language_model.program import normal_form
from train.language_model.static_checks import SHARED, StaticChecks

PREDICT = "def predict(state, task): ...\n"
BARE = "def train(session): ...\n" + PREDICT


def random_text(size: int) -> str:
    """Knowledge in a good encoding looks like this: nothing that compresses."""
    return "".join(random.Random(4).choices(string.ascii_letters + string.digits + "+/", k=size))


@pytest.fixture(scope="module")
def gates(toy_task: LanguageModelTask) -> StaticChecks:
    return StaticChecks.of(toy_task)


@pytest.fixture(scope="module")
def quotation(toy_task: LanguageModelTask) -> bytes:
    return toy_task.corpus.evaluation("holdout")[500 : 500 + 40].tobytes()


def refuse(gates: StaticChecks, text: str) -> str | None:
    return gates.refuse({"train.py": text})


def test_the_seed_programs_pass(gates: StaticChecks, toy_seed: str) -> None:
    assert refuse(gates, toy_seed) is None
    assert refuse(gates, (ROOT / "train/seeds/shakespeare.py").read_text()) is None


def test_literals_that_unpack_to_gigabytes_are_refused_early(gates: StaticChecks) -> None:
    """1,000 literals of 60 letters each would keep the gate, which is in the search's own process, busy for minutes."""
    packed = [base64.b85encode(bz2.compress(bytes([65 + n]) * 4_000_000)).decode() for n in range(6)]
    assert max(map(len, packed)) < 80
    assert "unpack to more than 4,000,000 bytes" in (refuse(gates, f"X = {packed}\n{BARE}") or "")
    assert refuse(gates, f"X = {packed[:2]}\n{BARE}") is None


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
        (BARE + f"x = {1 << 40_000:#x}\n", "holds a whole number of more than 4,096 bits"),
        (BARE + f"x = {random_text(9000)!r}\n", "its literals and names carry 6,"),
    ],
)
def test_a_refusal_says_why(gates: StaticChecks, text: str, reason: str) -> None:
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
def test_what_is_allowed_is_not_refused(gates: StaticChecks, text: str) -> None:
    assert refuse(gates, text) is None


def test_another_encoding_is_refused(gates: StaticChecks) -> None:
    """As text it is read like any other; Python would read the exported file with other characters."""
    reason = refuse(gates, "# -*- coding: latin-1 -*-\n" + BARE)
    assert reason is not None
    assert "train.py declares the encoding iso-8859-1; expected UTF-8" in reason
    assert refuse(gates, "\ufeff# coding: utf-8\n" + BARE) is None


def test_other_files_are_refused(gates: StaticChecks) -> None:
    reason = gates.refuse({"train.py": BARE, "../prepare/scoring.py": ""})
    assert reason is not None
    assert "'../prepare/scoring.py' is not among the files that may change (train.py)" in reason


def reversed_base85(text: bytes) -> str:
    return repr(base64.b85encode(text[::-1]))


def numbers(values: Iterable[int]) -> str:
    return "[" + ", ".join(str(value) for value in values) + "]"


def caesar(text: str) -> str:
    return "".join(chr((ord(c) - 97 + 3) % 26 + 97) if c.isalpha() else c for c in text)


SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda text: repr(text.decode()),
    "comment": lambda text: "0  # " + text.decode(),
    "name": lambda text: text.decode().replace(" ", "_"),
    "bytes": lambda text: repr(text),
    "other case and layout": lambda text: repr("  \n- ".join(text.decode().upper().split())),
    "backwards": lambda text: repr(text[::-1]),
    "hexadecimal": lambda text: repr(text.hex()),
    "base64": lambda text: repr(base64.b64encode(text)),
    "base32": lambda text: repr(base64.b32encode(text)),
    "base85 backwards": reversed_base85,
    "zlib": lambda text: repr(zlib.compress(text)),
    "raw deflate": lambda text: repr(zlib.compress(text, wbits=-15)),
    "gzip": lambda text: repr(zlib.compress(text, wbits=31)),
    "bzip2": lambda text: repr(bz2.compress(text)),
    "xz": lambda text: repr(lzma.compress(text)),
    "zlib in base64": lambda text: repr(base64.b64encode(zlib.compress(text)).decode()),
    "pieces": lambda text: "[" + ", ".join(repr(text[i : i + 5].decode()) for i in range(0, 40, 5)) + "]",
    "sum of pieces": lambda text: " + ".join(repr(text[i : i + 3].decode()) for i in range(0, 40, 3)),
    "base64 in pieces": lambda text: " ".join(
        repr(base64.b64encode(text).decode()[i : i + 7]) for i in range(0, 56, 7)
    ),
    "pieces of an f-string": lambda text: "f'" + "{1}".join(text.decode()[i : i + 8] for i in range(0, 40, 8)) + "'",
    "continued lines": lambda text: " \\\n".join(repr(text[i : i + 8].decode()) for i in range(0, 40, 8)),
    "list": numbers,
    "chr": lambda text: " + ".join(f"chr({value})" for value in text),
    "shifted list": lambda text: numbers(value + 1000 for value in text),
    "negative list": lambda text: numbers(value - 128 for value in text),
    "list of a xor": lambda text: numbers(value ^ 0x5A for value in text),
    "differences": lambda text: numbers([text[0], *(b - a for a, b in itertools.pairwise(text))]),
    "digits": lambda text: repr(" ".join(str(value) for value in text)),
    "one number": lambda text: repr(int.from_bytes(text, "big")),
    "one number backwards": lambda text: repr(int.from_bytes(text, "little")),
    "small numbers": lambda text: numbers(int.from_bytes(text[i : i + 5], "big") for i in range(0, 40, 5)),
    "rot13": lambda text: repr(codecs.encode(text.decode(), "rot13")),
    "caesar": lambda text: repr(caesar(text.decode())),
    "every third": lambda text: repr("".join(letter + "qz" for letter in text.decode())),
    "wide letters": lambda text: repr("".join(chr(0xFEE0 + value) for value in text if value != 32)),
    "tags": lambda text: repr("".join(chr(0xE0000 + value) for value in text)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_quotation_is_seen_in_every_obvious_spelling(gates: StaticChecks, quotation: bytes, spelling: str) -> None:
    found = refuse(gates, f"{BARE}x = {SPELLINGS[spelling](quotation)}\n")
    assert "contains text of an evaluation split" in (found or "")


def test_only_a_long_quotation_counts(gates: StaticChecks, toy_task: LanguageModelTask, quotation: bytes) -> None:
    assert refuse(gates, f"{BARE}# {quotation[: SHARED - 3].decode()}\n") is None
    training = toy_task.corpus.documents()[0][100:160].tobytes().decode()
    assert refuse(gates, f"{BARE}# {training}\n") is None


# ---------------------------------------------------------------- how much can be carried


def words() -> list[str]:
    rng = random.Random(9)
    return ["".join(rng.choices(string.ascii_lowercase, k=10)) for _ in range(1000)]


HIDING_PLACES: dict[str, Callable[[], str]] = {
    "one string": lambda: f"x = {random_text(6500)!r}\n",
    "short strings": lambda: "".join(f"x = {random_text(6500)[i : i + 20]!r}\n" for i in range(0, 6500, 20)),
    "bytes": lambda: f"x = {random.Random(1).randbytes(4500)!r}\n",
    "large numbers": lambda: "".join(f"x = {random.Random(i).getrandbits(4000):#x}\n" for i in range(9)),
    "numbers": lambda: "".join(f"x = {random.Random(i).getrandbits(60)}\n" for i in range(700)),
    "sums": lambda: "".join(f"x = {random.Random(i).getrandbits(30)} + {i * i * 77_777}\n" for i in range(1200)),
    "fractions": lambda: "".join(f"x = {random.Random(i).random()!r}\n" for i in range(600)),
    "imaginary": lambda: "".join(f"x = {random.Random(i).getrandbits(50)}j\n" for i in range(800)),
    "small numbers": lambda: f"x = {[random.Random(i).randrange(256) for i in range(5000)]}\n",
    "names": lambda: "".join(f"{word} = 0\n" for word in words()),
    "attributes": lambda: "".join(f"x.{word}\n" for word in words()),
    "arguments": lambda: "".join(f"dict({word}=0)\n" for word in words()),
    "keys": lambda: "x = {" + ", ".join(f"'{word}': 0" for word in words()) + "}\n",
    "modules": lambda: "".join(f"import {word}\n" for word in words()),
    "f-string": lambda: "x = f'{1}" + random_text(6500) + "'\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", HIDING_PLACES)
def test_what_a_program_can_carry_is_bounded(gates: StaticChecks, place: str) -> None:
    """More than four kilobytes of what does not compress are refused, wherever literals and names are."""
    assert "its literals and names carry" in (refuse(gates, BARE + HIDING_PLACES[place]()) or "")


CHOICES = random.Random(5).choices(range(64), k=9000)
SEQUENCES: dict[str, str] = {
    "names in a row": f"x = ({', '.join(f'v{n:02}' for n in CHOICES)})\n",
    "arguments in a row": f"f({', '.join(f'v{n:02}' for n in CHOICES)})\n",
    "empty displays": f"x = [{','.join(random.Random(5).choices(('()', '[]', '{}'), k=20_000))}]\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", SEQUENCES)
def test_long_sequences_of_what_is_no_literal_count(gates: StaticChecks, place: str) -> None:
    """Each name counts once; the order of 9,000 of them carries 6.7 KB."""
    assert "its literals and names carry" in (refuse(gates, BARE + SEQUENCES[place]) or "")


@pytest.mark.slow
def test_all_of_a_program_is_bounded_too(gates: StaticChecks) -> None:
    """11 KB of choices of names and operators in many short statements, of which no literal and no name is new."""
    rng = random.Random(6)
    statements = [
        f"{rng.choice(string.ascii_letters)}{rng.choice('+-*/%@')}={rng.choice(string.ascii_letters)}"
        for _ in range(8000)
    ]
    assert "bytes after compression; 10,240 are allowed" in (refuse(gates, BARE + ";".join(statements)) or "")


def test_comments_and_docstrings_carry_nothing_and_do_not_count(gates: StaticChecks) -> None:
    secret = random_text(9000)
    remarks = f'"""{secret}"""\n{BARE}def f():\n    """{secret}"""\n\n\n# {secret}\n'
    assert refuse(gates, remarks) is None
    assert secret[:50] not in normal_form(remarks).text


@pytest.mark.parametrize("path", ["optim/adam.py", "optim/optimizer.py", "optim/lr_scheduler.py", "nn/modules/rnn.py"])
def test_large_honest_programs_pass(gates: StaticChecks, path: str) -> None:
    """Of 40 to 60 KB: many names, options and messages, by people who knew nothing of this gate."""
    text = (Path(torch.__file__).parent / path).read_text()
    text = text if len(text) < 60_000 else text[: text.rindex("\nclass ", 0, 60_000)]
    assert len(text) > 35_000
    assert refuse(gates, text + "\n" + BARE) is None


def test_a_program_may_grow_to_ten_times_the_seed(gates: StaticChecks) -> None:
    own = (ROOT / "train/seeds/shakespeare.py").read_text()
    assert (
        refuse(gates, own + "".join(own.replace("Block", f"Block{i}").replace("GPT", f"GPT{i}") for i in range(9)))
        is None
    )


def test_dashes_are_no_quotation(toy_task: LanguageModelTask) -> None:
    """A text may hold rulers and so may a program."""

    class Ruled:
        name = "ruled"

        def evaluation(self, split: str):
            import numpy as np

            return np.frombuffer(b"-" * 200 + b" " * 100, np.uint8)

    gates = StaticChecks.of(dataclasses.replace(toy_task, corpus=Ruled()))
    assert refuse(gates, f"{BARE}# {'-' * 80}\n# {' ' * 60}\n") is None


def test_the_limits_are_the_tasks(toy_task: LanguageModelTask) -> None:
    gates = StaticChecks.of(dataclasses.replace(toy_task, limits=Limits(source_kb=1, literal_bytes=30)))
    assert "1,000 are allowed" in (refuse(gates, BARE + "#" * 2000) or "")
    assert "30 are allowed" in (refuse(gates, BARE + f"x = {'abcdefgh' * 5!r}\n") or "")
    gates = StaticChecks.of(dataclasses.replace(toy_task, limits=Limits(program_bytes=40)))
    assert "40 are allowed: simplify it" in (refuse(gates, BARE) or "")
