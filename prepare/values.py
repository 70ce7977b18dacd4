"""Values that pass between a scorer and a candidate: JSON values, numpy arrays and bytes; never pickle.

    packed = 4 bytes, the length of the JSON text | JSON text | bytes of all arrays, one after the other

In the JSON text ``{"$array": [dtype, shape, start]}`` and ``{"$bytes": [start, size]}`` stand for arrays and bytes, and
``{"$map": [[key, value], ...]}`` for a mapping with a key that begins with ``$``. Tuples become lists. Reading executes
nothing and allocates no more than the packed bytes hold.
"""

from __future__ import annotations

import struct

from prepare.json_text import from_json, to_json

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from typing import Any

_SIZE = struct.Struct("<I")
_KINDS = "biufc"
_WIDEST = 16  # bytes of an element: a complex number of two doubles
_DEEPEST = 100


def pack(value: Any) -> bytes:
    """Return the packed bytes. Raises ValueError, naming the type, for what is neither JSON, an array nor bytes."""
    blobs: list[bytes] = []
    sizes = [0]
    text = to_json(_plain(value, blobs, sizes, 0), ascii_only=False).encode("utf-8", "surrogatepass")
    return _SIZE.pack(len(text)) + text + b"".join(blobs)


def unpack(data: bytes | memoryview) -> Any:
    """Return the value of packed bytes from an untrusted side. Raises ValueError if they are malformed."""
    view = memoryview(data)
    if len(view) < _SIZE.size or len(view) < _SIZE.size + (length := _SIZE.unpack_from(view)[0]):
        raise ValueError("the value is cut off")
    start = _SIZE.size + length
    try:
        tree = from_json(bytes(view[_SIZE.size : start]).decode("utf-8", "surrogatepass"))
        return _value(tree, view[start:])
    except (RecursionError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"the value is malformed ({type(error).__name__})") from None


def _plain(value: Any, blobs: list[bytes], sizes: list[int], depth: int) -> Any:
    """Return the JSON part of a value; bytes of arrays are appended to ``blobs``, their number to ``sizes``."""
    if depth > _DEEPEST:
        raise ValueError(f"a value is nested deeper than {_DEEPEST} levels")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": [_append(bytes(value), blobs, sizes), len(bytes(value))]}
    if isinstance(value, list | tuple):
        return [_plain(item, blobs, sizes, depth + 1) for item in value]
    if isinstance(value, dict):
        return _mapping(value, blobs, sizes, depth)
    return _array(value, blobs, sizes)


def _mapping(value: dict[Any, Any], blobs: list[bytes], sizes: list[int], depth: int) -> dict[str, Any]:
    if strange := [key for key in value if not isinstance(key, str)]:
        raise ValueError(f"a mapping has a key of type {type(strange[0]).__name__}; expected text")
    items = [(key, _plain(item, blobs, sizes, depth + 1)) for key, item in value.items()]
    return {"$map": items} if any(key.startswith("$") for key, _ in items) else dict(items)


def _array(value: Any, blobs: list[bytes], sizes: list[int]) -> Any:
    """Pack what numpy makes: an array, or one number. Numpy itself is not imported: who has an array has it."""
    dtype: Any = getattr(value, "dtype", None)
    kind, width = getattr(dtype, "kind", ""), getattr(dtype, "itemsize", 0)
    if (
        not hasattr(value, "tobytes")
        or kind not in _KINDS
        or not kind
        or width > _WIDEST
        or (kind == "f" and width > 8)
    ):
        raise ValueError(
            f"a value of type {type(value).__name__} cannot be passed; expected JSON values, arrays or bytes"
        )
    if value.ndim == 0 and kind in "biuf":
        return value.item()
    little = value.astype(dtype.newbyteorder("<"), copy=False)
    return {"$array": [little.dtype.str, list(value.shape), _append(little.tobytes(), blobs, sizes)]}


def _append(data: bytes, blobs: list[bytes], sizes: list[int]) -> int:
    """Add bytes and return where they start."""
    start = sizes[0]
    blobs.append(data)
    sizes[0] += len(data)
    return start


def _value(tree: Any, blobs: memoryview) -> Any:
    if isinstance(tree, list):
        return [_value(item, blobs) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((key, inside),) = tree.items()
        if key == "$bytes":
            return bytes(_cut(blobs, *inside))
        if key == "$array":
            return _read_array(blobs, *inside)
        if key == "$map":
            return {_text(name): _value(item, blobs) for name, item in inside}
    return {key: _value(item, blobs) for key, item in tree.items()}


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError("a mapping has a key that is no text")
    return name


def _cut(blobs: memoryview, start: Any, size: Any) -> memoryview:
    numbers = isinstance(start, int) and isinstance(size, int)
    if not numbers or start < 0 or size < 0 or start + size > len(blobs):
        raise ValueError("the value is cut off")
    return blobs[start : start + size]


def _read_array(blobs: memoryview, dtype: Any, shape: Any, start: Any) -> Any:
    """Return a copy of an array that can be written to."""
    import math

    import numpy as np

    if not isinstance(dtype, str) or len(dtype) > 8 or not isinstance(shape, list) or len(shape) > 16:
        raise ValueError("an array has no plain dtype and shape")
    kind = np.dtype(dtype)
    if kind.kind not in _KINDS or kind.itemsize > _WIDEST:
        raise ValueError(f"an array has the dtype {kind}; expected numbers")
    if not all(isinstance(side, int) and 0 <= side <= 1 << 40 for side in shape):
        raise ValueError("an array has no shape of whole numbers")
    data = _cut(blobs, start, math.prod(shape) * kind.itemsize)
    return np.frombuffer(data, kind).reshape(shape).copy()
