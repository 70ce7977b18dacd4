"""Decode the obvious encodings of text in a program's literals and output, to compare it with evaluation text.

Cheap and finite on purpose. Better hidden text is bounded by how much data a program may carry
(``train.language_model.static_checks``).
"""

from __future__ import annotations

import ast
import base64
import binascii
import bz2
import lzma
import re
import string
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from train.language_model.program import AmbiguousSource, literals

_SHORT = 16  # bytes or numbers: shorter literals cannot hold a quotation
_UNPACKED = 1_000_000
_UNPACKED_TOGETHER = 4_000_000
"""Bytes that all literals of a program may decode to. Those of an honest program of 64 KB take less than half of it;
60 characters can hold 40 MB, and each megabyte takes half a second to check."""

_ESCAPES = re.compile(rb"(?:\\x|\\u00|%)([0-9a-fA-F]{2})")
_HEXADECIMAL = re.compile(rb"(?:(?:0x)?[0-9a-fA-F]{2}[\s,:]*){16,}")


def decoded_literals(text: str, tree: ast.Module) -> Iterator[bytes]:
    """Yield the source and its literals decoded, joined, strided, shifted and reversed, as bytes.

    Raises AmbiguousSource if the literals decode to far more than they are.
    """
    values = list(literals(tree))
    yield from _characters(text)
    yield from _characters("".join(value for value in values if isinstance(value, str)))
    strings = [
        value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        for value in values
        if isinstance(value, str | bytes)
    ]
    joined = b"".join(strings)
    yield from _within(_UNPACKED_TOGETHER, chain.from_iterable(map(_unpacked, dict.fromkeys((*strings, joined)))))
    yield from _rotated(joined)
    yield from _strided(joined)
    integers = [value for value in values if isinstance(value, int)]
    yield from _numbers(integers)
    yield from _numbers([int(digits) for digits in re.findall(rb"\d{1,3}", joined)])
    for display in _displays(tree):
        yield from _shifted(display)


def decoded_output(text: str) -> Iterator[bytes]:
    """Yield what a program has printed decoded in the same ways, as bytes: as it is, its escapes, words and numbers.

    Raises AmbiguousSource if it decodes to far more than it is.
    """
    yield from _characters(text)
    printed = text.encode("utf-8", "surrogatepass")
    yield printed[::-1]
    yield _ESCAPES.sub(lambda match: bytes([int(match[1], 16)]), printed)
    words = [*re.findall(rb"\S{16,}", printed), *re.findall(rb"[A-Za-z0-9+/=_-]{16,}", printed)]
    digits = [re.sub(rb"0x|[^0-9a-fA-F]", b"", run) for run in _HEXADECIMAL.findall(printed)]
    parts = dict.fromkeys((*words, *digits, b"".join(printed.split()), b"".join(digits)))
    yield from _within(_UNPACKED_TOGETHER, chain.from_iterable(map(_unpacked, parts)))
    yield from _rotated(printed)
    yield from _strided(printed)
    yield from _numbers([int(number) for number in re.findall(rb"\d{1,40}", printed)])


def _characters(text: str) -> Iterator[bytes]:
    """Yield text as UTF-8, with wide and styled letters made plain, and what tag characters spell."""
    yield text.encode("utf-8", "surrogatepass")
    yield unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")
    yield bytes(ord(character) & 0x7F for character in text if ord(character) > 0x7F)


def _strided(data: bytes) -> Iterator[bytes]:
    """Yield every second to every eighth byte, from each start."""
    yield from (data[start::step] for step in range(2, 9) for start in range(step))


def _within(most: int, parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts. Raises AmbiguousSource as soon as they have more than ``most`` bytes together."""
    for part in parts:
        if (most := most - len(part)) < 0:
            raise AmbiguousSource(f"has literals that unpack to more than {_UNPACKED_TOGETHER:,} bytes")
        yield part


def _unpacked(data: bytes) -> Iterator[bytes]:
    """Yield data as is, decoded from hexadecimal and base 64, 85 and 32, reversed, and each of these decompressed."""
    if len(data) < _SHORT:
        return
    layers = [data]
    for decode in (binascii.unhexlify, base64.b64decode, base64.b85decode, base64.b32decode, base64.a85decode):
        try:
            layers.append(decode(data))
        except (ValueError, binascii.Error):
            continue
    for layer in [*layers, *(layer[::-1] for layer in layers)]:
        yield layer
        yield from _decompressed(layer)


def _decompressed(data: bytes) -> Iterator[bytes]:
    """Yield data decompressed by zlib, gzip, raw deflate, bzip2 and xz: at most a million bytes each."""
    for unpack in (
        zlib.decompressobj().decompress,
        zlib.decompressobj(31).decompress,
        zlib.decompressobj(-15).decompress,
        bz2.BZ2Decompressor().decompress,
        lzma.LZMADecompressor(memlimit=64_000_000).decompress,
    ):
        try:
            yield unpack(data, _UNPACKED)
        except (OSError, ValueError, zlib.error, lzma.LZMAError):  # another format
            continue


def _rotated(data: bytes) -> Iterator[bytes]:
    """Yield data under every Caesar shift of the alphabet, 1 to 25 letters."""
    lower = string.ascii_lowercase.encode()
    data = data.lower()
    for turn in range(1, 26):
        yield data.translate(bytes.maketrans(lower, lower[turn:] + lower[:turn]))


def _numbers(numbers: list[int]) -> Iterator[bytes]:
    """Yield numbers below 256 as bytes, and large numbers as their joined binary forms in both byte orders."""
    yield bytes(number for number in numbers if 0 <= number < 256)
    large = [number for number in numbers if number >= 1 << 16]
    big = [number.to_bytes(-(-number.bit_length() // 8), "big") for number in large]
    yield b"".join(big)
    yield b"".join(each[::-1] for each in big)


def _displays(tree: ast.Module) -> Iterator[list[int]]:
    """Yield the integers, negative ones included, of each list, tuple and set display."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set) and len(node.elts) >= _SHORT:
            yield [number for part in node.elts if (number := _whole(part)) is not None]


def _whole(node: ast.expr) -> int | None:
    """Return the value of an integer literal, possibly negated, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _whole(node.operand)
        return None if number is None else -number
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    return None


def _shifted(numbers: list[int]) -> Iterator[bytes]:
    """Yield numbers as bytes: reversed, plus a constant, xor a constant, and their cumulative sums plus a constant."""
    if len(numbers) < _SHORT or max(numbers) - min(numbers) > 255:
        return
    yield bytes(number & 255 for number in reversed(numbers))
    for key in range(256):
        yield bytes((number + key) & 255 for number in numbers)
        yield bytes((number ^ key) & 255 for number in numbers)
    total, sums = 0, []
    for number in numbers:
        total += number
        sums.append(total & 255)
    for key in range(256):
        yield bytes((value + key) & 255 for value in sums)
