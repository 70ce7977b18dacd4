"""Judges schedules: recomputes from the start times, in whole numbers, that no rule is broken and when all is done."""

import itertools

import prepare

SHOPS, JOBS, MACHINES = 10, 8, 5


def cases(split, rng):
    """Yield random shops: other ones for val (steers), select and holdout (read by claims only)."""
    for number in range(SHOPS):
        orders = [rng.permutation(MACHINES).tolist() for _ in range(JOBS)]
        jobs = [[[machine, int(rng.integers(1, 30))] for machine in order] for order in orders]
        yield {"name": f"{split}-{number}", "jobs": jobs}


def score(candidate, case):
    """Return the makespan, with the schedule as the certificate. Raises Invalid for a wrong schedule."""
    jobs = case.data["jobs"]
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
            spans.setdefault(machine, []).append((start, free))
    for machine, used in spans.items():
        used.sort()
        for (_, end), (start, _) in itertools.pairwise(used):
            if start < end:
                raise prepare.Invalid(f"machine {machine} has two operations at time {start}")
    last = max(end for used in spans.values() for _, end in used)
    busiest = max(sum(end - start for start, end in used) for used in spans.values())
    return prepare.Score(last, feedback=f"ends at {last}; its busiest machine works {busiest}", certificate=starts)


def is_schedule(starts, jobs):
    """Return whether a value has a start for every operation."""
    lists = isinstance(starts, list) and len(starts) == len(jobs) and all(isinstance(times, list) for times in starts)
    return lists and all(
        len(times) == len(job) and all(type(time) is int and 0 <= time < 10**6 for time in times)
        for times, job in zip(starts, jobs, strict=True)
    )
