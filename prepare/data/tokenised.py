"""A corpus as tokens: train a tokenizer on the training split, encode all splits, pack the tokens into rows.

The results are kept in the cache directory in two steps, since a task with another context repeats only the second:

    tokens/CORPUS-vVOCAB-RULE/         vocabulary.json, and for each split SPLIT.tokens (16 bits each) and SPLIT.sizes
    tokens/CORPUS-vVOCAB-RULE/T2048/   for each split SPLIT.rows (16 bits each, rows of 2049)

Each folder has a ``manifest.json`` with the SHA-256 of its files, which are verified before use.
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
from prepare.data.folders import MANIFEST, create_folder, is_complete, sha256_of
from prepare.data.packing import lay_out, pack
from prepare.data.progress import ProgressUpdate, progress
from prepare.data.tokens import Tokenizer, Vocabulary
from prepare.scoring import Tokens, storage

RULE = 1
"""Version of the rules of encoding and packing: part of the fingerprint and of the folder's name."""
_TOKENIZER_TEXT = 256_000_000
"""Characters of the training split on which the tokenizer is trained: whole texts until this number is reached."""
_BATCH = 8_000_000  # characters per call of the encoder


@runtime_checkable
class TextSource(Protocol):
    """Protocol of a corpus whose texts can be read one after the other, as the tokenizer needs."""

    name: str

    def fingerprint(self) -> str: ...

    def texts(self, split: Split) -> Iterator[bytes]:
        """Yield the whole documents of a split, UTF-8, in a fixed order."""
        ...

    def text_bytes(self, split: Split) -> int:
        """Return their approximate size in bytes, for a progress bar."""
        ...


@dataclass(frozen=True)
class Tokenised:
    """The rows of a corpus for one vocabulary and one context."""

    corpus: object
    vocab: int
    context: int

    @property
    def source(self) -> TextSource:
        """The corpus as a TextSource. Raises PreparationError if it has no texts to read."""
        if not isinstance(self.corpus, TextSource):
            raise PreparationError(
                f"{type(self.corpus).__name__} cannot be read as tokens; expected a corpus with the methods "
                "texts(split) and text_bytes(split), such as prepare.data.corpora.Folder"
            )
        return self.corpus

    def directory(self) -> Path:
        """Return the folder of the tokens; it contains the folder of the rows."""
        return cache_directory() / "tokens" / f"{self.source.fingerprint()}-v{self.vocab}-{RULE}"

    @property
    def _packed(self) -> Path:
        return self.directory() / f"T{self.context}"

    def is_prepared(self) -> bool:
        return is_complete(self._packed)

    def prepare(self) -> None:
        """Create missing files and verify existing ones; idempotent. The corpus must be prepared.

        Raises PreparationError.
        """
        if not is_complete(self.directory()):
            create_folder(self.directory(), self._tokenise)
        if not self.is_prepared():
            self._verify(self.directory())
            create_folder(self._packed, self._pack)
        self._verify(self._packed)
        self._verify(self.directory(), only="vocabulary.json")

    def fingerprint(self) -> str:
        """Return a name of the tokenizer and the version of the rules of encoding and packing."""
        return f"bpe{self.vocab}-{self.vocabulary.digest()}-{RULE}"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the trained tokenizer. Raises PreparationError if it is missing or damaged."""
        try:
            return Vocabulary.from_json((self.directory() / "vocabulary.json").read_text())
        except FileNotFoundError:
            raise PreparationError(
                f"the tokens of {self.source.name} are not prepared. Run: python -m prepare task=NAME"
            ) from None
        except ValueError as error:
            raise self._damaged(self.directory()) from error

    def rows(self, split: Split) -> Tokens:
        """Return all rows of a split, [R, context + 1], memory-mapped and read-only. Raises PreparationError."""
        path = self._packed / f"{split}.rows"
        if not path.is_file():
            raise PreparationError(f"the rows of {self.source.name} are not prepared. Run: python -m prepare")
        return _mapped(path).reshape(-1, self.context + 1)

    def cropped(self, split: Split) -> float:
        """Return the share of a split's tokens that packing dropped."""
        return float(json.loads((self._packed / MANIFEST).read_text())["cropped"][split])

    # ------------------------------------------------------------ creating

    def _tokenise(self, folder: Path) -> None:
        """Train the tokenizer, and write the vocabulary and the tokens of all splits."""
        source = self.source
        whole = source.text_bytes("train")
        with progress("training the tokenizer", min(whole, _TOKENIZER_TEXT) / 1e6) as advance:
            tokenizer = Tokenizer.train(_first(_decoded(source, "train"), _TOKENIZER_TEXT, advance), self.vocab)
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
        """Pack the tokens of all splits into rows. Raises PreparationError if a split does not fill one row."""
        cropped = {}
        for split in SPLITS:
            tokens = _mapped(self.directory() / f"{split}.tokens")
            packing = pack(np.fromfile(self.directory() / f"{split}.sizes", "<i8"), self.context + 1)
            if packing.rows == 0:
                raise PreparationError(
                    f"the {split} split of {self.source.name} has {len(tokens):,} tokens, too few for one row of "
                    f"{self.context + 1:,}. Give the corpus more text, or lower task.context"
                )
            rows = np.memmap(folder / f"{split}.rows", "<u2", "w+", shape=(packing.rows, packing.width))
            lay_out(tokens, packing, rows)
            rows.flush()
            cropped[split] = packing.cropped / max(1, len(tokens))
        _write_manifest(folder, cropped=cropped)

    # ------------------------------------------------------------ checking

    def _verify(self, folder: Path, only: str | None = None) -> None:
        """Raise PreparationError if a file differs from its hash in the manifest. only: the file to check, or all."""
        try:
            files = json.loads((folder / MANIFEST).read_text())["sha256"]
            good = all(sha256_of(folder / name) == sha for name, sha in files.items() if only in (None, name))
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise self._damaged(folder) from error
        if not good:
            raise self._damaged(folder)

    def _damaged(self, folder: Path) -> PreparationError:
        return PreparationError(
            f"the data in {folder} is damaged. Remove that folder and run: python -m prepare task=NAME"
        )


def _decoded(source: TextSource, split: Split) -> Iterator[str]:
    """Yield the texts of a split as strings. Raises PreparationError for a text that is not UTF-8."""
    for number, text in enumerate(source.texts(split)):
        try:
            yield text.decode()
        except UnicodeDecodeError as error:
            raise PreparationError(
                f"document {number} of the {split} split of {source.name} is not UTF-8 text ({error.reason} at byte "
                f"{error.start:,}; it begins {text[:40]!r}). Convert it, or leave it out with task.corpus.pattern"
            ) from None


def _first(texts: Iterable[str], most: int, advance: ProgressUpdate) -> Iterator[str]:
    """Yield texts until they have ``most`` characters together."""
    done = 0
    for text in texts:
        yield text
        done += len(text)
        advance(done / 1e6)
        if done >= most:
            return


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Group texts into batches of about 8 million characters."""
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
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, np.uint16)
    return np.memmap(path, "<u2", "r")


def _write_manifest(folder: Path, **facts: Any) -> None:
    """Write the manifest: the hashes of all files of the folder, and further facts."""
    hashes = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"sha256": hashes, **facts}, indent=1))
