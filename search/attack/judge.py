"""Evaluate cheats and judge each by its score: rejected, without gain, or got through."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import psutil

from archive.records import Evaluation, Failed, Purpose, Scored
from operators.languages.files import Files
from prepare.known import TaskError
from prepare.program import ProgramTask
from prepare.task import Metric
from search.attack.base import Cheat, Kind, Target
from search.attack.others import other_cheats
from search.attack.python import LEFT_BEHIND, python_cheats
from search.attack.shipped import shipped_cheats

Status = Literal["rejected", "no gain", "GOT THROUGH", "not applicable"]
SEEDS = 3
"""Evaluations of an honest seed whose score has noise."""
_DEVIATIONS = 3.0
"""Standard deviations above the honest seed's best that are a gain."""


class Runs(Protocol):
    """Evaluation of versions of a task's seed."""

    @property
    def task(self) -> ProgramTask: ...
    @property
    def files(self) -> Files: ...
    def run(self, files: Files, seed: int, purpose: Purpose = "screen") -> Evaluation:
        """Evaluate. Raises TaskError for a failure of the scorer."""
        ...


@dataclass(frozen=True)
class CheatVerdict:
    """The verdict on one cheat."""

    cheat: Cheat
    status: Status
    words: str


@dataclass(frozen=True)
class Honest:
    """Scores of the honest seed."""

    scores: tuple[float, ...]
    """One of a deterministic task, several of a task with noise."""
    metric: Metric
    smallest_gain: float

    @property
    def has_noise(self) -> bool:
        return len(self.scores) > 1

    def as_good(self, score: float) -> bool:
        """Return whether a score is at least as good as the worst of the seed's."""
        return any(not self.metric.is_better(each, score) for each in self.scores)

    def better(self, score: float, other: float | None = None) -> bool:
        """Return whether a score is better than all of the seed's, or than another one, by more than the noise."""
        others = self.scores if other is None else (other,)
        return all(self.metric.is_better(score, each, self._margin) for each in others)

    @property
    def _margin(self) -> float:
        return max(self.smallest_gain, _DEVIATIONS * statistics.stdev(self.scores)) if self.has_noise else 0.0


def honest_scores(runs: Runs) -> Honest | Failed:
    """Evaluate the seed: once if the task is deterministic, else with several random seeds."""
    found = [runs.run(runs.files, seed) for seed in range(1, 2 if runs.task.deterministic else SEEDS + 1)]
    scores = tuple(each.score for each in found if isinstance(each, Scored))
    if failed := [each for each in found if isinstance(each, Failed)]:
        return failed[0]
    return Honest(scores, runs.task.metric, runs.task.smallest_gain or 0.0)


def target_of(runs: Runs, honest: Honest, token: str) -> Target:
    """Return the facts of the task from which cheats are made. ``token``: a text that occurs nowhere else."""
    task, metric = runs.task, runs.task.metric
    best = metric.sign * 1e6 * max(1.0, abs(honest.scores[0])) if metric.bound is None else metric.bound
    contents = {path: path.read_bytes() for path in task.secret_paths()}
    secrets = {str(path): hashlib.sha256(data).hexdigest() for path, data in contents.items() if data}
    size = int(task.limits.output_mb * 1e6)
    return Target(runs.files, metric.name, best, secrets, size, token, task.scorer, task.evolve_blocks)


def all_cheats(task: ProgramTask, seed: Files) -> list[Cheat]:
    """Return the cheats for any task, and those of the task's own folder. Raises TaskError."""
    return [*python_cheats(), *other_cheats(), *shipped_cheats(task, seed)]


def attack(runs: Runs, cheats: Sequence[Cheat], target: Target, honest: Honest) -> Iterator[CheatVerdict]:
    """Yield the verdict on each cheat."""
    for cheat in cheats:
        versions = cheat.make(target)
        if not versions:
            yield CheatVerdict(cheat, "not applicable", f"the main file is {target.main}")
            continue
        try:
            status, words = _JUDGES[cheat.kind](runs, versions, honest, target.token)
        except TaskError as error:
            status, words = "GOT THROUGH", f"the scorer fails, which stops a search: {_first_line(str(error))}"
        if remains := _processes_with(target.token):
            status, words = "GOT THROUGH", f"{remains} of its processes outlive the evaluation"
        _remove_files(target.token)
        yield CheatVerdict(cheat, status, words)


Judged = tuple[Status, str]
"""A status, with the reason in words."""


def _idle(runs: Runs, versions: Sequence[Files], honest: Honest, token: str) -> Judged:
    """Judge a cheat that leaves the work undone."""
    found = runs.run(versions[0], 1)
    if isinstance(found, Failed):
        return "rejected", _reason(found)
    through = honest.as_good(found.score)
    return ("GOT THROUGH" if through else "rejected"), f"scores {found.score:.6g}"


def _working(runs: Runs, versions: Sequence[Files], honest: Honest, token: str) -> Judged:
    """Judge a cheat that does the work: a gain is a break, and so is output that begins with the token."""
    for files in versions:
        found = runs.run(files, 1)
        if said := [line for line in found.log.splitlines() if line.startswith(token)]:
            return "GOT THROUGH", said[0].removeprefix(token).strip()
    if isinstance(found, Failed):
        return "rejected", _reason(found)
    gained = honest.better(found.score)
    if gained and honest.has_noise:
        again = runs.run(versions[-1], 2)
        gained = isinstance(again, Scored) and honest.better(again.score)
    return ("GOT THROUGH" if gained else "no gain"), f"scores {found.score:.6g}"


def _inexact(runs: Runs, versions: Sequence[Files], honest: Honest, token: str) -> Judged:
    """Judge a result that is slightly wrong: it must not gain where a coarser error of its kind is refused."""
    fine, coarse = (runs.run(files, 1) for files in versions)
    if isinstance(fine, Failed):
        return "rejected", _reason(fine)
    if isinstance(coarse, Scored):
        return "no gain", f"scores {fine.score:.6g}; larger changes are valid, too"
    through = not honest.has_noise and honest.better(fine.score)
    return ("GOT THROUGH" if through else "no gain"), f"scores {fine.score!r}; {_reason(coarse)}"


def _shopping(runs: Runs, versions: Sequence[Files], honest: Honest, token: str) -> Judged:
    """Judge the version that is best on ``val`` by its gain over the seed on ``holdout``, with a fresh random seed.

    A task without noise has no luck: there another start inside the program is another program.
    """
    if not honest.has_noise:
        return "not applicable", "the task is deterministic"
    found = [(each.score, files) for files in versions if isinstance(each := runs.run(files, 1), Scored)]
    if not found:
        return "rejected", "no version has a score"
    bought, files = max(found, key=lambda pair: honest.metric.sign * pair[0])
    later = [runs.run(each, SEEDS + 1, "report") for each in (files, runs.files)]
    if not (isinstance(later[0], Scored) and isinstance(later[1], Scored)):
        return "rejected", f"scores {bought:.6g} on val, and nothing on holdout"
    gained = honest.better(later[0].score, later[1].score)
    words = f"scores {bought:.6g} on val; on holdout {later[0].score:.6g}, the seed {later[1].score:.6g}"
    return ("GOT THROUGH" if gained else "no gain"), words


_Judge = Callable[[Runs, Sequence[Files], Honest, str], Judged]
_JUDGES: dict[Kind, _Judge] = {"idle": _idle, "working": _working, "inexact": _inexact, "shopping": _shopping}


def _reason(failed: Failed) -> str:
    return f"{failed.outcome}: {_first_line(failed.reason)}"


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:160]


def _processes_with(token: str) -> int:
    """Count processes of this machine with a token in their command line, and end them."""
    found = [each for each in psutil.process_iter(["cmdline"]) if token in " ".join(each.info["cmdline"] or [])]
    for process in found:
        process.kill()
    return len(found)


def _remove_files(token: str) -> None:
    """Remove files that a cheat left in folders of the machine (with ``sandbox=none``)."""
    for folder in LEFT_BEHIND:
        path = Path(folder) / f".attack-{token}"
        if path.exists():
            path.unlink()
