"""Judges schedules in whole numbers: three classic shops steer the search, new ones decide the claim."""

import itertools
import json
from pathlib import Path

import prepare

CLASSIC = json.loads((Path(__file__).parent / "data" / "instances.json").read_text())
OPTIMA = {"ft06": 55, "ft10": 930, "la01": 666}
NEW, JOBS, MACHINES = 10, 10, 6


def cases(split, rng):
    """Yield the classic shops for val, random ones for select and holdout (read by claims only)."""
    if split == "val":
        for name, jobs in CLASSIC.items():
            yield {"name": name, "jobs": jobs, "bound": OPTIMA[name]}
        return
    for number in range(NEW):
        jobs = [[[machine, int(rng.integers(1, 100))] for machine in rng.permutation(MACHINES).tolist()]
                for _ in range(JOBS)]  # fmt: skip
        yield {"name": f"{split}-{number}", "jobs": jobs, "bound": bound(jobs)}


def score(candidate, case):
    """Return makespan / bound, with the schedule as the certificate. Raises Invalid for a wrong schedule."""
    jobs, limit = case.data["jobs"], case.data["bound"]
    starts = candidate.call("schedule", jobs)
    if not is_schedule(starts, jobs):
        raise prepare.Invalid("schedule has to return a whole number, at least 0, for each operation of each job")
    spans = {}
    for number, (job, times) in enumerate(zip(jobs, starts, strict=True)):
        free = 0
        for step, ((machine, duration), start) in enumerate(zip(job, times, strict=True)):
            if start < free:
                raise prepare.Invalid(f"job {number}: operation {step} starts at {start}, before {free}")
            free = start + duration
            spans.setdefault(machine, []).append((start, free, number))
    for machine, used in spans.items():
        for (_, end, one), (start, _, other) in itertools.pairwise(sorted(used)):
            if start < end:
                raise prepare.Invalid(f"machine {machine} has jobs {one} and {other} at time {start}")
    last = max(end for used in spans.values() for _, end, _ in used)
    words = f"{case.name}: ends at {last}, {'best known' if case.split == 'val' else 'bound'} {limit}"
    return prepare.Score(last / limit, {"makespan": float(last)}, words, starts)


def bound(jobs):
    """Return what no schedule can beat: the longest job, and the busiest machine."""
    busy = {}
    for machine, duration in itertools.chain.from_iterable(jobs):
        busy[machine] = busy.get(machine, 0) + duration
    return max([*busy.values(), *(sum(duration for _, duration in job) for job in jobs)])


def is_schedule(starts, jobs):
    """Return whether a value has a start for every operation."""
    lists = isinstance(starts, list) and len(starts) == len(jobs) and all(isinstance(times, list) for times in starts)
    return lists and all(
        len(times) == len(job) and all(type(time) is int and 0 <= time < 10**6 for time in times)
        for times, job in zip(starts, jobs, strict=True)
    )
