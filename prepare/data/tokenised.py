"""A corpus as tokens: a tokenizer is trained on its training split, the texts are encoded, packed into rows, and kept.

Beside the corpora in the cache directory, in two steps, since a task with another context needs only the second again:

    tokens/CORPUS-vVOCAB-RULE/         vocabulary.json, and for each split SPLIT.tokens (16 bits each) and SPLIT.sizes
    tokens/CORPUS-vVOCAB-RULE/T2048/   for each split SPLIT.rows (16 bits each, rows of 2049)

Each folder has a ``manifest.json`` with the SHA-256 of its files. What is kept is checked before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from prepare.data.corpora import SPLITS, PreparationError, Split, cache_directory
from prepare.data.folders import MANIFEST, is_whole, make_whole, sha256_of
from prepare.data.packing import lay_out, pack
from prepare.data.progress import Advance, progress
from prepare.data.tokens import Tokenizer, Vocabulary
from prepare.scoring import Tokens, storage

RULE = 1
"""The version of how texts are encoded and packed: part of the fingerprint, and of the folder's name."""
_LEARNT_FROM = 256_000_000
"""Characters of the training split, about, that the tokenizer is trained on: whole texts until they are as many."""
_BATCH = 8_000_000  # characters that are encoded together


@runtime_checkable
class Texts(Protocol):
    """A corpus whose texts can be read one after the other: that is what tokens are made from."""

    name: str

    def fingerprint(self) -> str: ...

    def texts(self, split: Split) -> Iterator[bytes]:
        """The whole documents of a split, UTF-8, in a fixed order."""
        ...

    def text_bytes(self, split: Split) -> int:
        """Their size, about; for a progress bar."""
        ...


@dataclass(frozen=True)
class Tokenised:
    """The rows of a corpus for one vocabulary and one context."""

    corpus: object
    vocab: int
    context: int

    @property
    def source(self) -> Texts:
        """Raises PreparationError if the corpus is of a kind that gives no texts."""
        if not isinstance(self.corpus, Texts):
            raise PreparationError(
                f"{type(self.corpus).__name__} cannot be read as tokens; expected a corpus with the methods "
                "texts(split) and text_bytes(split), such as prepare.data.corpora.Folder"
            )
        return self.corpus

    def directory(self) -> Path:
        """Of the tokens; the rows are in a folder inside."""
        return cache_directory() / "tokens" / f"{self.source.fingerprint()}-v{self.vocab}-{RULE}"

    @property
    def _packed(self) -> Path:
        return self.directory() / f"T{self.context}"

    def is_prepared(self) -> bool:
        return is_whole(self._packed)

    def prepare(self) -> None:
        """Make what is missing, check what is there; idempotent. The corpus must be prepared.

        Raises PreparationError.
        """
        if not is_whole(self.directory()):
            make_whole(self.directory(), self._tokenise)
        if not self.is_prepared():
            self._verify(self.directory())
            make_whole(self._packed, self._pack)
        self._verify(self._packed)
        self._verify(self.directory(), only="vocabulary.json")

    def fingerprint(self) -> str:
        """The tokenizer, and the version of the rule of encoding and packing."""
        return f"bpe{self.vocab}-{self.vocabulary.digest()}-{RULE}"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Raises PreparationError."""
        try:
            return Vocabulary.from_json((self.directory() / "vocabulary.json").read_text())
        except FileNotFoundError:
            raise PreparationError(
                f"the tokens of {self.source.name} are not prepared. Run: python -m prepare task=NAME"
            ) from None
        except ValueError as error:
            raise self._damaged(self.directory()) from error

    def rows(self, split: Split) -> Tokens:
        """[R, context + 1] all rows of a split, mapped from a file, read-only. Raises PreparationError."""
        path = self._packed / f"{split}.rows"
        if not path.is_file():
            raise PreparationError(f"the rows of {self.source.name} are not prepared. Run: python -m prepare")
        return _mapped(path).reshape(-1, self.context + 1)

    def cropped(self, split: Split) -> float:
        """The share of a split's tokens that is in no row."""
        return float(json.loads((self._packed / MANIFEST).read_text())["cropped"][split])

    # ------------------------------------------------------------ making

    def _tokenise(self, folder: Path) -> None:
        source = self.source
        whole = source.text_bytes("train")
        with progress("training the tokenizer", min(whole, _LEARNT_FROM) / 1e6) as advance:
            tokenizer = Tokenizer.train(_first(_decoded(source, "train"), _LEARNT_FROM, advance), self.vocab)
        (folder / "vocabulary.json").write_text(tokenizer.vocabulary.to_json())
        for split in SPLITS:
            sizes: list[int] = []
            with (
                progress(f"encoding {split}", source.text_bytes(split) / 1e6) as advance,
                open(folder / f"{split}.tokens", "wb") as file,
            ):
                done = 0
                for batch in _batches(_decoded(source, split)):
                    for tokens in tokenizer.encode(batch):
                        file.write(tokens.astype(storage(self.vocab)).tobytes())
                        sizes.append(len(tokens))
                    done += sum(len(text) for text in batch)
                    advance(done / 1e6)
            np.array(sizes, "<i8").tofile(folder / f"{split}.sizes")
        _write_manifest(folder)

    def _pack(self, folder: Path) -> None:
        cropped = {}
        for split in SPLITS:
            tokens = _mapped(self.directory() / f"{split}.tokens")
            packing = pack(np.fromfile(self.directory() / f"{split}.sizes", "<i8"), self.context + 1)
            if packing.rows == 0:
                raise PreparationError(
                    f"the {split} split of {self.source.name} has {len(tokens):,} tokens, and fills no row of "
                    f"{self.context + 1:,}. Give the corpus more text, or lower task.context"
                )
            rows = np.memmap(folder / f"{split}.rows", "<u2", "w+", shape=(packing.rows, packing.width))
            lay_out(tokens, packing, rows)
            rows.flush()
            cropped[split] = packing.cropped / max(1, len(tokens))
        _write_manifest(folder, cropped=cropped)

    # ------------------------------------------------------------ checking

    def _verify(self, folder: Path, only: str | None = None) -> None:
        try:
            files = json.loads((folder / MANIFEST).read_text())["sha256"]
            good = all(sha256_of(folder / name) == sha for name, sha in files.items() if only in (None, name))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise self._damaged(folder) from error
        if not good:
            raise self._damaged(folder)

    def _damaged(self, folder: Path) -> PreparationError:
        return PreparationError(
            f"what is in {folder} is damaged. Remove that folder and run: python -m prepare task=NAME"
        )


def _decoded(source: Texts, split: Split) -> Iterator[str]:
    """Raises PreparationError for a text that is not UTF-8: its bytes could not be counted by its tokens."""
    for number, text in enumerate(source.texts(split)):
        try:
            yield text.decode()
        except UnicodeDecodeError as error:
            raise PreparationError(
                f"document {number} of the {split} split of {source.name} is not UTF-8 text ({error.reason} at byte "
                f"{error.start:,}; it begins {text[:40]!r}). Convert it, or leave it out with task.corpus.pattern"
            ) from None


def _first(texts: Iterable[str], most: int, advance: Advance) -> Iterator[str]:
    done = 0
    for text in texts:
        yield text
        done += len(text)
        advance(done / 1e6)
        if done >= most:
            return


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _mapped(path: Path) -> Tokens:
    if path.stat().st_size == 0:  # which cannot be mapped
        return np.empty(0, np.uint16)
    return np.memmap(path, "<u2", "r")


def _write_manifest(folder: Path, **facts: Any) -> None:
    """With the hashes of all files that are there."""
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"sha256": hashes, **facts}, indent=1))
