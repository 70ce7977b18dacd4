"""Judge a candidate by a command's output: for tasks with ``command`` instead of a scorer. Self-reported."""

from __future__ import annotations

from collections.abc import Sequence

from prepare.metric_lines import MetricError, metrics_in
from prepare.scorer import CandidateHandle, Completed, Invalid, Score

_SHELL = ("sh", "-c")
_SHOWN_LINES, _SHOWN_BYTES = 10, 4_000


def command_score(candidate: CandidateHandle, command: str, checks: str | None, metric: str) -> Score:
    """Run the command and read its metrics; then run the checks, if any, which must exit with status 0.

    Raises Invalid for another status, and for an output without one value of the metric.
    """
    done = _run(candidate, "command", command)
    try:
        metrics = metrics_in(_text(done.stdout), metric)
    except MetricError as error:
        raise Invalid(f"the output of `{command}`: {error}{_tail(done)}") from None
    if checks is not None:
        _run(candidate, "checks", checks)
    return Score(metrics.pop(metric), metrics, feedback=_text(done.stderr)[-_SHOWN_BYTES:])


def _run(candidate: CandidateHandle, what: str, command: str) -> Completed:
    """Run a command that must exit with status 0. Raises Invalid."""
    done = candidate.run([*_SHELL, command])
    if done.status != 0:
        raise Invalid(f"the {what} `{command}` ended with exit status {done.status}; expected 0{_tail(done)}")
    return done


def _tail(done: Completed) -> str:
    """Return the end of a command's output, for the reason of a failure."""
    printed: Sequence[str] = _text(done.stderr or done.stdout).strip().splitlines()[-_SHOWN_LINES:]
    return "\n" + "\n".join(printed)[-_SHOWN_BYTES:] if printed else ""


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")
