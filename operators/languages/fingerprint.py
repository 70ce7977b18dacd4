"""Identity of programs: two candidates are the same program if the tokens of all files are equal.

What counts of a file is up to its language (``operators.languages.language``): of Python the syntax tree without
docstrings and seeds, of most others all but comments and layout, of plain text every character.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache

from operators.languages.language import Language, language_for
from operators.languages.syntax import Unparsable


def fingerprint(files: Mapping[str, str]) -> str:
    """Return 64 hex digits that are equal for equal programs. A file that does not parse counts by its text."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\0{_file_digest(language_for(path), files[path])}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(language: Language, text: str) -> str:
    try:
        raw = "\n".join(language.tokens(text)).encode("utf-8", "surrogatepass")
    except Unparsable:
        raw = b"text\0" + text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).hexdigest()


def syntax_tokens(path: str, text: str) -> tuple[str, ...]:
    """Return the tokens of a file; of its text if it does not parse."""
    try:
        return language_for(path).tokens(text)
    except Unparsable:
        return tuple(text.split())
