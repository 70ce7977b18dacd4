"""Judges a heuristic for online bin packing: items are shown one at a time, and the bins are kept here.

The instances of a data set are packed in step, one item of each at a time, so that a call serves all of them. Data:
OR3 (OR-Library's u500) and Weibull 5k, as in the notebook of FunSearch (google-deepmind/funsearch, CC BY 4.0).
"""

from pathlib import Path

import numpy as np

import prepare

DATA = Path(__file__).parent / "data"
CAPACITIES = {"or3": 150, "weibull5k": 100}
DRAWS = 4


def cases(split, rng):
    """Yield the published data sets for ``val``, else DRAWS smaller ones of each of the two distributions."""
    for name, capacity in CAPACITIES.items():
        if split == "val":
            items = np.load(DATA / f"{name}.npy").astype(np.int64)
            yield {"name": name, "set": name, "capacity": capacity, "items": items}
        else:
            for number in range(DRAWS):
                yield {"name": f"{name}-{number}", "set": name, "capacity": capacity, "items": drawn(name, rng)}


def drawn(name, rng):
    """Return new instances: sizes from 20 to 100, or Weibull(45, 3) rounded and clipped at 100."""
    if name == "or3":
        return rng.integers(20, 101, size=(5, 500))
    return np.clip(np.rint(45 * rng.weibull(3.0, size=(2, 2000))), 1, 100).astype(np.int64)


def score(candidate, case):
    """Return by how many percent the mean number of bins exceeds the mean bound ceil(sum / capacity)."""
    items, capacity = case.data["items"], case.data["capacity"]
    packings = [Packing(capacity, len(row)) for row in items]
    for step in items.T:
        rooms = [packing.with_room(item) for packing, item in zip(packings, step, strict=True)]
        sizes = [packing.remaining[room] for packing, room in zip(packings, rooms, strict=True)]
        chosen = candidate.call("online.py:choose", step.tolist(), sizes)
        if not isinstance(chosen, list) or len(chosen) != len(rooms):
            raise prepare.Invalid(f"choose has to return {len(rooms)} numbers of bins; got {chosen!r:.100}")
        for packing, item, room, number in zip(packings, step, rooms, chosen, strict=True):
            if type(number) is not int or not 0 <= number < len(room):
                raise prepare.Invalid(f"{number!r:.50} is no number of one of {len(room)} bins that have room")
            packing.place(item, room[number])
    used = float(np.mean([packing.used for packing in packings]))
    bound = float(np.mean([-(-row.sum() // capacity) for row in items]))
    excess = 100 * (used / bound - 1)
    feedback = f"{case.name}: {used:g} bins in the mean; the bound is {bound:g}; {wasted(packings)}"
    return prepare.Score(excess, {f"{case.data['set']}_percent": excess}, feedback)


class Packing:
    """The bins of one instance: as many as there are items, most of them unopened."""

    def __init__(self, capacity, count):
        self.capacity = capacity
        self.remaining = np.full(count + 2, capacity)
        self.opened = 0

    @property
    def used(self):
        return int((self.remaining < self.capacity).sum())

    def with_room(self, item):
        """Return the numbers of the bins that have room, with two unopened ones: more would be like the second."""
        return np.flatnonzero(self.remaining[: self.opened + 2] >= item)

    def place(self, item, number):
        self.remaining[number] -= item
        self.opened = max(self.opened, int(number) + 1)


def wasted(packings):
    """Return which room is left in the bins, in words."""
    left = np.concatenate([packing.remaining[packing.remaining < packing.capacity] for packing in packings])
    shares = [f"{100 * np.mean(left >= low):.0f} % of them have {low} or more left" for low in (1, 5, 10, 20)]
    return ", ".join(shares)
