"""Begins before 0: one job after the other, the last of which ends at 1."""


def schedule(jobs):
    """Return starts that are negative."""
    starts, end = [], 1
    for job in jobs[::-1]:
        row = []
        for _, duration in job[::-1]:
            end -= duration
            row.append(end)
        starts.append(row[::-1])
    return starts[::-1]
