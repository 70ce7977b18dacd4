"""Cheap checks of a candidate's source before it costs any budget. They read the program; they never run it.

A gate returns the reason for a refusal, or None. The source parses, and means the same without its comments and
docstrings (only that is run, see ``train.language_model.program``); it is within the limits of size and of what it can
carry; it does not fix its own seed; and no part of it, spelled out or in an obvious code, is text of an evaluation
split.

**What a text known by heart can gain.** Candidates come from models that know famous texts. Decoders catch the obvious
spellings; against all others stands the amount: literals and names together may carry ``limits.literal_bytes``
(compressed), 4,096 by default, which an honest program of 50 KB keeps. By Kraft's inequality B bytes of knowledge
save at most 8 B bits of code length on the text that they are about. An author does not know which lines are scored,
so on a split of E bytes that is 8 B / E bits per byte: 0.04 on the default task for all 4,096 bytes spent without loss
on one split, and a third of it on each where it is not known which plays are which split.
The structure of the code carries some more, which nobody can count.

**What is common** is no quotation on a task that reads tokens: its text may be programs, or pages about them, and these
share the names of libraries with every honest program (``train.language_model.commons``). There a quotation has 35
letters.

**A fixed seed** gains nothing: the order of the training stream follows the evaluator's seed, so that a lucky
initialisation meets other data in every run. What is obvious is refused, for clearness; ``int("7")`` is not chased.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from prepare.data.copies import plain
from prepare.data.corpora import EVALUATION
from prepare.load import find_file
from prepare.scoring import Bytes
from prepare.task import Task
from train.language_model.commons import PublicText
from train.language_model.program import Unclear, bare, carried, parse
from train.language_model.spellings import spellings

SHARED = 24
"""Letters and digits in a row, whatever stands between them, that a source may not share with an evaluation split."""
BEYOND = 12
"""Windows in a row that must be secret where some are common: what stands beside something common agrees by chance."""
_DISTINCT = 8  # a row of equal letters is no quotation
_TOGETHER = 512  # windows: a secret one costs a twentieth of a second, and a long quotation is told by its beginning


@dataclass(frozen=True)
class TextIndex:
    """Every window of SHARED letters of the evaluation splits: sorted 64-bit hashes, and the text to confirm a hit."""

    hashes: NDArray[np.uint64]
    text: bytes

    @classmethod
    def of(cls, texts: list[Bytes]) -> TextIndex:
        joined = b"\0".join(plain(text.tobytes()) for text in texts)
        return cls(np.sort(_window_hashes(np.frombuffer(joined, np.uint8))), joined)

    def quotes(self, data: bytes, commons: PublicText | None = None) -> bytes | None:
        """The first SHARED letters and digits of ``data`` that also stand in the text, or None.

        ``commons``: what is no secret though it stands there. Then it takes BEYOND windows in a row that are secret.
        """
        if commons is None:
            return next((window for _, window in self._alike(data) if window in self.text), None)
        run, before, alike = 0, -2, self._alike(data)
        while part := list(islice(alike, _TOGETHER)):
            secret = commons.secret(window for _, window in part)
            for start, window in part:
                if window in secret and window in self.text:
                    run, before = (run + 1 if start == before + 1 else 1), start
                    if run >= BEYOND:
                        return window
        return None

    def _alike(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Windows whose hash is among those of the text, with where they begin among the letters."""
        letters = plain(data)
        source = np.frombuffer(letters, np.uint8)
        if len(source) < SHARED or not len(self.hashes):
            return
        found = _window_hashes(source)
        places = np.minimum(np.searchsorted(self.hashes, found), len(self.hashes) - 1)
        for start in np.flatnonzero(self.hashes[places] == found):
            window = letters[start : start + SHARED]
            if len(set(window)) >= _DISTINCT:
                yield int(start), window


def _window_hashes(data: Bytes) -> NDArray[np.uint64]:
    """[N - SHARED + 1] polynomial hashes modulo 2^64 of all windows of SHARED bytes."""
    count = max(0, len(data) - SHARED + 1)
    hashes = np.zeros(count, np.uint64)
    base = np.uint64(0x100000001B3)
    for offset in range(SHARED):
        hashes = hashes * base + data[offset : offset + count].astype(np.uint64) + np.uint64(1)
    return hashes


@dataclass(frozen=True)
class StaticChecks:
    """All gates of one task."""

    task: Task
    index: TextIndex
    commons: PublicText | None = None
    """What is no secret though an evaluation split holds it; None: all that it holds is secret."""

    @classmethod
    def of(cls, task: Task) -> StaticChecks:
        index = TextIndex.of([task.corpus.evaluation(split) for split in EVALUATION])
        if task.tokenised is None:
            return cls(task, index)
        seed = find_file(task.seed_file).read_text(encoding="utf-8")
        return cls(task, index, PublicText(seed, partial(task.tokenised.source.texts, "train")))

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Why these files are not run, or None."""
        allowed = set(self.task.editable)
        if strange := sorted(set(files) - allowed):
            return f"{strange[0]!r} is not among the files that may change ({', '.join(sorted(allowed))})"
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values())
        if size > self.task.limits.source_kb * 1000:
            return f"the source has {size:,} bytes; {self.task.limits.source_kb * 1000:,} are allowed"
        load = 0
        for path, text in files.items():
            try:
                tree = parse(bare(text))
            except Unclear as unclear:
                return f"{path} {unclear}"
            if (reason := _refuse_program(path, tree)) is not None:
                return reason
            if any(self.index.quotes(data, self.commons) is not None for data in spellings(text, tree)):
                return f"{path} contains text of an evaluation split ({SHARED} letters or more in a row)"
            load += carried(tree)
        if load > self.task.limits.literal_bytes:
            return (
                f"its literals and names carry {load:,} bytes (compressed, without comments and docstrings); "
                f"{self.task.limits.literal_bytes:,} are allowed: compute tables, do not write them down"
            )
        return None


def _refuse_program(path: str, tree: ast.Module) -> str | None:
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if path == "train.py" and not {"train", "predict"} <= defined | _assigned(tree):
        return "train.py must define the functions train(session) and predict(state, task)"
    if (line := _fixed_seed(tree)) is not None:
        return f"{path}, line {line}: a fixed random seed; use session.seed"
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
