"""The arguments of ``python -m archive steer`` as the command that a running search understands."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError, QueryRefused
from archive.query.query import Reader
from archive.query.questions import full_id
from archive.query.steer import MOST_BYTES


def order_of(reader: Reader, options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the command. Raises ArchiveError for a file that cannot be read and a node that is unknown."""
    order: dict[str, Any] = {"command": options.order}
    if options.order == "instruct":
        order["words"] = options.words
    elif options.order == "propose":
        order["files"] = files_of(Path(options.file))
        order["parent"] = None if options.parent is None else full_id(reader, options.parent)
    elif options.order == "budget":
        order["limit"], order["added"] = options.added
    elif options.order == "stop" and options.words not in ([], ["after", "this"]):
        raise QueryRefused(f"stop takes the words 'after this' or nothing; got {' '.join(options.words)}")
    elif options.order in ("pin", "ban", "free"):
        order["node"] = full_id(reader, options.id)
    return order


def files_of(path: Path) -> dict[str, str]:
    """Return the text of a file by its name, or of all files of a folder by their paths in it.

    Raises ArchiveError if one cannot be read, is no UTF-8 text, or if all are too large.
    """
    found = [path] if not path.is_dir() else sorted(each for each in path.rglob("*") if each.is_file())
    base = path if path.is_dir() else path.parent
    files: dict[str, str] = {}
    for each in found:
        try:
            files[each.relative_to(base).as_posix()] = each.read_bytes().decode("utf-8")
        except OSError as error:
            raise ArchiveError(f"cannot read {each}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ArchiveError(f"{each} is not UTF-8 text: {error}. Save it as UTF-8") from error
    if sum(map(len, files.values())) > MOST_BYTES // 2:
        raise ArchiveError(f"{path} is larger than {MOST_BYTES // 2 / 1e6:.0f} MB; expected the files of a candidate")
    return files
