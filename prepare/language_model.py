"""Language-modelling tasks: a corpus, evaluation rows, limits of a model, and bits per byte as the metric.

A task is trusted code and data. Candidates never import this module; they import the small API in
``prepare/__init__.py``. A task of your own is one YAML file under ``conf/task/`` (see docs/tasks.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol

import numpy as np

from prepare.clock import Clock
from prepare.data.corpora import EvaluationSplit
from prepare.data.tokenised import Tokenised
from prepare.data.tokens import LARGEST, SMALLEST
from prepare.files import find_file, read_instructions, read_source
from prepare.scoring import Bytes, Measure, Symbols, evaluation_rows
from prepare.task import Metric, PromptInfo, require_limits, require_seconds

Buffer = bytes | memoryview
"""Training data as passed to a candidate: symbols in the dtype ``scoring.storage(vocab)``."""
LEAST_MEMORY_MB = 256
"""Memory below which no candidate can start: the interpreter with torch takes 230 MB."""
_MOST_SYMBOLS = 10**7
_SAMPLE = 1 << 23  # tokens to count n-grams in
_CLAIM_WINDOWS = 3072
_MOST_STAGES = 64
_ENOUGH_STAGES = 8
_PROMPTS = Path(__file__).resolve().parent / "prompts" / "language_model"


class Corpus(Protocol):
    """Protocol of a task's data source. Splits are byte strings as [N] uint8 arrays."""

    name: str
    forbidden_packages: tuple[str, ...]
    """Installed packages that contain the evaluation text, which must not be mounted in a sandbox."""

    def prepare(self) -> Path:
        """Download, verify and split the data; idempotent. Returns the cache folder. Raises PreparationError."""
        ...

    def is_prepared(self) -> bool: ...

    def locations(self) -> tuple[Path, ...]:
        """Return the folders that hold the text, splits included: a sandbox that mounts one of them is refused."""
        ...

    def fingerprint(self) -> str:
        """Return an identifier of the corpus and its splits; scores of different fingerprints are never compared."""
        ...

    def documents(self) -> tuple[Bytes, ...]:
        """Return the training split as whole documents."""
        ...

    def evaluation(self, split: EvaluationSplit) -> Bytes:
        """Return one evaluation split as a single byte string."""
        ...


@dataclass(frozen=True)
class Limits:
    """Limits of a candidate, enforced by the parent process. Seconds are wall seconds unless stated otherwise."""

    startup_seconds: float = 20.0
    """Imports and set-up before the clock starts; longer start-up is subtracted from the training seconds."""
    rehearsal_seconds: float = 1.0
    """Training seconds of the rehearsal, at most (see ``prepare.smoke_test``); 0: no rehearsal. If the rehearsal,
    imports included, takes longer than ``startup_seconds``, it is interrupted and the training starts without it."""
    check_seconds: float = 30.0
    score_seconds: float = 60.0
    predict_seconds: float = 5.0
    """Computing seconds (CPU seconds per thread; wall seconds on a GPU) that ``predict`` may use on an evaluation
    split; a longer time must be covered by unused training seconds. The seed program needs 2."""
    audit_seconds: float = 60.0
    memory_mb: int = 4096
    """Memory of all processes together, shared memory and scratch files included."""
    scratch_mb: int = 512
    """Files in /tmp and /dev/shm."""
    processes: int = 256
    parameters: int = 1_000_000
    """Elements of the returned state, over all tensors."""
    state_mb: float = 16.0
    log_kb: int = 64
    source_kb: int = 64
    literal_bytes: int = 4096
    """Compressed bytes of all literals and names; see ``train.language_model.static_checks``."""
    program_bytes: int | None = None
    """Compressed bytes of the whole program; None: 10,240, which honest programs of 60 KB keep to."""

    def __post_init__(self) -> None:
        require_limits(self, {"rehearsal_seconds": 0.0, "memory_mb": LEAST_MEMORY_MB, "state_mb": 0.001})


@dataclass(frozen=True)
class LanguageModelTask:
    """A language-modelling task on bytes or tokens: candidates are scored by their model's bits per byte."""

    name: str
    corpus: Corpus
    metric: Metric
    seed_file: str
    """Path of the seed program; its text becomes ``train.py`` of the root."""
    program: str
    """Path of ``program.md``: the goal and the constraints, in plain language."""
    seconds: float
    """Training seconds of one evaluation, by ``clock``."""
    context: int
    """T of the evaluation rows; ``predict`` must accept any 1 <= T <= context."""
    vocab: int = 256
    encoding: Literal["bytes", "tokens"] = "bytes"
    """Input of the model. ``tokens``: from a tokenizer of ``vocab`` tokens, trained on the training split; the data are
    then rows of context + 1 tokens that begin with token 0 (see ``prepare.data.packing``)."""
    rows: int = 512
    """Evaluation rows drawn from a split: [rows, context + 1] bytes or tokens."""
    batch: int = 64
    """Rows per call of ``predict`` when scoring."""
    limits: Limits = field(default_factory=Limits)
    clock: Clock | None = None
    """``cpu``: training seconds are CPU seconds per core of the slot, all processes and threads together (see
    ``prepare.clock``), so that a busy machine takes no training away. ``wall``: wall seconds. None: ``cpu`` on a CPU,
    ``wall`` on a GPU. Scores of different clocks are never compared."""
    constants: dict[str, float] = field(default_factory=dict)
    """Module-level constants of the seed program to set before the search begins, usually by a preset."""
    audit_screen: int = 128
    """Audited positions of an ordinary screening; see ``train.language_model.audit``."""
    audit_claim: int = 8192
    """Audited positions of a screening that could beat the leader, at most."""
    audit_unseen: float = 0.004
    """Gain, in the metric's unit, that may stay unseen in such a screening until the seed deviation is known; then a
    quarter of that deviation."""
    claim_windows: int | None = None
    """Windows of ``select`` and ``holdout`` at which evaluations for a claim are judged, at most; None: 3,072. See
    ``train.language_model.judgement``. The error of a difference falls with their square root."""
    claim_stages: int | None = 1
    """Positions of each window that a claim is judged at, in stages (``train.language_model.stages``); null: as many as
    make windows times stages ``claim_windows``, at most 8. Each stage starts two sandboxes an evaluation."""
    audit_tolerance: float = 2e-3
    """Largest tolerated difference (nats) between a claim and its audit at one position."""

    smallest_gain: float | None = None
    """The smallest gain worth claiming, in the metric's unit. With the seed deviation it determines the number of
    evaluations per side of a claim; None: the default number."""
    editable: tuple[str, ...] = ("train.py",)
    """Files that candidates may change."""
    deterministic: ClassVar[bool] = False
    evolve_blocks: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __post_init__(self) -> None:
        require_seconds(self.seconds)
        if self.clock not in (None, "cpu", "wall"):
            raise ValueError(f"task.clock is {self.clock!r}; expected cpu, wall, or null to choose by the device")
        if not self.audit_unseen > 0:
            raise ValueError(f"task.audit_unseen is {self.audit_unseen}; expected a positive number of bits per byte")
        if self.smallest_gain is not None and not self.smallest_gain > 0:
            raise ValueError(
                f"task.smallest_gain is {self.smallest_gain}; expected a positive number in the unit of "
                f"{self.metric.name}, or null"
            )
        if self.claim_windows is not None and self.claim_windows < 2:
            raise ValueError(f"task.claim_windows is {self.claim_windows}; expected a number of at least 2, or null")
        if self.claim_stages is not None and not 1 <= self.claim_stages <= _MOST_STAGES:
            raise ValueError(f"task.claim_stages is {self.claim_stages}; expected 1 to {_MOST_STAGES}, or null")
        for name in ("context", "rows", "batch", "audit_screen", "audit_claim"):
            if not 1 <= (value := getattr(self, name)) <= _MOST_SYMBOLS:
                bound = "at least 1" if value < 1 else f"at most {_MOST_SYMBOLS:,}"
                raise ValueError(f"task.{name} is {value}; expected a number of {bound}")
        if self.encoding not in ("bytes", "tokens"):
            raise ValueError(f"task.encoding is {self.encoding!r}; expected bytes or tokens")
        least, most = (1, 256) if self.encoding == "bytes" else (SMALLEST, LARGEST)
        if not least <= self.vocab <= most:
            bound = f"at most {most:,}" if self.vocab > most else f"at least {least:,}"
            raise ValueError(f"task.vocab is {self.vocab}; expected {bound} with task.encoding={self.encoding}")

    @cached_property
    def tokenised(self) -> Tokenised | None:
        """The corpus as tokens; None for a task on bytes."""
        return Tokenised(self.corpus, self.vocab, self.context) if self.encoding == "tokens" else None

    def clock_on(self, device: str) -> Clock:
        """Return the clock of training seconds on a device. Raises ValueError for CPU seconds on a GPU."""
        if device == "cpu":
            return self.clock or "cpu"
        if self.clock == "cpu":
            raise ValueError(
                f"task.clock is cpu, and the device is {device}, whose work takes no CPU time; expected wall, or null"
            )
        return "wall"

    @property
    def data(self) -> str:
        """Name of the corpus."""
        return self.corpus.name

    def seed_files(self) -> dict[str, str]:
        """Return the seed program as ``train.py``. Raises TaskError."""
        return {"train.py": read_source(find_file(self.seed_file))}

    def instructions(self) -> str:
        """Return the text of ``program.md``. Raises TaskError."""
        return read_instructions(find_file(self.program))

    def facts(self) -> tuple[str, ...]:
        """Return what a prompt says of budget, interface and limits, a line each."""
        limits = self.limits
        return (
            f"training: {self.seconds:g} s of {self._clock_words()} after `session.start()`; "
            f"{limits.startup_seconds:g} s before that for imports and building",
            f"`predict` is called with 1 <= T <= {self.context} and returns logits over {self.vocab} values",
            f"the state: at most {limits.parameters:,} elements and {limits.state_mb:g} MB",
            f"memory: {limits.memory_mb} MB; source: {limits.source_kb} KB; "
            f"literals and names: {limits.literal_bytes} bytes in all, compressed",
        )

    @property
    def prompt_info(self) -> PromptInfo:
        contract, example, kinds = map(_prompt_text, ("contract", "example", "change_kinds"))
        return PromptInfo(contract, example, kinds, metrics=("parameters",))

    def readonly_files(self) -> dict[str, bytes]:
        return {}

    def _clock_words(self) -> str:
        """Return what the training seconds are seconds of."""
        if self.clock == "wall":
            return "wall time"
        counted = "CPU time, all processes and threads together"
        return counted if self.clock == "cpu" else f"wall time (on a CPU: of {counted})"

    def is_prepared(self) -> bool:
        return self.corpus.is_prepared() and (self.tokenised is None or self.tokenised.is_prepared())

    def prepare(self) -> Path:
        """Prepare and verify the data; idempotent. Returns the corpus's folder. Raises PreparationError."""
        folder = self.corpus.prepare()
        if self.tokenised is not None:
            self.tokenised.prepare()
        return folder

    def locations(self) -> tuple[Path, ...]:
        """Return the folders that hold the text in any form: a sandbox that mounts one of them is refused."""
        return (*self.corpus.locations(), *([self.tokenised.directory()] if self.tokenised is not None else []))

    def fingerprint(self) -> str:
        """Return an identifier of corpus, splits and scoring; scores of different fingerprints are never compared."""
        read_as = "" if self.tokenised is None else f"/{self.tokenised.fingerprint()}"
        return f"{self.corpus.fingerprint()}{read_as}/{self.metric.name}/T{self.context}/rows{self.rows}"

    def training_size(self) -> int:
        """Return the number of symbols of the training split."""
        if self.tokenised is not None:
            return int(self.tokenised.rows("train").size)
        return sum(len(document) for document in self.corpus.documents())

    def training_sample(self) -> tuple[Symbols, ...]:
        """Return documents (bytes), or rows with 8 million tokens, of the training split, to count n-grams in."""
        if self.tokenised is not None:
            rows = self.tokenised.rows("train")
            return (rows[: max(1, _SAMPLE // rows.shape[1])].ravel(),)
        return self.corpus.documents()

    def training_stream(self, seed: int) -> Buffer:
        """Return the training split for one run, in an order drawn from ``seed``.

        Bytes: whole documents, rotated by a random offset. Tokens: consecutive rows of context + 1.
        A candidate that fixes its own seed still gets another order of the data in every run.
        """
        rng = np.random.default_rng(seed)
        if self.tokenised is not None:
            rows = self.tokenised.rows("train")
            return rows[rng.permutation(len(rows))].data.cast("B")
        documents = self.corpus.documents()
        stream = np.concatenate([documents[i] for i in rng.permutation(len(documents))])
        return np.roll(stream, int(rng.integers(len(stream)))).tobytes()

    def evaluation_rows(self, split: EvaluationSplit) -> Symbols:
        """Return [rows, context + 1] symbols of one evaluation split, the same for every candidate.

        Raises ValueError if the split is too short.
        """
        if self.tokenised is None:
            return evaluation_rows(self.corpus.evaluation(split), self.rows, self.context)
        rows = self.tokenised.rows(split)
        if len(rows) < self.rows:
            raise ValueError(
                f"the {split} split fills {len(rows):,} rows of {self.context + 1:,} tokens; task.rows asks for "
                f"{self.rows:,}. Give the corpus more text, or lower task.rows or task.context."
            )
        return np.array(rows[np.linspace(0, len(rows) - 1, self.rows).astype(np.int64)])

    def claim_rows(self, split: EvaluationSplit) -> Symbols:
        """Return [N, context + 1] symbols of a split in windows that do not overlap: ``claim_windows``, or all it has.

        Raises ValueError if the split has no two windows.
        """
        most = self.claim_windows or _CLAIM_WINDOWS
        if self.tokenised is not None:
            rows = self.tokenised.rows(split)
            return np.array(rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)])
        text = self.corpus.evaluation(split)
        return evaluation_rows(text, max(2, min(len(text) // (self.context + 1), most)), self.context)

    def stages_for(self, windows: int) -> int:
        """Return the positions of each window that a claim is judged at, where the split has so many windows."""
        if self.claim_stages is not None:
            return self.claim_stages
        return min(_ENOUGH_STAGES, math.ceil((self.claim_windows or _CLAIM_WINDOWS) / windows))

    def spare_rows(self, split: EvaluationSplit) -> Symbols:
        """Return [N, context + 1] symbols of windows between those of ``claim_rows``, at most as many; N may be 0."""
        used, width = self.claim_rows(split), self.context + 1
        if self.tokenised is not None:
            rows = self.tokenised.rows(split)
            spare = np.setdiff1d(np.arange(len(rows)), np.linspace(0, len(rows) - 1, len(used)).astype(np.int64))
            chosen = np.linspace(0, len(spare) - 1, min(len(spare), len(used))).astype(np.int64)
            return np.array(rows[spare[chosen]])
        text = self.corpus.evaluation(split)
        starts = np.linspace(0, len(text) - width, len(used)).astype(np.int64)
        free = starts[:-1][np.diff(starts) >= 2 * width] + width
        return np.array(text[free[:, None] + np.arange(width)])

    def measure(self, rows: Symbols) -> Measure:
        """Return the conversion of log-probabilities of the targets of ``rows`` [N, T + 1] to bits per byte."""
        if self.tokenised is None:
            return Measure()
        return Measure.of(rows, self.tokenised.vocabulary.lengths(self.vocab))


@cache
def _prompt_text(name: str) -> str:
    """Return one of the Markdown files that prompts of these tasks are made from."""
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()
