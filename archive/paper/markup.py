r"""The text of a section: a small part of LaTeX, read as data: text of a model can do no harm.

    \tw{KEY}  \cite{KEY}  \ref{fig:NAME}  \twfigure{NAME}  \twtable{NAME}
    \emph{..}  \textbf{..}  \texttt{..}  $..$ of a few signs  \% \& \_ \# \$ \{ \}  -- and ~

An empty line ends a paragraph. Everything else that means something to LaTeX is refused with its line.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from archive.errors import ArchiveError

Kind = Literal[
    "tw", "cite", "ref", "twfigure", "twtable", "emph", "textbf", "texttt", "math", "escaped", "space", "text"
]

_SIGNS = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
          **{sign: f"\\{sign}" for sign in "%&_#${}"}}  # fmt: skip
"""Signs that mean something to LaTeX -> how they are written."""
_READ = {written: sign for sign, written in _SIGNS.items()}
_ESCAPED = r"\\(?:[%&_#${}]|text(?:backslash|asciitilde|asciicircum)\{\})"
_TOKEN = re.compile(
    rf"\\(?P<name>tw|cite|ref|twfigure|twtable|emph|textbf|texttt)\{{(?P<argument>(?:[^{{}}\\$&%#~^]|{_ESCAPED})*)\}}"
    r"|\$(?P<math>(?:[0-9A-Za-z+\-*/=<>().,:|'\s]|[_^](?=\w|\{\w+\})|(?<=[_^])\{\w+\}|"
    r"\\(?:times|pm|le|ge|cdot|sigma|log|sum)(?![A-Za-z]))*)\$"
    rf"|(?P<escaped>{_ESCAPED})"
    r"|(?P<space>~|\n[ \t]*\n\s*)"
    r"|(?P<text>[^\\{}$&%#_^~\n]+|\n)"
)
_STRANGE = re.compile("[^\\n\\t\\x20-\\x7e\\xa1-\\xac\\xae-\\u017f–—‘’“”…]")
"""Characters that a reader cannot tell from others, or that pdfLaTeX does not print: digits of other scripts, blanks of
no width."""
_ENVIRONMENTS = {"emph": "em", "textbf": "strong", "texttt": "code"}


class MarkupError(ArchiveError):
    """Text that is no part of the small LaTeX."""

    def __init__(self, line: int, words: str) -> None:
        super().__init__(words)
        self.line = line


@dataclass(frozen=True)
class MarkupToken:
    """One piece of a section. ``text``: its argument, or the text itself; ``line``: counted from 1 in its section."""

    kind: Kind
    text: str
    line: int
    raw: str


def tokens(body: str) -> Iterator[MarkupToken]:
    """Yield the pieces of a section. Raises MarkupError."""
    if strange := _STRANGE.search(body):
        words = f"U+{ord(strange[0]):04X} is not allowed in a section; use letters of Latin scripts, and ASCII"
        raise MarkupError(1 + body[: strange.start()].count("\n"), words)
    place, line = 0, 1
    while place < len(body):
        match = _TOKEN.match(body, place)
        if match is None:
            rest = body[place:].split("\n")[0][:40]
            raise MarkupError(
                line, f"{rest!r} is not allowed in a section; use plain text, \\tw, \\cite, \\ref, \\emph"
            )
        yield _token(match, line)
        line += match[0].count("\n")
        place = match.end()


def _token(match: re.Match[str], line: int) -> MarkupToken:
    kind: Kind = match["name"] or match.lastgroup  # type: ignore[assignment]
    text = match["argument"] if match["name"] else match[match.lastgroup or "text"]
    return MarkupToken(kind, text or "", line, match[0])


def escape(text: str) -> str:
    """Return plain text as LaTeX. Control characters and what pdfLaTeX cannot print become a question mark."""
    return "".join(_SIGNS.get(c, c if c.isprintable() and ord(c) < 0x180 else "?") for c in " ".join(text.split()))


def unescaped(text: str) -> str:
    """Return the signs that ``escape`` has written."""
    return re.sub(_ESCAPED, lambda match: _READ[match[0]], text)


def typographic(text: str) -> str:
    for plain, sign in (("---", "—"), ("--", "–"), ("``", "“"), ("''", "”")):
        text = text.replace(plain, sign)
    return text


def as_html(
    body: str, number: Callable[[str], str], reference: Callable[[str], str], float_: Callable[[str, str], str]
) -> str:
    """Return a section as HTML paragraphs. ``number`` and ``reference``: of keys; ``float_``: of (kind, name)."""
    out: list[str] = []
    for token in tokens(body):
        if token.kind == "tw":
            out.append(html.escape(number(token.text)))
        elif token.kind in ("cite", "ref"):
            out.append(", ".join(reference(key.strip()) for key in token.text.split(",")))
        elif token.kind in ("twfigure", "twtable"):
            out.append(f"</p>\n{float_(token.kind, token.text)}\n<p>")
        elif token.kind in _ENVIRONMENTS:
            name = _ENVIRONMENTS[token.kind]
            out.append(f"<{name}>{html.escape(unescaped(token.text))}</{name}>")
        elif token.kind == "math":
            out.append(f"<i>{html.escape(token.text)}</i>")
        elif token.kind == "space":
            out.append(" " if token.text == "~" else "</p>\n<p>")
        elif token.kind == "escaped":
            out.append(html.escape(unescaped(token.text)))
        else:
            out.append(html.escape(typographic(token.text)))
    return f"<p>{''.join(out)}</p>".replace("<p></p>", "").replace("<p>\n</p>", "")
