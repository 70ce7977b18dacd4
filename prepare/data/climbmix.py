"""The public climbmix corpus: web text in 6,543 parquet shards, of which the configured number is downloaded.

Its layout is taken from the public repository karpathy/autoresearch (its ``prepare.py``, commit 00e0122): the
address ``huggingface.co/datasets/karpathy/climbmix-400b-shuffle``, files ``shard_00000.parquet`` to
``shard_06542.parquet``, a column ``text`` with one document a row, the last shard being for validation. The address is
``data.url``.

Shards 0, 1, ... are the training split. Documents of the last shard are assigned to the evaluation splits, in their
order, until each has ``evaluation_mb``; the rest of that shard is not used. Documents that differ in layout only are
used once in the evaluation splits, and left out of the training split if an evaluation split has them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prepare.data.copies import text_digest
from prepare.data.corpora import EVALUATION, EvaluationSplit, PreparationError, Split, cache_directory
from prepare.data.download import Receipt, RetryPolicy, fetch, receipt_of
from prepare.data.folders import MANIFEST, create_folder, is_complete
from prepare.data.progress import ProgressUpdate, progress
from prepare.scoring import Bytes

if TYPE_CHECKING:
    import duckdb

RULE = 1
"""Version of the rule that assigns documents to evaluation splits: part of the fingerprint."""
_MAGIC = b"PAR1"
_ROWS = 2048  # documents per read


@dataclass(frozen=True)
class ClimbMix:
    """Corpus of ``shards`` training shards, and evaluation splits from the last shard."""

    shards: int = 10
    url: str = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
    evaluation_mb: float = 10.0
    name: str = "climbmix"
    last: int = 6542
    forbidden_packages: tuple[str, ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if not isinstance(self.shards, int) or not 1 <= self.shards <= self.last:
            raise ValueError(f"data.shards is {self.shards}; expected 1 to {self.last:,}")
        if not self.evaluation_mb > 0:
            raise ValueError(f"data.evaluation_mb is {self.evaluation_mb}; expected a positive number")

    # ------------------------------------------------------------ the protocol ``prepare.task.Corpus``

    def directory(self) -> Path:
        return cache_directory() / self.name

    def locations(self) -> tuple[Path, ...]:
        return (self.directory(),)

    def is_prepared(self) -> bool:
        there = all(path.is_file() and receipt_of(path) is not None for path in self._paths())
        return there and is_complete(self._splits_folder())

    def prepare(self) -> Path:
        """Download missing shards, verify the others, and assign the evaluation splits. Raises PreparationError."""
        _library()  # fail before the download if it is missing
        paths = self._paths()
        for number, path in enumerate(paths):
            with progress(f"shard {number + 1} of {len(paths)}", 90.0) as advance:
                self._fetch(path, advance)
        if not is_complete(self._splits_folder()):
            self._assign_splits()
        for split in EVALUATION:
            self._evaluation_texts(split)
        return self.directory()

    def fingerprint(self) -> str:
        """Return the corpus's name and twelve hex digits over the shards' contents and the rule of the splits."""
        facts = [[self._receipt(path).sha256 for path in self._paths()], float(self.evaluation_mb), RULE]
        return f"{self.name}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}"

    def texts(self, split: Split) -> Iterator[bytes]:
        """Yield the documents of a split."""
        if split != "train":
            yield from self._evaluation_texts(split)
            return
        evaluated = {text_digest(text) for other in EVALUATION for text in self._evaluation_texts(other)}
        for path in self._paths()[:-1]:
            for text in _texts(path):
                if text_digest(text) not in evaluated:
                    yield text

    def text_bytes(self, split: Split) -> int:
        """Return the approximate size of a split in bytes."""
        if split != "train":
            return sum(map(len, self._evaluation_texts(split)))
        return sum(_text_bytes(path) for path in self._paths()[:-1])

    def documents(self) -> tuple[Bytes, ...]:
        """Return the whole training split, in memory: 250 MB per shard."""
        return tuple(np.frombuffer(text, np.uint8) for text in self.texts("train"))

    def evaluation(self, split: EvaluationSplit) -> Bytes:
        return np.frombuffer(b"".join(self._evaluation_texts(split)), np.uint8)

    # ------------------------------------------------------------ shards and splits

    def _fetch(self, path: Path, advance: ProgressUpdate) -> None:
        url = f"{self.url.rstrip('/')}/{path.name}"
        found = fetch(url, path, fault=_invalid_parquet, advance=lambda done: advance(done / 1e6), retry=self.retry)
        advance(found.size / 1e6)  # also for a shard that was there before

    def _paths(self) -> tuple[Path, ...]:
        """Return the paths of the training shards, then the last shard."""
        numbers = (*range(self.shards), self.last)
        return tuple(self.directory() / f"shard_{number:05d}.parquet" for number in numbers)

    def _receipt(self, path: Path) -> Receipt:
        if (receipt := receipt_of(path)) is None:
            raise PreparationError(
                f"{path.name} of {self.name} is not prepared. Run: python -m prepare task=NAME shards={self.shards}"
            )
        return receipt

    def _splits_folder(self) -> Path:
        """Return the folder of the evaluation splits, named by the last shard's hash, their size and the rule."""
        last = receipt_of(self._paths()[-1])
        facts = json.dumps([last.sha256 if last else None, float(self.evaluation_mb), RULE])
        return self.directory() / f"evaluation-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"

    def _assign_splits(self) -> None:
        """Assign documents of the last shard to the evaluation splits, and write them."""
        most = self.evaluation_mb * 1e6
        assigned: dict[EvaluationSplit, list[str]] = {split: [] for split in EVALUATION}
        sizes = dict.fromkeys(EVALUATION, 0)
        seen: set[bytes] = set()
        for text in _texts(self._paths()[-1]):
            if (digest := text_digest(text)) in seen:
                continue
            seen.add(digest)
            split = min(EVALUATION, key=lambda split: sizes[split])
            if sizes[split] >= most:
                break
            assigned[split].append(text.decode())
            sizes[split] += len(text)
        if not all(sizes.values()):
            raise PreparationError(f"{self._paths()[-1].name} holds too few documents for three evaluation splits")
        create_folder(self._splits_folder(), partial(_write, assigned))

    def _evaluation_texts(self, split: EvaluationSplit) -> tuple[bytes, ...]:
        return self._evaluated[split]

    @cached_property
    def _evaluated(self) -> dict[EvaluationSplit, tuple[bytes, ...]]:
        """The documents of the evaluation splits, read once. Raises PreparationError."""
        folder, found = self._splits_folder(), {}
        try:
            hashes = json.loads((folder / MANIFEST).read_text())
            for split in EVALUATION:
                content = (folder / f"{split}.json").read_bytes()
                if hashlib.sha256(content).hexdigest() != hashes[split]:
                    raise ValueError(split)
                found[split] = tuple(text.encode() for text in json.loads(content))
        except FileNotFoundError as error:
            raise PreparationError(
                f"the evaluation splits of {self.name} are not prepared. Run: python -m prepare task=NAME"
            ) from error
        except (ValueError, KeyError) as error:
            raise PreparationError(
                f"the data in {folder} is damaged. Remove that folder and run: python -m prepare task=NAME"
            ) from error
        return found


def _write(splits: Mapping[EvaluationSplit, list[str]], folder: Path) -> None:
    hashes = {}
    for split, texts in splits.items():
        content = json.dumps(texts).encode()
        (folder / f"{split}.json").write_bytes(content)
        hashes[split] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(hashes))


def _invalid_parquet(path: Path) -> str | None:
    """Return why a file is no parquet file, judged by its first and last bytes, or None."""
    with open(path, "rb") as file:
        begins = file.read(4)
        file.seek(max(0, path.stat().st_size - 4))
        ends = file.read(4)
    if begins == ends == _MAGIC and path.stat().st_size >= 12:
        return None
    return f"not a parquet file (it begins with {begins!r} and ends with {ends!r}; expected {_MAGIC!r})"


def _library() -> Any:
    try:
        import duckdb  # here, since an exported program carries this package and may use other data
    except ImportError as error:
        raise PreparationError(
            "the shards of climbmix are read with the library duckdb, which is not installed here. "
            "Run: pip install duckdb"
        ) from error
    return duckdb


def _texts(path: Path) -> Iterator[bytes]:
    """Yield the column ``text`` of a shard, in its order. Raises PreparationError."""
    with _reading(path) as connection:
        rows = connection.execute("SELECT text FROM read_parquet(?)", [str(path)])
        while batch := rows.fetchmany(_ROWS):
            yield from (text.encode() for (text,) in batch if text)


def _text_bytes(path: Path) -> int:
    with _reading(path) as connection:
        found = connection.execute(
            "SELECT sum(total_uncompressed_size) FROM parquet_metadata(?) WHERE path_in_schema = 'text'", [str(path)]
        ).fetchone()
    return int(found[0] or 0) if found else 0


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB connection. Raises PreparationError for a file that is no shard."""
    duckdb = _library()
    with duckdb.connect() as connection:
        try:
            yield connection
        except duckdb.Error as error:
            message = str(error).splitlines()[0]
            raise PreparationError(
                f"{path} cannot be read as a shard ({message}); expected a parquet file with a column 'text'. Remove "
                "it and run: python -m prepare task=NAME"
            ) from error
