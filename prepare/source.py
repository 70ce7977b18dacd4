"""Decoding of Python source: UTF-8 only, in one place, so that a program means the same wherever it runs.

A search reads a program as text, Python reads the exported file as bytes: a line that declares another encoding
(PEP 263) would give strings other characters there. A byte order mark at the start means nothing and is removed.
"""

from __future__ import annotations

import codecs
import io
import tokenize

_BOM = "\ufeff"


class SourceError(ValueError):
    """The bytes are no Python source in UTF-8; the message says why, without the file's name."""


def decode(data: bytes) -> str:
    """Return the text of a source file, with newlines as ``\\n`` and without a byte order mark. Raises SourceError."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"is not UTF-8 text: {error}. Save it as UTF-8.") from None
    text = normalised(text).replace("\r\n", "\n").replace("\r", "\n")
    if (reason := foreign_encoding(text)) is not None:
        raise SourceError(reason)
    return text


def normalised(text: str) -> str:
    """Return a source without a byte order mark."""
    return text.removeprefix(_BOM)


def foreign_encoding(text: str) -> str | None:
    """Return that a source declares another encoding than UTF-8, in its first two lines; None if it does not."""
    lines = normalised(text).replace("\r\n", "\n").replace("\r", "\n").split("\n", 2)[:2]
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO("\n".join(lines).encode("utf-8", "replace")).readline)
    except SyntaxError as error:
        return f"declares an encoding that Python does not have ({error}); expected UTF-8: remove that line"
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        return f"declares the encoding {encoding}; expected UTF-8: save it as UTF-8 and remove that line"
    return None
