"""The API of a task's ``score.py``: the candidate's handle, cases, and results.

    import prepare

    def cases(split, rng):                                  # optional; default: one case
        yield {"n": 26}

    def score(candidate, case):                             # -> float or prepare.Score
        circles = candidate.call("pack", case.data["n"])
        ...                                                 # recompute everything
        raise prepare.Invalid("circle 3 overlaps 7")        # the candidate's fault; any other exception is the task's

``score.py`` is trusted. It runs in a process of its own, without network and without the candidate's files; the
candidate runs in a sandbox and sees nothing of a case but what its calls are given. Values that pass between them are
JSON values, numpy arrays and bytes (``prepare.values``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Split = Literal["val", "select", "holdout"]
Ending = Literal["right", "wrong", "empty", "unparsed", "time", "budget", "crashed"]
"""How an item ends. ``empty``: no answer; ``unparsed``: an answer that cannot be read; ``time``: over the item's or the
evaluation's seconds; ``budget``: over its calls, tokens or dollars of the model; ``crashed``: an exception, or no
memory."""


class Invalid(Exception):
    """A result that breaks the rules of the task. The message becomes the reason of the failed evaluation."""


@dataclass(frozen=True)
class Score:
    """A result of ``score`` with more than one number."""

    value: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    feedback: str = ""
    """What would help to improve the candidate. Shown to language models for cases of ``val`` only."""
    certificate: Any = None
    """An artefact that proves the score, as JSON values: kept in the archive."""
    ending: Ending | None = None
    """Of an item that an agent answers, as ``prepare.graded`` sets it; None for other cases."""


@dataclass(frozen=True)
class Attempt:
    """What an agent returned for one item, or the error that it ended in."""

    value: Any = None
    error: Ending | None = None
    reason: str = ""
    """Of an error, for whoever improves the agent."""


@dataclass(frozen=True)
class Case:
    """One case that a candidate is judged on."""

    name: str
    """Unique in its split."""
    split: Split
    data: Any
    """What ``cases`` yielded; hidden from the candidate."""
    seed: int
    """Of this evaluation: for what is random in it, in 63 bits. The same candidate is judged with several seeds."""
    parent: float | None = None
    """Value of the nearest scored ancestor on this case, for staged evaluation; None for the first program, for a case
    that the ancestor was not judged on, and outside of ``val``."""


@dataclass(frozen=True)
class Completed:
    """The result of a command in the candidate's sandbox."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float = 0.0
    """By the task's clock, outside of the sandbox: CPU seconds of all its processes, or wall seconds. CPU seconds come
    in steps of 0.01 where no memory group counts them."""


@dataclass(frozen=True)
class Timing:
    """Wall seconds of the candidate's function and of the seed's, in fresh processes, interleaved in both orders."""

    seconds: float
    """Median of the candidate."""
    baseline_seconds: float
    """Median of the seed program."""
    ratio: float
    """``baseline_seconds / seconds``, the median over pairs: above 1, the candidate is faster."""
    low: float
    high: float
    """Ends of the ratio's 95% interval."""
    value: Any = None
    """What the candidate's function returned, of each pair's inputs; a list."""
    baseline_value: Any = None
    """What the seed's function returned for the same inputs; a list."""

    @property
    def metrics(self) -> dict[str, float]:
        """The candidate's milliseconds and the ends of the interval of the ratio, as metrics of a score."""
        return {"milliseconds": 1000 * self.seconds, "speedup_low": self.low, "speedup_high": self.high}


def finite_number(value: Any) -> float | None:
    """Return a finite number as a float, of numpy and torch too; None for truth values, texts, nan, inf and others."""
    kind = str(getattr(value, "dtype", "float")).rpartition(".")[2]  # torch.float32, float64
    if isinstance(value, bool) or not kind.startswith(("int", "uint", "float", "bfloat", "half", "double")):
        return None
    if not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # several elements; beyond floats
        return None
    return number if math.isfinite(number) else None


def certificate_text(certificate: Any) -> str | None:
    """Return a certificate as JSON, arrays as lists, or None if there is none. Raises ValueError for other values."""
    if certificate is None:
        return None
    try:
        return json.dumps(certificate, sort_keys=True, allow_nan=False, default=_listed)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the certificate is no JSON value: {error}") from None


def _listed(value: Any) -> Any:
    """Return an array as a list, another mapping as a dict. Raises TypeError for other values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is neither a number, a text, a list, a mapping nor an array")


class CandidateHandle(Protocol):
    """The handle to a candidate in a fresh sandbox.

    When the candidate crashes, hangs, exceeds a limit or answers with something malformed, the evaluation ends with
    that outcome: the exception that leaves these methods is not for ``score`` to catch.
    """

    def call(
        self,
        function: str,
        *args: Any,
        seconds: float | None = None,
        services: Mapping[str, Callable[..., Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a function of the main file (``pack``) or of another one (``other.py:pack``) and return its value.

        ``seconds``: limit of this call below the evaluation's. ``services``: functions of the scorer that the
        candidate's function gets as keyword arguments of these names and can call back.
        """
        ...

    def attempt(
        self,
        function: str,
        *args: Any,
        seconds: float | None = None,
        services: Mapping[str, Callable[..., Any]] | None = None,
        **kwargs: Any,
    ) -> Attempt:
        """Call a function as ``call`` does, for one item: a crash or a late answer ends the item, not the evaluation.

        The next item then has a fresh sandbox.
        """
        ...

    def llm(self, prompt: str, system: str = "") -> str:
        """Ask the language model of the task's settings ``llm``. Hand it to the candidate as a service."""
        ...

    def run(self, argv: Sequence[str], stdin: bytes | str = b"", seconds: float | None = None) -> Completed:
        """Run a command in the folder of the candidate's files, which is a copy of its own and can be written to."""
        ...

    def read(self, path: str) -> bytes:
        """Return a file of the candidate's folder. Raises Invalid if there is no plain file of that name."""
        ...

    def time(
        self, function: str, inputs: Callable[[int], Sequence[Any]], pairs: int = 5, seconds: float | None = None
    ) -> Timing:
        """Time a function against the seed's, on ``inputs(i)`` (the positional arguments) of pair i, new ones each.

        Compare the values before the ratio counts: a fast wrong answer is no gain.
        """
        ...

    def restart(self) -> None:
        """Replace the sandbox by a fresh one, in which nothing of earlier calls is left."""
        ...
