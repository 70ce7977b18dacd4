"""Files by HTTP: gone on with where they broke off, checked against what the server says, tried again, never half done.

Beside ``FILE`` there is ``FILE.json`` with its size and SHA-256, written when it was first complete; every later use is
checked against that. While it is on its way it is ``FILE.part``, and ``FILE.part.json`` says which version of the
file on the server that is (its strong ETag and its size). Only the same version is gone on with.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prepare.data.corpora import PreparationError
from prepare.data.folders import sha256_of

_CHUNK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_SHA256 = re.compile(r'"([0-9a-f]{64})"')
_STATED = "X-Linked-ETag"
"""Where Hugging Face states the SHA-256 of a large file: on the redirect to the store. The store's own ETag may be 64
hexadecimal digits as well, of another hash: it tells versions apart, and nothing else."""
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others in a while."""


@dataclass(frozen=True)
class ServerTerms:
    """How patient a download is."""

    attempts: int = 6
    """One after another that bring nothing new; whatever comes makes it begin to count again."""
    timeout: float = 60.0
    """Seconds without a byte."""
    longest_wait: float = 30.0
    """Between two attempts; it begins with a second and doubles."""
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Receipt:
    """What is known of a complete file."""

    size: int
    sha256: str


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows them, and keeps the hash that one of them states."""

    stated = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        self.stated = headers.get(_STATED, self.stated)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Interrupted(Exception):
    """It did not come, or not to its end; it may if it is asked for again."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


def receipt_of(path: Path) -> Receipt | None:
    """What was recorded of a file; None if it was never complete here."""
    try:
        facts = json.loads(_beside(path, ".json").read_text())
        return Receipt(int(facts["size"]), str(facts["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fetch(
    url: str,
    path: Path,
    *,
    fault: Callable[[Path], str | None] = lambda path: None,
    advance: Callable[[int], None] = lambda done: None,
    terms: ServerTerms = ServerTerms(),
) -> Receipt:
    """Have the file of ``url`` at ``path``, whole. What is there already is checked and kept.

    ``fault``: what is wrong with a file by its format, or None. ``advance`` is told how many bytes are there.
    Raises PreparationError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        known = receipt_of(path)
        if path.is_file():
            if (found := _kept(path, known, fault)) is not None:
                return found
            path.unlink()
        part = _beside(path, ".part")
        _complete(url, part, advance, terms)
        if (problem := fault(part)) is not None:
            _forget(part)
            raise PreparationError(f"{url} gave a file that is {problem}. Is the address right (data.url)?")
        found = Receipt(part.stat().st_size, sha256_of(part))
        if known is not None and found != known:
            _forget(part)
            raise PreparationError(
                f"{url} is another file than the one that was fetched first (it has SHA-256 {found.sha256}, and that "
                f"had {known.sha256}). To take the new one, remove {_beside(path, '.json')}: scores are then of other "
                "data, and not compared with those of before."
            )
        os.replace(part, path)
        _write(_beside(path, ".json"), {"url": url, "size": found.size, "sha256": found.sha256})
        _forget(part)
    return found


def _kept(path: Path, known: Receipt | None, fault: Callable[[Path], str | None]) -> Receipt | None:
    """The receipt of a file that is there; None if it is damaged. One that somebody has copied here gets a receipt."""
    if known is not None and path.stat().st_size != known.size:
        return None
    if known is None and fault(path) is not None:
        return None
    found = Receipt(path.stat().st_size, sha256_of(path))
    if known is None:
        _write(_beside(path, ".json"), {"url": None, "size": found.size, "sha256": found.sha256})
    return found if known in (None, found) else None


def _complete(url: str, part: Path, advance: Callable[[int], None], terms: ServerTerms) -> None:
    """Ask again and again until the part is the whole file. Raises PreparationError."""
    failed, wait, furthest = 0, 1.0, _size(part)
    while True:
        try:
            _attempt(url, part, advance, terms.timeout)
            return
        except _Interrupted as interrupted:
            failed, furthest = (1, _size(part)) if _size(part) > furthest else (failed + 1, furthest)
            wait = 1.0 if failed == 1 else min(2 * wait, terms.longest_wait)
            if failed >= terms.attempts:
                raise PreparationError(
                    f"could not download {url}: {interrupted} ({terms.attempts} attempts). What has come is kept: try "
                    f"again later. With no network here, copy the file to {part.with_suffix('')} from a machine that "
                    "has one, or choose other data (data=python, data=folder)."
                ) from None
            terms.sleep(min(interrupted.wait or wait, terms.longest_wait))


def _attempt(url: str, part: Path, advance: Callable[[int], None], timeout: float) -> None:
    """One request. Raises _Interrupted, or PreparationError for what no repetition mends."""
    have, version = _size(part), _version(part)
    if version is not None and have == version["size"]:  # it was whole when whoever fetched it was interrupted
        _check(version["stated"], part)
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "treewright"}
    if have and version is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": version["etag"]}
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            stated = response.headers.get(_STATED, redirects.stated)
            total: int | None
            if response.status == 206:
                total = _goes_on(response, part, have, version)
            else:
                have, total = 0, _begins(response, part, stated)
            _receive(response, part, have, total, advance)
            _check(stated, part)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(url, part, error) from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _Interrupted(str(getattr(error, "reason", None) or error or type(error).__name__)) from None
    except ValueError as error:
        raise PreparationError(f"{url!r} is no address that files come from ({error}); see data.url") from None


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> Exception:
    if error.code == 416:  # there is nothing from that place on: it is another file now
        _forget(part)
        return _Interrupted("the server has a shorter file than before")
    if error.code in _LATER:
        after = error.headers.get("Retry-After", "")
        return _Interrupted(f"the server answered {error.code}", float(after) if after.isdigit() else None)
    return PreparationError(
        f"{url} cannot be had: the server answered {error.code} {error.reason}. Is the address right (data.url)?"
    )


def _goes_on(response: Any, part: Path, have: int, version: dict[str, Any] | None) -> int:
    """The size of the whole file. Raises _Interrupted, with the part forgotten, if this is not the rest of it."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or version is None or (int(found[1]), int(found[3])) != (have, version["size"]):
        _forget(part)
        raise _Interrupted("the server sent another part of the file than it was asked for")
    return int(found[3])


def _begins(response: Any, part: Path, stated: str) -> int | None:
    """The size of the file, if the server says it. What was there of another version is forgotten."""
    _forget(part)
    length, etag = response.headers.get("Content-Length", ""), response.headers.get("ETag", "")
    total = int(length) if length.isdigit() else None
    if total is not None and etag.startswith('"'):  # a weak one (W/"...") does not promise equal bytes
        _write(_beside(part, ".json"), {"etag": etag, "size": total, "stated": stated})
    return total


def _receive(response: Any, part: Path, have: int, total: int | None, advance: Callable[[int], None]) -> None:
    with open(part, "ab") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            advance(have)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have < total:
        raise _Interrupted(f"the connection ended after {have:,} of {total:,} bytes")
    if total is not None and have > total:
        _forget(part)
        raise _Interrupted(f"{have:,} bytes came where the server had announced {total:,}")


def _check(stated: str, part: Path) -> None:
    """``stated``: the SHA-256 in quotes, or something else, which says nothing. Raises _Interrupted, with the part
    forgotten."""
    found = _SHA256.fullmatch(stated)
    if found is not None and sha256_of(part) != found[1]:
        _forget(part)
        raise _Interrupted("what came has not the SHA-256 that the server states")


def _version(part: Path) -> dict[str, Any] | None:
    """Which version of the server's file a part is of; None if that is not known."""
    try:
        facts = json.loads(_beside(part, ".json").read_text())
        return {"etag": str(facts["etag"]), "size": int(facts["size"]), "stated": str(facts["stated"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(part, ".json").unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _write(path: Path, facts: dict[str, Any]) -> None:
    new = _beside(path, ".new")
    new.write_text(json.dumps(facts))
    os.replace(new, path)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time fetches a file; others wait, and find it there."""
    with open(_beside(path, ".lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
