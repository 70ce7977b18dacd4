r"""A paper from its sections: LaTeX and HTML of the same content, with the numbers looked up in the archive.

Numbers are macros: ``\twdef{KEY}{VALUE}`` once each, ``\tw{KEY}`` where they stand.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from archive.paper.bibliography import Reference, entries
from archive.paper.floats import FIGURES, TABLES, WIDE
from archive.paper.markup import MarkupToken, as_html, escape, tokens
from archive.paper.numbers import Study
from archive.paper.prose import TITLES

_HEAD = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{ae}
\usepackage[utf8]{inputenc}
\usepackage[margin=1.9cm]{geometry}
\usepackage{graphicx}
\makeatletter
\long\def\@makecaption#1#2{\vskip\abovecaptionskip{\small #1: #2\par}\vskip\belowcaptionskip}
\makeatother
\setlength{\abovecaptionskip}{0.5em}
\setlength{\belowcaptionskip}{0.5em}
\newcommand{\twdef}[2]{\expandafter\gdef\csname tw:#1\endcsname{#2}}
\newcommand{\tw}[1]{\csname tw:#1\endcsname}
\setlength{\emergencystretch}{3em}
\setlength{\columnsep}{0.7cm}
\renewcommand{\dbltopfraction}{0.9}
\renewcommand{\topfraction}{0.9}
\renewcommand{\bottomfraction}{0.7}
\renewcommand{\textfraction}{0.05}
\setcounter{topnumber}{4}
\setcounter{totalnumber}{6}
\setlength{\textfloatsep}{1em}
\setlength{\floatsep}{1em}
\raggedbottom
\ifdefined\pdftrailerid\pdftrailerid{}\fi
"""
_BYLINE = "Made by Treewright from the archive of its runs"
_NUMBER = re.compile(r"\\tw\{([^{}]*)\}")
_CSS = """body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 Georgia,serif;color:#24292f}
h1{font-size:1.6rem}h2{font-size:1.2rem}table{border-collapse:collapse;font-size:.85rem}
td,th{padding:.15rem .5rem;border-bottom:1px solid #d0d7de;text-align:left}figure{margin:1rem 0}img{max-width:100%}
figcaption,caption{font-size:.85rem;color:#57606a;text-align:left;caption-side:bottom}"""


@dataclass(frozen=True)
class Document:
    """A paper that can be rendered. ``sections``: name -> text in the small LaTeX of ``archive.paper.markup``."""

    study: Study
    sections: Mapping[str, str]
    references: Mapping[str, Reference] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", entries(self.study.registered.bibliography))

    # ------------------------------------------------------------ what is in it

    def tokens(self, *kinds: str) -> Iterator[tuple[str, MarkupToken]]:
        """Yield (section, token) of some kinds. Raises MarkupError."""
        for name, body in self.sections.items():
            yield from ((name, token) for token in tokens(body) if token.kind in kinds)

    def floats(self, kind: str, known: Mapping[str, object]) -> list[str]:
        """Return the names of the figures or tables that are shown, each once, in order."""
        return [name for name in dict.fromkeys(token.text for _, token in self.tokens(kind)) if name in known]

    @property
    def figures(self) -> list[str]:
        return self.floats("twfigure", FIGURES)

    @property
    def tables(self) -> list[str]:
        return self.floats("twtable", TABLES)

    def keys(self) -> list[str]:
        """Return the keys of all numbers, those of tables and captions too, each once."""
        found = [token.text for _, token in self.tokens("tw")]
        for name in self.tables:
            table = TABLES[name](self.study)
            found += _NUMBER.findall(" ".join([table.caption, *(cell for row in table.rows for cell in row)]))
        for name in self.figures:
            found += _NUMBER.findall(FIGURES[name].caption(self.study))
        return list(dict.fromkeys(found))

    def cited(self) -> list[str]:
        """Return the keys of all citations, each once, in order."""
        return list(dict.fromkeys(key.strip() for _, token in self.tokens("cite") for key in token.text.split(",")))

    def values(self) -> dict[str, str]:
        """Return key -> value as printed. Raises UnknownNumber."""
        return {key: self.study.shown(key) for key in self.keys()}

    # ------------------------------------------------------------ LaTeX

    def latex(self) -> str:
        """Return the file for pdfLaTeX. Raises MarkupError, UnknownNumber."""
        title = escape(self.study.registered.plan["title"])
        parts = [_HEAD, *self._definitions(), rf"\title{{{title}}}", rf"\author{{{_BYLINE}}}", r"\date{}",
                 r"\begin{document}", r"\maketitle"]  # fmt: skip
        for name, body in self.sections.items():
            around = (
                (r"\begin{abstract}", r"\end{abstract}") if name == "abstract" else (rf"\section{{{TITLES[name]}}}", "")
            )
            parts += [around[0], self._body(body), around[1]]
        return "\n".join([*parts, *self._bibliography(), r"\end{document}", ""])

    def _definitions(self) -> Iterator[str]:
        for key, value in self.values().items():
            yield rf"\twdef{{{key}}}{{{escape(value) if self.study.is_text(key) else f'${value}$'}}}"

    def _body(self, body: str) -> str:
        return "".join(
            self._float(token) if token.kind in ("twfigure", "twtable") else token.raw for token in tokens(body)
        ).strip("\n")

    def _float(self, token: MarkupToken) -> str:
        return _figure(token.text, self.study) if token.kind == "twfigure" else _table(token.text, self.study)

    def _bibliography(self) -> Iterator[str]:
        yield r"\begin{thebibliography}{99}\small\setlength{\itemsep}{0pt}"
        for key in self.cited():
            yield rf"\bibitem{{{key}}} {escape(self.references[key].text)}"
        yield r"\end{thebibliography}"

    # ------------------------------------------------------------ HTML

    def html(self) -> str:
        """Return the same content as one page, with its figures beside it. Raises MarkupError, UnknownNumber."""
        values, cited = self.values(), self.cited()
        places = {f"{kind}:{name}": str(n) for kind, names in (("fig", self.figures), ("tab", self.tables))
                  for n, name in enumerate(names, 1)}  # fmt: skip
        places |= {key: f"[{n}]" for n, key in enumerate(cited, 1)}

        def shown(kind: str, name: str) -> str:
            return _html_figure(name, self.study, values, places) if kind == "twfigure" else _html_table(
                name, self.study, values, places)  # fmt: skip

        title = html.escape(self.study.registered.plan["title"])
        parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_CSS}</style>',
                 f"<h1>{title}</h1><p>{_BYLINE}</p>"]  # fmt: skip
        for name, body in self.sections.items():
            parts += [f"<h2>{TITLES[name]}</h2>", as_html(body, values.__getitem__, places.__getitem__, shown)]
        listed = "".join(f"<li>{html.escape(self.references[key].text)}</li>" for key in cited)
        return "\n".join([*parts, f"<h2>References</h2><ol>{listed}</ol></html>", ""])


def _figure(name: str, study: Study) -> str:
    image = rf"\includegraphics[width=\columnwidth]{{figures/{name}.pdf}}"
    caption = rf"\caption{{{FIGURES[name].caption(study)}}}"
    return "\n".join([r"\begin{figure}[tb]", r"\centering", image, caption, rf"\label{{fig:{name}}}", r"\end{figure}"])


def _table(name: str, study: Study) -> str:
    table, star = TABLES[name](study), "*" if name in WIDE else ""
    rows = [" & ".join(row) + r" \\" for row in table.rows]
    return "\n".join([
        rf"\begin{{table{star}}}[tb]", r"\centering\small", rf"\caption{{{table.caption}}}", rf"\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{{table.columns}}}", r"\hline", " & ".join(table.head) + r" \\", r"\hline", *rows,
        r"\hline", r"\end{tabular}", rf"\end{{table{star}}}",
    ])  # fmt: skip


def _cell(text: str, values: Mapping[str, str], places: Mapping[str, str]) -> str:
    """Return a cell or a caption, which this program wrote, as HTML."""
    return re.sub(r"</?p>", "", as_html(text, values.__getitem__, places.__getitem__, lambda kind, name: ""))


def _html_figure(name: str, study: Study, values: Mapping[str, str], places: Mapping[str, str]) -> str:
    caption = _cell(FIGURES[name].caption(study), values, places)
    words = f"Figure {places[f'fig:{name}']}. {caption}"
    return f'<figure><img src="figures/{name}.png" alt=""><figcaption>{words}</figcaption></figure>'


def _html_table(name: str, study: Study, values: Mapping[str, str], places: Mapping[str, str]) -> str:
    table = TABLES[name](study)
    head = "".join(f"<th>{html.escape(each)}</th>" for each in table.head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(cell, values, places)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    caption = f"Table {places[f'tab:{name}']}. {_cell(table.caption, values, places)}"
    return f"<table><caption>{caption}</caption><tr>{head}</tr>{rows}</table>"
