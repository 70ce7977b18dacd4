"""Cheap checks of a candidate's source before it costs any budget. They read the program; they never run it.

A gate returns the reason for a refusal, or None. It parses; it is within the limits of size and literals; it does
not fix its own seed (the evaluator's seed draws the data order too, so that gains nothing but doubt); and no part of
it, spelled out or encoded, is text of an evaluation split.
"""

from __future__ import annotations

import ast
import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prepare.scoring import Bytes
from prepare.task import Task

SHARED = 24
"""Bytes in a row that a source may not share with an evaluation split."""
_DISTINCT = 8  # a run of dashes or spaces is no quotation


@dataclass(frozen=True)
class TextIndex:
    """Every SHARED-byte window of the evaluation splits as sorted 64-bit hashes, with the text to confirm a hit."""

    hashes: NDArray[np.uint64]
    text: bytes

    @classmethod
    def of(cls, texts: list[Bytes]) -> TextIndex:
        joined = b"\0".join(text.tobytes() for text in texts)
        return cls(np.sort(_window_hashes(np.frombuffer(joined, np.uint8))), joined)

    def quotes(self, data: bytes) -> bytes | None:
        """The first SHARED bytes of ``data`` that also stand in the text, or None."""
        source = np.frombuffer(data, np.uint8)
        if len(source) < SHARED:
            return None
        found = _window_hashes(source)
        places = np.minimum(np.searchsorted(self.hashes, found), len(self.hashes) - 1)
        for start in np.flatnonzero(self.hashes[places] == found):
            window = data[start : start + SHARED]
            if len(set(window)) >= _DISTINCT and window in self.text:
                return window
        return None


def _window_hashes(data: Bytes) -> NDArray[np.uint64]:
    """[N - SHARED + 1] polynomial hashes modulo 2^64 of all windows of SHARED bytes."""
    count = len(data) - SHARED + 1
    hashes = np.zeros(max(0, count), np.uint64)
    base = np.uint64(0x100000001B3)
    for offset in range(SHARED):
        hashes = hashes * base + data[offset : offset + max(0, count)].astype(np.uint64) + np.uint64(1)
    return hashes


@dataclass(frozen=True)
class Gates:
    """All gates of one task."""

    task: Task
    index: TextIndex

    @classmethod
    def of(cls, task: Task) -> Gates:
        return cls(task, TextIndex.of([task.corpus.evaluation(split) for split in ("val", "select", "holdout")]))

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Why these files are not run, or None."""
        allowed = set(self.task.editable)
        if strange := sorted(set(files) - allowed):
            return f"{strange[0]!r} is not among the files that may change ({', '.join(sorted(allowed))})"
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values())
        if size > self.task.limits.source_kb * 1000:
            return f"the source has {size:,} bytes; {self.task.limits.source_kb * 1000:,} are allowed"
        for path, text in files.items():
            if (reason := self._refuse_file(path, text)) is not None:
                return reason
        return None

    def _refuse_file(self, path: str, text: str) -> str | None:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"{path} does not parse: {error}"
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if path == "train.py" and not {"train", "predict"} <= defined | _assigned(tree):
            return "train.py must define the functions train(session) and predict(state, task)"
        if (line := _fixed_seed(tree)) is not None:
            return f"{path}, line {line}: a fixed random seed; use session.seed"
        literals = list(_literals(tree))
        total = sum(len(literal) for literal in literals if len(literal) > SHARED)
        if total > self.task.limits.literal_bytes:
            return f"{path}: {total:,} bytes of long literals; {self.task.limits.literal_bytes:,} are allowed"
        joined = b"".join(literals)
        for data in (text.encode("utf-8", "surrogatepass"), joined, *_decoded([*literals, joined])):
            if self.index.quotes(data) is not None:
                return f"{path} contains text of an evaluation split ({SHARED} bytes or more in a row)"
        return None


def _assigned(tree: ast.Module) -> set[str]:
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _fixed_seed(tree: ast.Module) -> int | None:
    """The line of a call like ``torch.manual_seed(1234)``: a constant where the session's seed belongs."""
    constants: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and isinstance(statement.value, ast.Constant):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            constants |= {target.id for target in targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not (node.args or node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in ("manual_seed", "manual_seed_all", "seed", "default_rng", "RandomState"):
            continue
        if _is_constant(node.args[0] if node.args else node.keywords[0].value, constants):
            return node.lineno
    return None


def _is_constant(value: ast.expr, constants: set[str]) -> bool:
    """It is made of numbers and of names of constants only, so that it is the same in every run."""
    parts = [node for node in ast.walk(value) if isinstance(node, (ast.expr))]
    arithmetic = (ast.BinOp, ast.UnaryOp)
    return all(
        isinstance(part, arithmetic)
        or (isinstance(part, ast.Constant) and isinstance(part.value, int | float))
        or (isinstance(part, ast.Name) and part.id in constants)
        for part in parts
    )


def _literals(tree: ast.Module) -> Iterator[bytes]:
    """All that can hold a text: strings, bytes, large numbers, and sequences of small ones.

    Docstrings are literals too, since a program can read its own.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            value = node.value
            if isinstance(value, str):
                yield value.encode("utf-8", "surrogatepass")
            elif isinstance(value, bytes):
                yield value
            elif isinstance(value, int) and value.bit_length() > 64:
                yield value.to_bytes(-(-value.bit_length() // 8), "big")
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            values = [part.value for part in node.elts if isinstance(part, ast.Constant)]
            numbers = [value for value in values if isinstance(value, int)]
            if len(numbers) >= SHARED and 0 <= min(numbers) <= max(numbers) < 256:
                yield bytes(numbers)


def _decoded(literals: list[bytes]) -> Iterator[bytes]:
    """What the literals hold when unpacked: hexadecimal, base64 and base85, zlib inside of any, reversed."""
    for literal in literals:
        if len(literal) < SHARED:
            continue
        layers = [literal]
        for decode in (binascii.unhexlify, base64.b64decode, base64.b85decode, base64.b32decode):
            try:
                layers.append(decode(literal))
            except (ValueError, binascii.Error):
                continue
        for layer in list(layers):
            try:
                layers.append(zlib.decompressobj().decompress(layer, 1_000_000))
            except zlib.error:
                continue
        yield from layers[1:]
        yield from (layer[::-1] for layer in layers)
