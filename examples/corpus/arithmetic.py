"""A corpus of one's own: sums in decimal digits, made on this machine, with splits that share no line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prepare.data.corpora import SPLITS, CachedCorpus, Splits


@dataclass(frozen=True)
class Arithmetic(CachedCorpus):
    """Lines such as ``417+58=475``. ``CachedCorpus`` keeps the documents, verified by their hashes."""

    name: str = "arithmetic"
    lines: int = 60_000
    forbidden_packages: tuple[str, ...] = ()
    """Installed packages that contain the text; none here. Candidates may not import them."""

    def _read(self) -> Splits:
        """Return the documents of each split as (name, bytes). Called once; later runs read the cache."""
        rng = np.random.default_rng(0)
        codes = rng.choice(1_000_000, size=self.lines, replace=False)  # each pair of numbers once
        parts = np.split(codes, [int(self.lines * share) for share in (0.7, 0.8, 0.9)])
        return {split: [(split, _text(part))] for split, part in zip(SPLITS, parts, strict=True)}


def _text(codes: np.ndarray) -> bytes:
    pairs = (divmod(int(code), 1000) for code in codes)
    return "".join(f"{a}+{b}={a + b}\n" for a, b in pairs).encode()
