"""Ranges of parameters, declared by a comment or derived from the value.

A trailing comment declares the range of a parameter:

    WIDTH = 128       # tune: 16..512 log step 16
    KERNEL = 3        # tune: 1..9 step 2                1, 3, 5, 7 or 9: steps are counted from the low end
    HEADS = 4         # tune: 1|2|4|8
    DROPOUT = 0.0     # tune: 0..0.5
    MIXER = 2         # tune: 0|1|2|3 unordered
    BYTES = 256       # tune: no

Without such a comment, or with one that is not of this grammar, the range is derived from the value:

    bool                     both values
    int >= 1                 v/4 .. v*4, log; in steps of 8 if v is a multiple of 8 and at least 16, since heads
                             divide widths
    0.0                      0 .. 0.5
    share in [0.5, 1)        log in 1 - v, over /10 .. *10, not below v/2 (decay rates: 0.9 is as far from
                             0.99 as 0.99 from 0.999)
    share in (0, 0.5)        v/10 .. v*10, log, at most 0.9
    other positive floats    v/10 .. v*10, log
    0 and negative numbers   not searched: there is no scale to derive a range from

A share cannot exceed 1: a value in [0.98, 1), or one in (0, 1) whose name says so (``DROPOUT``, ``BETA1``, ``WARMUP``).

A range is derived once, from the value of the first ancestor, so that it does not move with the values that are tried.
If a later program went out of it, the range is that of the first ancestor whose range holds the present value.

How values are encoded for the search: ``operators.numeric.proposer.ranges``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from operators.languages.parameters import Number, Parameter
from operators.numeric.proposer.ranges import ParameterRange

_NUM = r"[-+]?(?:\d+(?:_\d+)*(?:\.\d+|\.(?!\.))?|\.\d+)(?:[eE][-+]?\d+)?"
"""Accepts only what ``float`` accepts; no two adjacent repeats match the same digits (linear time)."""
_END = r"(?![\w|]|\.[\w.]|\s*\|)"
"""What follows may be prose, but no further part of a number or of a list."""
_SPAN = re.compile(rf"({_NUM})\s*\.\.\s*({_NUM}){_END}((?:\s+log\b|\s+step\s+{_NUM}{_END})*)")
_STEP = re.compile(rf"step\s+({_NUM})")
_CHOICES = re.compile(rf"({_NUM}(?:\s*\|\s*{_NUM})+|True\s*\|\s*False|False\s*\|\s*True){_END}(\s+unordered\b)?")
_SHARE = re.compile(
    r"(?i)(.*_)?(dropout|drop|prob|probability|smoothing|momentum|beta|ema|share|fraction|warmup|warmdown|cooldown)"
    r"_?(rate|prob|share|fraction|[0-9]+)?"
)
_NEARLY_ONE = 0.98
"""No rate or scale is written so: it is the share that a running mean keeps."""
_SIZES = (1e-200, 1e200)


def range_of(parameter: Parameter, earlier: Iterable[Number] = ()) -> ParameterRange | None:
    """Return the declared range, or a derived one; None if the parameter is not searched.

    Args:
        earlier: Values of this parameter in the program's ancestors, the first ancestor first. The first whose derived
            range holds the present value gives the range.
    """
    if not parameter.searchable:
        return None
    if (declared := declared_range(parameter)) is not None:
        return declared
    inherited = (_derived(parameter.name, value) for value in earlier)
    fitting = (span for span in inherited if span is not None and parameter.value in span)
    return next(fitting, _derived(parameter.name, parameter.value))


def declared_range(parameter: Parameter) -> ParameterRange | None:
    """Return the range that the comment of a parameter declares; None without one of the grammar above."""
    return _declared(parameter.tune, parameter.value) if parameter.tune is not None else None


def has_invalid_range(parameter: Parameter) -> bool:
    """Return whether the text after ``tune:`` is not of the grammar above."""
    return parameter.tune is not None and parameter.searchable and declared_range(parameter) is None


def format_range(span: ParameterRange) -> str:
    """Return a range in the grammar of comments: ``16..512 log step 16``."""
    if span.choices:
        return "|".join(repr(choice) for choice in span.choices) + (" unordered" if span.unordered else "")
    low, high = (f"{end:g}" for end in (span.low, span.high))
    log = {"linear": "", "log": " log", "complement": " (close to 1)"}[span.scale]
    unit = 1 if span.integer else 0
    return f"{low}..{high}{log}" + (f" step {span.step:g}" if span.step > unit else "")


def _declared(comment: str, value: Number) -> ParameterRange | None:
    if choices := _CHOICES.match(comment):
        listed = _listed(choices[1], value)
        return replace(listed, unordered=True) if listed is not None and choices[2] else listed
    span = _SPAN.match(comment)
    if span is None or isinstance(value, bool):
        return None
    low, high, log = float(span[1]), float(span[2]), "log" in span[3]
    integer = isinstance(value, int)
    stated = _STEP.search(span[3])
    step = float(stated[1]) if stated else float(integer)
    if not all(map(math.isfinite, (low, high, step))) or (log and low <= 0):
        return None
    if integer:
        low, high = math.ceil(low), math.floor(high)
    if not low < high or not step <= high - low or (stated and step <= 0) or (integer and not step.is_integer()):
        return None
    return ParameterRange(low, high, "log" if log else "linear", integer, int(step) if integer else step)


def _listed(text: str, value: Number) -> ParameterRange | None:
    parts = [part.strip() for part in text.split("|")]
    if isinstance(value, bool):
        return _BOTH if set(parts) == {"True", "False"} else None
    if "True" in parts:
        return None
    numbers = [float(part) for part in parts]
    if not all(map(math.isfinite, numbers)):
        return None
    if isinstance(value, int) and not all(number.is_integer() for number in numbers):
        return None
    choices: set[Number] = {int(number) if isinstance(value, int) else number for number in numbers}
    return ParameterRange(min(choices), max(choices), integer=isinstance(value, int), choices=tuple(sorted(choices)))


_BOTH = ParameterRange(0, 1, choices=(False, True))


def _derived(name: str, value: Number) -> ParameterRange | None:
    if isinstance(value, bool):
        return _BOTH
    if value == 0.0 and isinstance(value, float):
        return ParameterRange(0.0, 0.5)
    if not _SIZES[0] < value < _SIZES[1]:
        return None
    if isinstance(value, int):
        step = 8 if value >= 16 and value % 8 == 0 else 1
        low = max(step, value // 4 // step * step)
        return ParameterRange(low, 4 * value, "log", integer=True, step=step)
    share = value < 1.0 and (value >= _NEARLY_ONE or _SHARE.fullmatch(name) is not None)
    if share and value >= 0.5:
        rest = 1.0 - value
        return ParameterRange(max(value / 2, round(1.0 - 10 * rest, 9)), round(1.0 - rest / 10, 9), "complement")
    return ParameterRange(value / 10, min(10 * value, 0.9) if share else 10 * value, "log")
