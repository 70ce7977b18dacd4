"""Sanitising of untrusted text (of candidates and models) that goes into a prompt.

    quote("...", "log")  ->  <data kind="log">
                             ...
                             </data>

Terminal escapes and control characters are removed, long text is cut with a note, and anything that looks like our
delimiter is defused, so that the text cannot end its own quotation and pose as an instruction.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, hyperlinks
    r"|\x1b[PX^_].*?(?:\x1b\\|$)"  # DCS and other strings
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_DELIMITER = re.compile(r"<(?=\s*(?:/\s*)?data\b)", re.IGNORECASE)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co"})


def clean(text: str) -> str:
    """Remove escapes, control and invisible characters (newlines and tabs stay); split overwritten lines."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)


def one_line(text: str, limit: int = 200) -> str:
    """Return one clean line of at most ``limit`` characters, for an idea or a reason within a sentence."""
    line = " ".join(defuse(clean(text)).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def defuse(text: str) -> str:
    """Replace the bracket of everything that looks like a delimiter of ``quote``."""
    return _DELIMITER.sub("‹", text)


def quote(text: str, kind: str, limit: int = 8000, keep: Literal["head", "tail"] = "tail") -> str:
    """Put ``text`` between delimiters, cut to ``limit`` characters: ``tail`` for logs, ``head`` for code."""
    text = defuse(clean(text)).strip("\n")
    if len(text) > limit:
        cut = len(text) - limit
        text = (
            f"[{cut} characters left out]\n{text[-limit:]}"
            if keep == "tail"
            else (f"{text[:limit]}\n[{cut} characters left out]")
        )
    return f'<data kind="{kind}">\n{text}\n</data>'
