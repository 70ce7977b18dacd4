"""Schedules by the work that remains, with noise; each try keeps a part of the best one's noise."""

import random

LENGTH = 0.0  # tune: -2..2
FOLLOWING = -1.0  # tune: -2..2
NOISE = 5.0  # tune: 0.5..100 log
KEPT = 0.0  # tune: 0..0.99
TRIES = 10  # tune: 5..1500 log step 1
START = 0  # tune: 0..999 step 1


def schedule(jobs):
    """Return the start of every operation. jobs: lists of [machine, duration] in their order."""
    rng = random.Random(START)
    noise = [[0.0] * len(job) for job in jobs]
    best = once(jobs, noise)
    for _ in range(TRIES - 1):
        drawn = [[old if rng.random() < KEPT else NOISE * rng.random() for old in row] for row in noise]
        starts = once(jobs, drawn)
        if makespan(jobs, starts) <= makespan(jobs, best):
            best, noise = starts, drawn
    return best


def once(jobs, noise):
    """Return an active schedule: of the operations that conflict with the one that could end first, the best starts."""
    ready, free, starts = [0] * len(jobs), {}, [[] for _ in jobs]
    while open_jobs := [j for j, job in enumerate(jobs) if len(starts[j]) < len(job)]:
        head = {j: max(ready[j], free.get(jobs[j][len(starts[j])][0], 0)) for j in open_jobs}
        first = min(open_jobs, key=lambda j: head[j] + jobs[j][len(starts[j])][1])
        machine, duration = jobs[first][len(starts[first])]
        end = head[first] + duration
        rivals = [j for j in open_jobs if jobs[j][len(starts[j])][0] == machine and head[j] < end]
        j = min(rivals, key=lambda j: priority(jobs[j], len(starts[j]), head[j]) + noise[j][len(starts[j])])
        starts[j].append(head[j])
        ready[j] = free[machine] = head[j] + jobs[j][len(starts[j]) - 1][1]
    return starts


def priority(job, done, head):
    """Return a number that is small for an operation that should start next: early, with much work after it."""
    following = sum(duration for _, duration in job[done + 1 :])
    return head + LENGTH * job[done][1] + FOLLOWING * following


def makespan(jobs, starts):
    return max(times[-1] + job[-1][1] for job, times in zip(jobs, starts, strict=True))
