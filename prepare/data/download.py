"""Resumable, checksum-verified, atomic HTTP downloads with retries.

Next to ``FILE`` lies ``FILE.json`` with its size and SHA-256, written when the file was first complete; every later use
verifies the file against it. An incomplete download is ``FILE.part``, and ``FILE.part.json`` identifies the version of
the file on the server (its strong ETag and its size). Only a download of the same version is resumed.

No small library does all of this: pooch and fsspec do not resume, and huggingface_hub downloads from its own servers
only, while ``data.url`` may be any server.
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
from prepare.data.folders import make, sha256_of

_CHUNK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_SHA256 = re.compile(r'"([0-9a-f]{64})"')
_SHA256_HEADER = "X-Linked-ETag"
"""Header in which Hugging Face gives the SHA-256 of a large file, on the redirect to its storage. The ETag of the
storage may also be 64 hexadecimal digits, but of another hash: it only identifies versions."""
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP status codes that are worth a retry."""


@dataclass(frozen=True)
class RetryPolicy:
    """Retries and time limits of a download."""

    attempts: int = 6
    """Consecutive attempts without any new data before the download fails."""
    timeout: float = 60.0
    """Seconds without data after which an attempt ends."""
    longest_wait: float = 30.0
    """Longest wait between two attempts in seconds; the first is one second, each further one twice as long."""
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Receipt:
    """Size in bytes and SHA-256 of a complete file."""

    size: int
    sha256: str


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, and keep the SHA-256 that one of them gives."""

    stated = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        self.stated = headers.get(_SHA256_HEADER, self.stated)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Interrupted(Exception):
    """The download failed or broke off; worth a retry. ``wait``: the server's Retry-After in seconds."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


def receipt_of(path: Path) -> Receipt | None:
    """Return the recorded size and SHA-256 of a file; None if it was never complete here."""
    try:
        facts = json.loads(_sibling(path, ".json").read_text())
        return Receipt(int(facts["size"]), str(facts["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fetch(
    url: str,
    path: Path,
    *,
    fault: Callable[[Path], str | None] = lambda path: None,
    advance: Callable[[int], None] = lambda done: None,
    retry: RetryPolicy = RetryPolicy(),
) -> Receipt:
    """Download ``url`` to ``path``. An existing file is verified and kept.

    fault: returns why a file is invalid by its format, or None. advance: receives the number of bytes on disk.
    Raises PreparationError.
    """
    make(path.parent)
    with _locked(path):
        known = receipt_of(path)
        if path.is_file():
            if (found := _verified(path, known, fault)) is not None:
                return found
            path.unlink()
        part = _sibling(path, ".part")
        _download(url, part, advance, retry)
        if (problem := fault(part)) is not None:
            _discard(part)
            raise PreparationError(f"{url} gave a file that is {problem}. Is the address right (data.url)?")
        found = Receipt(part.stat().st_size, sha256_of(part))
        if known is not None and found != known:
            _discard(part)
            raise PreparationError(
                f"{url} differs from the file that was fetched first (it has SHA-256 {found.sha256}, and that "
                f"had {known.sha256}). To accept the new one, remove {_sibling(path, '.json')}: its scores are not "
                "comparable with earlier ones."
            )
        os.replace(part, path)
        _write_json(_sibling(path, ".json"), {"url": url, "size": found.size, "sha256": found.sha256})
        _discard(part)
    return found


def _verified(path: Path, known: Receipt | None, fault: Callable[[Path], str | None]) -> Receipt | None:
    """Return the receipt of an existing file; None if it is damaged. Writes one for a file that was copied here."""
    if known is not None and path.stat().st_size != known.size:
        return None
    if known is None and fault(path) is not None:
        return None
    found = Receipt(path.stat().st_size, sha256_of(path))
    if known is None:
        _write_json(_sibling(path, ".json"), {"url": None, "size": found.size, "sha256": found.sha256})
    return found if known in (None, found) else None


def _download(url: str, part: Path, advance: Callable[[int], None], retry: RetryPolicy) -> None:
    """Repeat attempts until the part is complete. Raises PreparationError."""
    failed, wait, furthest = 0, 1.0, _size(part)
    while True:
        try:
            _attempt(url, part, advance, retry.timeout)
            return
        except _Interrupted as interrupted:
            failed, furthest = (1, _size(part)) if _size(part) > furthest else (failed + 1, furthest)
            wait = 1.0 if failed == 1 else min(2 * wait, retry.longest_wait)
            if failed >= retry.attempts:
                raise PreparationError(
                    f"could not download {url}: {interrupted} ({retry.attempts} attempts). The part received is kept: "
                    f"try again later. Without a network, copy the file from another machine to {part.with_suffix('')}"
                    ", or choose other data (data=python, data=folder)."
                ) from None
            retry.sleep(min(interrupted.wait or wait, retry.longest_wait))


def _attempt(url: str, part: Path, advance: Callable[[int], None], timeout: float) -> None:
    """Make one request. Raises _Interrupted, or PreparationError for permanent errors."""
    have, version = _size(part), _version(part)
    if version is not None and have == version["size"]:  # an earlier process was interrupted after the last byte
        _check(version["stated"], part)
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": "treewright"}
    if have and version is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": version["etag"]}
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            stated = response.headers.get(_SHA256_HEADER, redirects.stated)
            total: int | None
            if response.status == 206:
                total = _resumed_size(response, part, have, version)
            else:
                have, total = 0, _restarted_size(response, part, stated)
            _receive(response, part, have, total, advance)
            _check(stated, part)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(url, part, error) from None
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _Interrupted(str(getattr(error, "reason", None) or error or type(error).__name__)) from None
    except ValueError as error:
        raise PreparationError(f"{url!r} is not a download address ({error}); see data.url") from None


def _refused(url: str, part: Path, error: urllib.error.HTTPError) -> Exception:
    """Return the exception for an HTTP error: _Interrupted if it is transient, else PreparationError."""
    if error.code == 416:  # range not satisfiable: the file has changed
        _discard(part)
        return _Interrupted("the server has a shorter file than before")
    if error.code in _TRANSIENT:
        after = error.headers.get("Retry-After", "")
        return _Interrupted(f"the server answered {error.code}", float(after) if after.isdigit() else None)
    return PreparationError(
        f"{url} is not available: the server answered {error.code} {error.reason}. Is the address right (data.url)?"
    )


def _resumed_size(response: Any, part: Path, have: int, version: dict[str, Any] | None) -> int:
    """Return the size of the whole file. Discards the part and raises _Interrupted if the range is not its rest."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or version is None or (int(found[1]), int(found[3])) != (have, version["size"]):
        _discard(part)
        raise _Interrupted("the server sent a different range of the file than requested")
    return int(found[3])


def _restarted_size(response: Any, part: Path, stated: str) -> int | None:
    """Discard the part, record the version, and return the size of the file, if the server gives it."""
    _discard(part)
    length, etag = response.headers.get("Content-Length", ""), response.headers.get("ETag", "")
    total = int(length) if length.isdigit() else None
    if total is not None and etag.startswith('"'):  # a weak ETag (W/"...") does not guarantee equal bytes
        _write_json(_sibling(part, ".json"), {"etag": etag, "size": total, "stated": stated})
    return total


def _receive(response: Any, part: Path, have: int, total: int | None, advance: Callable[[int], None]) -> None:
    """Append the response to the part. Raises _Interrupted if its size is wrong."""
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
        _discard(part)
        raise _Interrupted(f"received {have:,} bytes where the server had announced {total:,}")


def _check(stated: str, part: Path) -> None:
    """Compare the part with the SHA-256 that the server gives; discard it and raise _Interrupted if they differ.

    stated: the hash in quotes; any other value is ignored.
    """
    found = _SHA256.fullmatch(stated)
    if found is not None and sha256_of(part) != found[1]:
        _discard(part)
        raise _Interrupted("the file does not have the SHA-256 that the server gives")


def _version(part: Path) -> dict[str, Any] | None:
    """Return the version of the server's file that a part belongs to; None if it is not known."""
    try:
        facts = json.loads(_sibling(part, ".json").read_text())
        return {"etag": str(facts["etag"]), "size": int(facts["size"]), "stated": str(facts["stated"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _sibling(part, ".json").unlink(missing_ok=True)


def _sibling(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _write_json(path: Path, facts: dict[str, Any]) -> None:
    new = _sibling(path, ".new")
    new.write_text(json.dumps(facts))
    os.replace(new, path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file: one process downloads it, and the others wait and then find it."""
    with open(_sibling(path, ".lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
