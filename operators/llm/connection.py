"""What a connection is made from: address, proxies, certificates and key, each with a message that names its source."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

from operators.llm.base import InvalidSetting, KeyRefused
from operators.llm.refusals import short
from operators.llm.secrets import without_user

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def connecting(base_url: str | None, variable: str) -> Iterator[None]:
    """Translate what fails while a client is made, before anything is sent. Raises ``InvalidSetting``.

    ``variable``: the environment variable that the SDK reads the address from if ``base_url`` is None.
    """
    import httpx2

    if (wrong := _wrong_address(base_url, variable)) is not None:
        raise InvalidSetting(wrong)
    try:
        yield
    except (ImportError, OSError, TypeError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise InvalidSetting(f"{_at_fault()}: {without_user(short(str(error)))}") from None


def _wrong_address(base_url: str | None, variable: str) -> str | None:
    """Return what is wrong with the address of the service, or None."""
    address = base_url or os.environ.get(variable)
    if not address or _is_address(address):
        return None
    name = "llm.base_url" if base_url else variable
    return f"{name} is {without_user(address)!r}; expected an address such as http://127.0.0.1:8000/v1"


def _at_fault() -> str:
    """Return the variable of the environment that a client cannot be made with, and what is expected of it."""
    for name, value in _environment(_PROXIES):
        if value.lower().startswith("socks"):
            return (
                f"{name} is {without_user(value)!r}, a SOCKS proxy, which needs a package: pip install socksio, "
                "or unset it"
            )
        if not _is_address(value if "://" in value else f"http://{value}"):
            return f"{name} is {without_user(value)!r}; expected an address such as http://127.0.0.1:3128, or unset it"
    for name, value in _environment(_CERTIFICATES):
        return f"{name} is {value!r}; expected certificates that can be read, or unset it"
    return "the client of the language model cannot be made; check llm.base_url and the proxy variables"


def _environment(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the variables that are set, in lower and in upper case."""
    for name in names:
        for spelling in dict.fromkeys((name.lower(), name.upper())):
            if value := os.environ.get(spelling):
                yield spelling, value


def _is_address(text: str) -> bool:
    import httpx2

    try:
        url = httpx2.URL(text)
        return url.scheme in ("http", "https") and bool(url.host) and (url.port is None or 0 < url.port < 2**16)
    except (httpx2.InvalidURL, ValueError, TypeError):
        return False


def checked_key(key: str | None, variable: str | None) -> str | None:
    """Return a key that a header can hold. Raises ``KeyRefused``."""
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise KeyRefused(
            f"{variable or 'the key'} holds a blank, a line end or another character that no key has; "
            "set it to the key alone"
        )
    return key


def require_numbers(timeout: float, max_tokens: int, retries: int) -> None:
    """Raise ``ValueError`` for limits that no call can have."""
    for name, value, least in (("timeout", timeout, 0.0), ("max_tokens", max_tokens, 1), ("retries", retries, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < least:
            raise ValueError(f"llm.{name} is {value!r}; expected a number of at least {least:g}")
    if timeout == 0:
        raise ValueError("llm.timeout is 0; expected seconds above 0")
    for name, value, most in (
        ("timeout", timeout, 10**6),
        ("max_tokens", max_tokens, 10**9),
        ("retries", retries, 1000),
    ):
        if value > most:  # a wait of more seconds than the system can count, and attempts without an end
            raise ValueError(f"llm.{name} is {value}; expected at most {most:,}")
    if int(max_tokens) != max_tokens or int(retries) != retries:
        raise ValueError(f"llm.max_tokens is {max_tokens} and llm.retries is {retries}; expected whole numbers")
