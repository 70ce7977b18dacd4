"""Removal of keys and passwords from every text that comes from or goes to a model.

A service may quote a key in its error ("Incorrect API key provided: ..."), a proxy may send a header back as an
answer, an address may hold a password, and a log of a candidate that was run without a sandbox may show the
environment. The meter passes all such text through ``Secrets.hide`` before it is sent, recorded or shown.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "[hidden]"
_NAMES = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST = 12
"""Characters: a shorter value of such a variable is no key, and hiding it would garble ordinary words."""
_SHORTEST_PASSWORD = 4
_LONGEST_LOGIN = 1_000_000
_TOKEN = re.compile(r"[\w.~+/=-]{20,}")
"""What is a key or a token in a login file."""
_USER = re.compile(r"(?<=://)[^/@\s\"']+@")


@dataclass(frozen=True)
class Secrets:
    """Texts to hide, the longest first."""

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str], keys: Iterable[str] = (), urls: Iterable[str] = ()) -> Secrets:
        """Collect secrets.

        Args:
            environment: Values of variables with names like a key are secrets.
            keys: Secrets whatever they look like.
            urls: User and password are secrets, as written and as an HTTP header would carry them.
        """
        found = {value for name, value in environment.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
        found |= {key for key in keys if key.strip()}
        for url in urls:
            found |= _of_address(url)
        return cls(tuple(sorted(found, key=lambda value: (-len(value), value))))

    def hide(self, text: str) -> str:
        """Return ``text`` with every secret replaced."""
        for value in self.values:
            text = text.replace(value, HIDDEN)
        return text


def tokens_in(path: Path) -> list[str]:
    """Return the keys and tokens of a login file; none if there is no such file."""
    try:
        return _TOKEN.findall(path.read_bytes()[:_LONGEST_LOGIN].decode(errors="replace"))
    except OSError:
        return []


def without_user(text: str) -> str:
    """Replace user and password of addresses: ``http://user:word@host`` becomes ``http://[hidden]@host``."""
    return _USER.sub(f"{HIDDEN}@", text)


def _of_address(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
        password, user = parts.password or "", parts.username or ""
    except ValueError:  # not an address; its use will raise an error
        return set()
    plain = unquote(password)
    basic = base64.b64encode(f"{unquote(user)}:{plain}".encode()).decode() if user or password else ""
    spellings = {password, plain, quote(plain, safe="")}
    return {word for word in spellings if len(word) >= _SHORTEST_PASSWORD} | ({basic} if basic else set())
