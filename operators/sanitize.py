"""Text that a candidate or a model wrote, on its way into a prompt: it is data, and is made to look like it.

    quote("...", "log")  ->  <data kind="log">
                             ...
                             </data>

Inside, terminal escapes and control characters are gone, what is too long is cut with a note, and anything that
looks like our delimiter is defused, so that the text cannot end its own quotation and speak to the model.
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
    """Without escapes, control and invisible characters (newlines and tabs stay); overwritten lines are split."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.isprintable():
        return text
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)


def one_line(text: str, limit: int = 200) -> str:
    """For an idea or a reason in the middle of a sentence: one clean line of at most ``limit`` characters."""
    line = " ".join(defuse(clean(text)).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def defuse(text: str) -> str:
    """Anything that could be taken for a delimiter of ``quote`` loses its bracket."""
    return _DELIMITER.sub("‹", text)


def quote(text: str, kind: str, limit: int = 8000, keep: Literal["head", "tail"] = "tail") -> str:
    """``text`` between delimiters, at most ``limit`` characters of it. Of a log the end matters, of code the start."""
    text = defuse(clean(text)).strip("\n")
    if len(text) > limit:
        cut = len(text) - limit
        text = (
            f"[{cut} characters left out]\n{text[-limit:]}"
            if keep == "tail"
            else (f"{text[:limit]}\n[{cut} characters left out]")
        )
    return f'<data kind="{kind}">\n{text}\n</data>'
