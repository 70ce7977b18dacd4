"""Output of results: a table for the terminal, JSON, CSV, Parquet.

Parts of an archive were written by candidates and models. In a table they cannot send escape sequences to the terminal
and cannot start a line of their own.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TextIO

import duckdb

from archive.errors import ArchiveError
from archive.query.select import Result
from archive.storage.outputs import check_output
from prepare.output import printable, shortened

_WIDEST = 60
"""Characters of a cell in a table."""

_NARROWEST = 9
"""Columns of a terminal below which a table's cell says too little; then rows are shown one below the other."""

_RICH_GAP = 3
"""Columns that a table of rich has around each cell."""

_NUMBERS = (int, float, Decimal)

_EXACT = 2**53
"""The largest whole number up to which JavaScript and other readers of JSON are exact; evaluation seeds are larger."""

_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links
    r"|\x1b."
)


def as_json(result: Result) -> str:
    """Return an array with an object per row. NaN and infinities, which JSON lacks, are null."""
    columns = [_alike(column) for column in zip(*result.rows, strict=True)]
    rows = [dict(zip(result.columns, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(rows, indent=2)


def _alike(column: Sequence[Any]) -> list[Any]:
    """Convert a column to plain JSON types; its whole numbers are texts if one of them has to be (see ``plain``)."""
    whole = str if any(map(_is_wide, column)) else plain
    return [whole(value) if isinstance(value, int) else plain(value) for value in column]


def _is_wide(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > _EXACT


def as_csv(result: Result, *, for_terminal: bool = False) -> str:
    """Return a header line, then a line per row; NULL is empty, a list is JSON."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    for row in result.rows:
        cells = [json.dumps(value) if isinstance(value, list | dict) else value for value in map(plain, row)]
        writer.writerow([printable(cell) if for_terminal and isinstance(cell, str) else cell for cell in cells])
    return out.getvalue().rstrip("\n")


def plain(value: Any) -> Any:
    """Convert a value to plain JSON types. A whole number that many readers of JSON would round is a text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if _is_wide(value):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)


def one_line(text: str, limit: int) -> str:
    """Return one line of at most ``limit`` printable characters: no escapes, controls, or hidden directions."""
    printable = "".join(c if c.isprintable() else " " for c in _ESCAPE.sub(" ", text))
    line = " ".join(printable.split())
    return shortened(line, limit)


def cell(value: Any, widest: int = _WIDEST) -> str:
    """Return a value as one printable line of at most ``widest`` characters."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, list | tuple | Mapping):
        value = ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(plain(value))
    return one_line(str(value), widest)


def digits(score: float) -> str:
    """Return a score with four decimals; with significant digits instead where these would cut a small one."""
    if score == 0 or not 0 < abs(score) < 1e12 or 0.1 <= abs(score) < 1000:
        return f"{score:.4f}"
    return f"{score:.5g}" if abs(score) < 1 else f"{score:.2f}".rstrip("0").rstrip(".")


# ---------------------------------------------------------------- tables


def print_table(result: Result, out: TextIO | None = None) -> None:
    """Print a table: with rich on a terminal, as plain aligned text elsewhere."""
    out = out or sys.stdout
    if not result.columns:
        return
    if not out.isatty():
        print(_aligned(result), file=out)
    elif _least(result) > shutil.get_terminal_size().columns:
        print(_stacked(result), file=out)
    else:
        _print_rich(result, out)


def _is_number(result: Result, place: int) -> bool:
    values = [row[place] for row in result.rows if row[place] is not None]
    return bool(values) and all(isinstance(value, _NUMBERS) and not isinstance(value, bool) for value in values)


def _aligned(result: Result) -> str:
    lines = [tuple(cell(name) for name in result.columns), *(tuple(map(cell, row)) for row in result.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [_is_number(result, place) for place in range(len(widths))]
    ruled = [lines[0], tuple("-" * width for width in widths), *lines[1:]]
    return "\n".join(_join(line, widths, numeric) for line in ruled)


def _join(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    aligned = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True)]
    return "  ".join(aligned).rstrip()


def _least(result: Result) -> int:
    """Return the columns that a table takes at least: its numbers in full, and the start of its texts."""
    widths = _widths(result)
    return sum(
        _RICH_GAP + (width if _is_number(result, place) else min(width, _NARROWEST))
        for place, width in enumerate(widths)
    )


def _widths(result: Result) -> list[int]:
    """Return the characters of the widest cell of each column, its name included."""
    lines = [result.columns, *(tuple(map(cell, row)) for row in result.rows)]
    return [max(len(cell(text)) for text in column) for column in zip(*lines, strict=True)]


def _fitting(widths: Sequence[int], numeric: Sequence[bool], room: int) -> list[int]:
    """Return narrower columns that fit: the widest columns of text shrink first, and columns of numbers never."""
    found = list(widths)
    texts = [place for place, is_numeric in enumerate(numeric) if not is_numeric]
    while texts and sum(found) > room:
        widest = max(texts, key=lambda place: found[place])
        if found[widest] <= _NARROWEST:
            break
        found[widest] -= 1
    return found


def _stacked(result: Result) -> str:
    """Lay out rows that are wider than the terminal: a line per column, a block per row."""
    width = max(len(cell(name)) for name in result.columns)
    widest = max(_WIDEST, shutil.get_terminal_size().columns - width - 3)
    blocks = [
        "\n".join(
            f"{cell(name):<{width}}  {cell(value, widest)}" for name, value in zip(result.columns, row, strict=True)
        )
        for row in result.rows
    ]
    return "\n\n".join(blocks) if blocks else "(no rows)"


def _print_rich(result: Result, out: TextIO) -> None:
    from rich import box  # only a terminal is worth its 40 ms
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=out)
    numeric = [_is_number(result, place) for place in range(len(result.columns))]
    widths = _fitting(_widths(result), numeric, console.width - len(numeric) * _RICH_GAP)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, right in zip(result.columns, numeric, strict=True):
        table.add_column(Text(cell(name)), justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    for row in result.rows:  # Text, so that nothing is taken for markup
        table.add_row(*(Text(shortened(cell(value), width)) for value, width in zip(row, widths, strict=True)))
    console.print(table)


def write_parquet(result: Result, path: Path) -> None:
    """Write the file atomically, replacing an existing one, unless that is an archive. Raises ArchiveError."""
    check_output(path)
    if not result.columns:
        raise ArchiveError("the answer has no columns, and a Parquet file needs some")
    types = result.types or ("VARCHAR",) * len(result.columns)
    fresh = path.with_name(f".{path.name[:200]}.{os.getpid()}.new")
    columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in zip(_distinct(result.columns), types, strict=True))
    try:
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            connection.execute(f"CREATE TABLE answer ({columns})")
            if result.rows:
                places = ", ".join("?" * len(types))
                connection.executemany(f"INSERT INTO answer VALUES ({places})", [list(row) for row in result.rows])
            name = str(fresh).replace("'", "''")
            connection.execute(f"COPY answer TO '{name}' (FORMAT parquet, COMPRESSION zstd)")
        os.replace(fresh, path)
    except (OSError, duckdb.Error) as error:
        raise ArchiveError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _distinct(names: tuple[str, ...]) -> list[str]:
    """Make column names unique without regard to case: ``score``, ``score_2``."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        times = seen[name.lower()] = seen.get(name.lower(), 0) + 1
        found.append(name if times == 1 else f"{name}_{times}")
    return found


def leave(status: int) -> NoReturn:
    """Flush the output and end the process at once: freeing the memory of a large query would take 20 ms more."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
