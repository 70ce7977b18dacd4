"""Sanitising of untrusted text (of candidates and models) that goes into a prompt.

    quote("...", "log")  ->  <data kind="log">
                             ...
                             </data>

Terminal escapes and control characters are removed, long text is cut with a note, and anything that looks like our
delimiter is defused, so that the text cannot end its own quotation and pose as an instruction.

What a model is to copy (programs) loses nothing: characters that cannot be shown stand as escapes, which the reader of
its answer turns back into the characters (``visible``, ``restored``):

    "a\\u200bb"  ->  a⟦\\u200b⟧b
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
_BREAKS = frozenset({"Zl", "Zp"})
"""Line and paragraph separator, which end a line for some readers and not for others."""
_LITERAL = re.compile(r"⟦(?=\\[xuU][0-9a-fA-F])")
"""What is no escape of ``visible`` and looks like one."""
_ESCAPE = re.compile(r"⟦\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))⟧")


def clean(text: str) -> str:
    """Remove escapes, control and invisible characters (newlines and tabs stay); split overwritten lines."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    hidden = {c for c in set(text) if c not in "\n\t" and unicodedata.category(c) in _HIDDEN}
    return text.translate(dict.fromkeys(map(ord, hidden))) if hidden else text


def visible(text: str) -> str:
    """Return program text in which each character that ``clean`` or ``defuse`` would change stands as an escape."""
    text = text.replace("\r\n", "\n")
    text = _DELIMITER.sub(lambda match: _escape(match[0]), _LITERAL.sub(lambda match: _escape(match[0]), text))
    hidden = {c for c in set(text) if _is_hidden(c)}
    return text.translate({ord(c): _escape(c) for c in hidden}) if hidden else text


def restored(text: str, characters: frozenset[str]) -> str:
    """Return the text with escapes of these characters turned back into them."""

    def character(match: re.Match[str]) -> str:
        code = int(match[1] or match[2] or match[3], 16)
        return chr(code) if code < 0x110000 and chr(code) in characters else match[0]

    return _ESCAPE.sub(character, text)


def escaped_characters(text: str) -> frozenset[str]:
    """Return the characters of a program that ``visible`` shows as escapes."""
    text = text.replace("\r\n", "\n")
    found = {match[0] for pattern in (_LITERAL, _DELIMITER) for match in pattern.finditer(text)}
    return frozenset(found | {c for c in set(text) if _is_hidden(c)})


def _is_hidden(character: str) -> bool:
    return character not in "\n\t" and unicodedata.category(character) in _HIDDEN | _BREAKS


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"⟦\\x{code:02x}⟧"
    return f"⟦\\u{code:04x}⟧" if code < 0x10000 else f"⟦\\U{code:08x}⟧"


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
