"""What must never be written down: keys and passwords, hidden in every text that comes from or goes to a model.

A service may quote a key in its error ("Incorrect API key provided: ..."), a proxy may send a header back as an
answer, an address may hold a password, and a log of a candidate that was run without a sandbox may show the
environment. The meter passes all such text through ``Secrets.hide`` before it is sent, recorded or shown.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "[hidden]"
_NAMES = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_SHORTEST = 12
"""Characters: a shorter value of such a variable is no key, and hiding it would garble ordinary words."""
_SHORTEST_PASSWORD = 4
_USER = re.compile(r"(?<=://)[^/@\s\"']+@")


@dataclass(frozen=True)
class Secrets:
    """Texts that are hidden wherever they stand, the longest first."""

    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str], keys: Iterable[str] = (), urls: Iterable[str] = ()) -> Secrets:
        """``environment``: whose variables named like a key count. ``keys`` count whatever they look like.

        ``urls``: addresses whose user and password count, as they stand and as a header would carry them.
        """
        found = {value for name, value in environment.items() if _NAMES.search(name) and len(value) >= _SHORTEST}
        found |= {key for key in keys if key.strip()}
        for url in urls:
            found |= _of_address(url)
        return cls(tuple(sorted(found, key=lambda value: (-len(value), value))))

    def hide(self, text: str) -> str:
        """``text`` without any of them."""
        for value in self.values:
            text = text.replace(value, HIDDEN)
        return text


def without_user(text: str) -> str:
    """``text`` whose addresses have lost user and password: ``http://user:word@host`` is ``http://[hidden]@host``."""
    return _USER.sub(f"{HIDDEN}@", text)


def _of_address(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
        password, user = parts.password or "", parts.username or ""
    except ValueError:  # no address at all; whoever uses it will say so
        return set()
    plain = unquote(password)
    basic = base64.b64encode(f"{unquote(user)}:{plain}".encode()).decode() if user or password else ""
    spellings = {password, plain, quote(plain, safe="")}
    return {word for word in spellings if len(word) >= _SHORTEST_PASSWORD} | ({basic} if basic else set())
