"""Static checks of a candidate's source before any budget is spent. They read the program and never run it.

The source must parse, and mean the same in its normal form (only that is run, see ``train.language_model.program``);
stay within the limits of size and of data in literals; not fix its own seed; and contain no text of an evaluation
split, plain or in an obvious encoding.

**The gain from memorised text.** Candidates come from models that know famous texts. Decoders catch the obvious
encodings; all others are bounded by their amount: literals and names together may carry ``limits.literal_bytes``
(compressed), 4,096 by default, which an honest program of 50 KB satisfies. By Kraft's inequality B bytes of knowledge
save at most 8 B bits of code length on the text that they are about. The author does not know which lines are scored,
so on a split of E bytes that is 8 B / E bits per byte: 0.04 on the default task if all 4,096 bytes are spent without
loss on one split, and a third of that on each if it is unknown which plays belong to which split.
The structure of the code (the choice and order of statements, operators and single names) carries some more; all of
the program together may have ``limits.program_bytes`` after compression.

**Public text** is no quotation on a task that reads tokens: its corpus may hold programs, or pages about them, which
share the names of libraries with every honest program (``train.language_model.public_text``). There a quotation has
at least 35 letters.

**A fixed seed** gains nothing: the order of the training stream follows the evaluator's seed, so that a lucky
initialisation meets other data in every run. Obvious ones are refused, to be clear; ``int("7")`` is not detected.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from prepare.data.copies import letters_and_digits
from prepare.data.corpora import EVALUATION
from prepare.language_model import LanguageModelTask
from prepare.scoring import Bytes
from prepare.source import foreign_encoding
from train.language_model.decoded_literals import decoded_literals
from train.language_model.program import AmbiguousSource, NormalForm, carried_bytes, compressed_bytes, normal_form
from train.language_model.public_text import PublicText

SHARED = 24
"""Length of a window: consecutive letters and digits, ignoring other characters, shared with an evaluation split."""
SECRET_RUN = 12
"""Consecutive secret windows that make a quotation where public text is allowed: text next to public text may agree by
chance."""
PROGRAM_BYTES = 10_240
"""Default of ``limits.program_bytes``. The normal forms of honest programs of 60 KB have up to 9,850."""
_BEGINNING = 22  # bits
_DISTINCT = 8  # different letters in a quotation, at least
_CHUNK = 512  # windows looked up together: a secret one costs 0.05 s, and the start of a long quotation is enough


@dataclass(frozen=True)
class TextIndex:
    """Index of all windows of SHARED letters of the evaluation splits: sorted 64-bit hashes, and the text itself."""

    hashes: NDArray[np.uint64]
    beginnings: NDArray[np.bool_]
    """[2^22] whether some hash begins with these bits: nine of ten windows of other text are done with after that."""
    text: bytes

    @classmethod
    def of(cls, texts: list[Bytes]) -> TextIndex:
        joined = b"\0".join(letters_and_digits(text.tobytes()) for text in texts)
        hashes = np.sort(_window_hashes(np.frombuffer(joined, np.uint8)))
        beginnings = np.zeros(1 << _BEGINNING, np.bool_)
        beginnings[hashes >> np.uint64(64 - _BEGINNING)] = True
        return cls(hashes, beginnings, joined)

    def quotes(self, data: bytes, public: PublicText | None = None) -> bytes | None:
        """Return a window of ``data`` that also occurs in the evaluation text, or None.

        public: text that is not secret. With it, SECRET_RUN consecutive windows must be secret.
        """
        if public is None:
            return next((window for _, window in self._alike(data) if window in self.text), None)
        run, before, alike = 0, -2, self._alike(data)
        while part := list(islice(alike, _CHUNK)):
            secret = public.secret(window for _, window in part)
            for start, window in part:
                if window in secret and window in self.text:
                    run, before = (run + 1 if start == before + 1 else 1), start
                    if run >= SECRET_RUN:
                        return window
        return None

    def _alike(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (offset among the letters, window) of windows whose hash is in the index."""
        letters = letters_and_digits(data)
        source = np.frombuffer(letters, np.uint8)
        if len(source) < SHARED or not len(self.hashes):
            return
        found = _window_hashes(source)
        likely = np.flatnonzero(self.beginnings[found >> np.uint64(64 - _BEGINNING)])
        places = np.minimum(np.searchsorted(self.hashes, found[likely]), len(self.hashes) - 1)
        for start in likely[self.hashes[places] == found[likely]]:
            window = letters[start : start + SHARED]
            if len(set(window)) >= _DISTINCT:
                yield int(start), window


def _window_hashes(data: Bytes) -> NDArray[np.uint64]:
    """[N - SHARED + 1] polynomial hashes modulo 2^64 of all windows of SHARED = 16 + 8 bytes, by doubling."""
    if len(data) < SHARED:
        return np.zeros(0, np.uint64)
    hashes, base, width, eight = data.astype(np.uint64) + np.uint64(1), np.array([0x100000001B3], np.uint64), 1, data
    while width < 16:
        if width == 8:
            eight, of_eight = hashes, base
        hashes = hashes[:-width] * base + hashes[width:]
        base, width = base * base, 2 * width
    count = len(data) - SHARED + 1
    return hashes[:count] * of_eight + eight[16 : 16 + count]


@dataclass(frozen=True)
class StaticChecks:
    """The static checks of one task; ``refuse`` runs them all."""

    task: LanguageModelTask
    index: TextIndex
    public: PublicText | None = None
    """Text that is not secret although an evaluation split contains it; None: all of the split is secret."""

    @classmethod
    def of(cls, task: LanguageModelTask) -> StaticChecks:
        index = TextIndex.of([task.corpus.evaluation(split) for split in EVALUATION])
        if task.tokenised is None:
            return cls(task, index)
        seed = task.seed_files()["train.py"]
        return cls(task, index, PublicText(seed, partial(task.tokenised.source.texts, "train")))

    def refuse(self, files: Mapping[str, str]) -> str | None:
        """Return why these files are refused, or None."""
        allowed = set(self.task.editable)
        if strange := sorted(set(files) - allowed):
            return f"{strange[0]!r} is not among the files that may change ({', '.join(sorted(allowed))})"
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in files.values())
        if size > self.task.limits.source_kb * 1000:
            return f"the source has {size:,} bytes; {self.task.limits.source_kb * 1000:,} are allowed"
        data_bytes = code_bytes = 0
        for path, text in files.items():
            if (reason := foreign_encoding(text)) is not None:
                return f"{path} {reason}"
            try:
                form = normal_form(text)
                if (reason := _refuse_program(path, form) or self._refuse_quotation(path, text, form.tree)) is not None:
                    return reason
            except AmbiguousSource as ambiguous:
                return f"{path} {ambiguous}"
            data_bytes += carried_bytes(form.tree)
            code_bytes += compressed_bytes(form.text)
        if data_bytes > self.task.limits.literal_bytes:
            return (
                f"its literals and names carry {data_bytes:,} bytes (compressed, without comments and docstrings); "
                f"{self.task.limits.literal_bytes:,} are allowed: compute tables, do not write them down"
            )
        most = self.task.limits.program_bytes or PROGRAM_BYTES
        if code_bytes > most:
            return f"the program has {code_bytes:,} bytes after compression; {most:,} are allowed: simplify it"
        return None

    def quotes(self, parts: Iterable[bytes]) -> bool:
        """Return whether one of these, each a decoding of the same text, quotes an evaluation split."""
        return any(self.index.quotes(part, self.public) is not None for part in parts)

    def _refuse_quotation(self, path: str, text: str, tree: ast.Module) -> str | None:
        """Return that a file quotes an evaluation split, or None. Raises AmbiguousSource."""
        if self.quotes(decoded_literals(text, tree)):
            return f"{path} contains text of an evaluation split ({SHARED} letters or more in a row)"
        return None


def _refuse_program(path: str, form: NormalForm) -> str | None:
    """Return why this program is refused, or None: missing functions, or a fixed seed."""
    tree = form.tree
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if path == "train.py" and not {"train", "predict"} <= defined | _assigned(tree):
        return "train.py must define the functions train(session) and predict(state, task)"
    if (line := _fixed_seed(tree)) is not None:
        return f"{path}, line {form.lines.get(line, line)}: a fixed random seed; use session.seed"
    return None


def _assigned(tree: ast.Module) -> set[str]:
    """Return the names that module-level assignments define."""
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _fixed_seed(tree: ast.Module) -> int | None:
    """Return the line of a call like ``torch.manual_seed(1234)``, which has a constant seed, or None."""
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
    """Return whether an expression consists of numbers and named constants only."""
    parts = [node for node in ast.walk(value) if isinstance(node, (ast.expr))]
    arithmetic = (ast.BinOp, ast.UnaryOp)
    return all(
        isinstance(part, arithmetic)
        or (isinstance(part, ast.Constant) and isinstance(part.value, int | float))
        or (isinstance(part, ast.Name) and part.id in constants)
        for part in parts
    )
