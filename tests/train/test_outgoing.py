"""A candidate's words that quote an evaluation split are withheld: from the archive, the screen and prompts."""

from __future__ import annotations

import base64
import binascii
import bz2
from collections.abc import Callable

import pytest

from archive.records import Failed
from prepare.language_model import LanguageModelTask
from train.language_model.evaluation import EvaluationPipeline
from train.language_model.outgoing import WITHHELD, OutgoingText
from train.language_model.static_checks import StaticChecks
from train.sandbox.abort import Aborted

LOG = 'step 10 loss 3.2\nTraceback (most recent call last):\n  File "/candidate/train.py", line 3, in train\n'
SPELLINGS: dict[str, Callable[[bytes], str]] = {
    "plain": bytes.decode,
    "a part": lambda text: text[: 24 + text[:24].count(b" ") + 2].decode(),
    "repr": repr,
    "escapes": lambda text: "".join(f"\\x{value:02x}" for value in text),
    "unicode escapes": lambda text: "".join(f"\\u{value:04x}" for value in text),
    "percent": lambda text: "".join(f"%{value:02X}" for value in text),
    "reversed": lambda text: text[::-1].decode(),
    "hex": lambda text: f"key={text.hex()}.",
    "hex in pairs": lambda text: text.hex(" "),
    "hex numbers": lambda text: str([hex(value) for value in text]).replace("'", ""),
    "base64": lambda text: f"see <{base64.b64encode(text).decode()}>",
    "base64 in lines": lambda text: base64.encodebytes(text * 3).decode(),
    "base85": lambda text: base64.b85encode(text).decode(),
    "numbers": lambda text: str(list(text)),
    "numbers a line": lambda text: "\n".join(map(str, text)),
    "every second": lambda text: "".join(f"{chr(value)}q" for value in text),
    "wide": lambda text: "".join(chr(0xFEE0 + value) for value in text if value != 32),
    "compressed": lambda text: base64.b64encode(bz2.compress(text)).decode(),
    "reversed base64": lambda text: base64.b64encode(text[::-1]).decode(),
    "uppercase": lambda text: text.decode().upper(),
    "uuencoded hex": lambda text: binascii.hexlify(text).decode().upper(),
}


@pytest.fixture(scope="module")
def said(toy_task: LanguageModelTask) -> OutgoingText:
    return OutgoingText(StaticChecks.of(toy_task), {})


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("split", ["val", "holdout"])
def test_a_quotation_is_withheld_in_every_obvious_spelling(
    said: OutgoingText, toy_task: LanguageModelTask, spelling: str, split: str
) -> None:
    text = toy_task.corpus.evaluation(split)[500:560].tobytes()
    assert said.cleared(f"{LOG}ValueError: {SPELLINGS[spelling](text)}\n") == WITHHELD


def test_what_a_program_says_of_itself_is_kept(said: OutgoingText, toy_task: LanguageModelTask) -> None:
    training = toy_task.corpus.documents()[0][100:400].tobytes().decode()
    for text in ("", LOG, training, LOG + training.encode().hex(), "\n".join(f"{n} {n / 7}" for n in range(3000))):
        assert said.cleared(text) == text


def test_what_unpacks_to_megabytes_is_withheld(said: OutgoingText) -> None:
    """Checking it would keep the search's own process busy."""
    packed = [base64.b64encode(bz2.compress(bytes([65 + n]) * 4_000_000)).decode() for n in range(6)]
    assert said.cleared("\n".join(packed)) == WITHHELD


def test_reason_and_log_of_an_evaluation_are_cleared(
    run_candidate, toy_seed: str, toy_task: LanguageModelTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """23 rows of the split stood in a reason and a log, and from there in prompts."""
    text = toy_task.corpus.evaluation("select")[300:360].tobytes()

    def raising(self: EvaluationPipeline) -> None:
        self.progress.log = f"{LOG}ValueError: {text.hex()}\n"
        raise Aborted("crashed", f"training: ValueError: {text.decode()}")

    monkeypatch.setattr(EvaluationPipeline, "run", raising)
    evaluation = run_candidate(toy_seed)
    assert isinstance(evaluation, Failed)
    assert (evaluation.outcome, evaluation.reason, evaluation.log) == ("crashed", WITHHELD, WITHHELD)
