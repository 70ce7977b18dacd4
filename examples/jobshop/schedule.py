"""A schedule by priorities: the operation that can start soon, with a weight on its length and on what follows it."""

LENGTH = 1.0  # tune: -2..2
FOLLOWING = 0.0  # tune: -2..2


def schedule(jobs):
    """Return the start of every operation."""
    machines, ready, starts = {}, [0] * len(jobs), [[] for _ in jobs]
    while open_jobs := [j for j, job in enumerate(jobs) if len(starts[j]) < len(job)]:
        j = min(open_jobs, key=lambda j: priority(jobs[j], len(starts[j]), ready[j], machines))
        machine, duration = jobs[j][len(starts[j])]
        start = max(ready[j], machines.get(machine, 0))
        starts[j].append(start)
        ready[j] = machines[machine] = start + duration
    return starts


def priority(job, done, ready, machines):
    """Return a number that is small for an operation that should start next."""
    machine, duration = job[done]
    following = sum(length for _, length in job[done + 1 :])
    return max(ready, machines.get(machine, 0)) + LENGTH * duration + FOLLOWING * following
