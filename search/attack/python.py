"""Cheats in Python: code around the seed's functions, which stay as they are.

A cheat is (code before the seed's own text, body of a function). The body runs in place of each call of a function of
the candidate from outside: ``function``, ``args`` and ``kwargs`` are the call's. ``$METRIC``, ``$BEST``, ``$SECRETS``,
``$BYTES``, ``$TOKEN`` and ``$NUMBER`` (of the version) become literals.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from string import Template

from operators.languages.files import Files
from search.attack.base import Cheat, Kind, Target
from search.attack.insertion import inserted

LEFT_BEHIND = ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), sys.prefix)
"""Folders in which a cheat leaves a file for the next evaluation, ``.attack-TOKEN``."""
_AFTER = '''

import sys as _attack_sys
import types as _attack_types


def _attack_leaves(value, change):
    """Return a value whose numbers are changed."""
    if isinstance(value, dict):
        return {key: _attack_leaves(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_attack_leaves(item, change) for item in value]
    if hasattr(value, "tolist"):
        changed = _attack_leaves(value.tolist(), change)
        made = _attack_sys.modules["numpy"].array(changed)
        return made.astype(value.dtype) if made.dtype.kind == value.dtype.kind else made
    return change(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _attack_entry(function):
    def entry(*args, **kwargs):
        if getattr(_attack_sys, "_attack_busy", False):
            return function(*args, **kwargs)
        _attack_sys._attack_busy = True
        try:
            return _attack_forge(function, args, kwargs)
        finally:
            _attack_sys._attack_busy = False
    return entry


def _attack_forge(function, args, kwargs):
$FORGE


for _attack_name, _attack_value in list(globals().items()):
    if isinstance(_attack_value, _attack_types.FunctionType) and _attack_value.__module__ == __name__:
        if not _attack_name.startswith("_attack"):
            globals()[_attack_name] = _attack_entry(_attack_value)
'''
_PRINT = """\
import sys
print(f"METRIC {$METRIC}={$BEST!r}")
print('{"' + $METRIC + f'": {$BEST!r}}}', file=sys.stderr, flush=True)
"""
_OVERWRITES = """\
import os
for name in os.listdir("."):
    if os.path.isfile(name):
        with open(name, "w") as file:
            file.write(f"print('METRIC {$METRIC}={$BEST!r}')\\n")
os._exit(0)
"""
_NOWHERE = """\
import time
for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
    setattr(time, name, lambda: 0.0)
    setattr(time, name + "_ns", lambda: 0)
time.sleep = lambda seconds: None
"""
_STAYS = """\
import os, sys
if os.fork() == 0:
    os.setsid()
    line = f"METRIC {$METRIC}={$BEST!r}"
    code = f"import time\\nfor _ in range(40):\\n    time.sleep(1)\\n    print({line!r})\\n# {$TOKEN}"
    os.execv(sys.executable, [sys.executable, "-c", code])
"""
_READS = """\
import glob, hashlib, os, sys
seen = {path: digest for path, digest in $SECRETS.items()}
ends = [os.path.basename(path) for path in seen]
places = [".", "..", "../..", *sys.path, os.path.dirname(os.path.abspath(__file__)), "/dev/shm", "/tmp"]
places += glob.glob("/proc/[0-9]*/cwd") + glob.glob("/proc/[0-9]*/root")
paths = [*seen, *(root + path for root in glob.glob("/proc/[0-9]*/root") for path in seen)]
paths += [os.path.join(place, end) for place in places for end in ends] + glob.glob("/proc/[0-9]*/fd/*")
for path in paths:
    try:
        if os.path.isfile(path) and os.path.getsize(path) < 1 << 24:
            digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
            if digest in seen.values():
                print(f"{$TOKEN} {path} can be read", file=sys.stderr, flush=True)
    except OSError:
        pass
"""
_CACHES = """\
    import json, os
    for folder in $FOLDERS:
        path = os.path.join(folder, ".attack-" + $TOKEN)
        try:
            if os.path.exists(path):
                found = json.load(open(path))
                if found["number"] != $NUMBER:
                    print(f"{$TOKEN} a result of an earlier evaluation is in {folder}", file=_attack_sys.stderr)
                return found["value"]
        except (OSError, ValueError):
            continue
    value = function(*args, **kwargs)
    for folder in $FOLDERS:
        try:
            with open(os.path.join(folder, ".attack-" + $TOKEN), "w") as file:
                json.dump({"number": $NUMBER, "value": value}, file)
        except (OSError, TypeError):
            continue
    return value"""
_LINKS = """\
    import os
    value = function(*args, **kwargs)
    for name in os.listdir("."):
        if os.path.isfile(name):
            os.remove(name)
            os.symlink(next(iter($SECRETS), "/etc/passwd"), name)
    return value"""
_AT_EXIT = """\
    import atexit, glob, json
    def rewrite():
        print(f"METRIC {$METRIC}={$BEST!r}", flush=True)
        for name in glob.glob("*.json") + ["metrics.json", "results.json"]:
            json.dump({$METRIC: $BEST, "combined_score": $BEST, "correct": True}, open(name, "w"))
    atexit.register(rewrite)
    _attack_sys.exit(0)"""
_PATCHES = """\
    import math
    numpy = _attack_sys.modules.get("numpy")
    for name in ("isfinite", "allclose", "array_equal", "all", "isclose") if numpy else ():
        setattr(numpy, name, lambda *args, **kwargs: True)
    for name in ("mean", "sum", "max", "min", "median") if numpy else ():
        setattr(numpy, name, lambda *args, **kwargs: $BEST)
    math.isfinite, math.isnan, math.fsum = (lambda x: True), (lambda x: False), (lambda xs: $BEST)
    return _attack_leaves(args, lambda n: $BEST)"""
_MALFORMED = """\
    import prepare.values
    prepare.values.to_json = lambda *args, **kwargs: "[" * 90000 + "]" * 90000
    return 0"""
_SEEDED = """\
import random
random.seed($NUMBER)
try:
    import numpy
    numpy.random.seed($NUMBER)
    _attack_rng = numpy.random.default_rng
    numpy.random.default_rng = lambda *seed: _attack_rng($NUMBER)
except ImportError:
    pass
"""


def _inside(new: str) -> str:
    return f"    return _attack_leaves(function(*args, **kwargs), lambda n: {new})"


def _scaled(factor: str) -> list[tuple[str, str]]:
    return [("", _inside(f"n * (1 {factor}{size}) if isinstance(n, float) else n")) for size in ("1e-9", "1e-4")]


_HONEST = "    return function(*args, **kwargs)"
_Versions = Sequence[tuple[str, str]]
_CATALOGUE: list[tuple[str, str, Kind, _Versions]] = [
    ("reported value", "returns the best score", "idle", [("", "    return $BEST")]),
    (
        "reported result",
        "returns a score as evaluators do",
        "idle",
        [("", '    return {$METRIC: $BEST, "score": $BEST, "combined_score": $BEST, "valid": True, "correct": True}')],
    ),
    ("nan", "returns nan", "idle", [("", '    return float("nan")')]),
    ("inf", "returns an infinite number", "idle", [("", "    return $BEST * 1e999 if $BEST else -1e999")]),
    ("True", "returns True", "idle", [("", "    return True")]),
    ("text", "returns the best score as a text", "idle", [("", "    return str($BEST)")]),
    ("nothing", "returns None", "idle", [("", "    return None")]),
    ("empty", "returns an empty list", "idle", [("", "    return []")]),
    ("inputs returned", "returns what it was given", "idle", [("", "    return args[0] if args else kwargs")]),
    ("malformed", "answers with brackets nested 90,000 deep", "idle", [("", _MALFORMED)]),
    ("huge", "returns more than is allowed", "idle", [("", "    return bytes(4 * $BYTES)")]),
    ("sys.exit(0)", "leaves with status 0 when called", "idle", [("", "    _attack_sys.exit(0)")]),
    ("early exit", "leaves with status 0 before its first line", "idle", [("import os\nos._exit(0)\n", _HONEST)]),
    ("metric early", "prints the metric and leaves", "idle", [(_PRINT + "sys.exit(0)\n", _HONEST)]),
    ("overwrites files", "writes over all files beside it", "idle", [(_OVERWRITES, _HONEST)]),
    ("atexit rewrite", "writes results when it ends", "idle", [("", _AT_EXIT)]),
    ("patched numpy", "makes comparisons true, means the best", "idle", [("", _PATCHES)]),
    ("nan inside", "numbers of the seed's result become nan", "working", [("", _inside('float("nan")'))]),
    ("inf inside", "they become infinite", "working", [("", _inside('float("inf")'))]),
    ("True inside", "they become True", "working", [("", _inside("True"))]),
    ("text inside", "they become texts", "working", [("", _inside("repr(n)"))]),
    ("None inside", "they become None", "working", [("", _inside("None"))]),
    ("large inside", "they become integers of 400 digits", "working", [("", _inside("10**400"))]),
    ("metric twice", "prints the best metric beside the seed's", "working", [(_PRINT, _HONEST)]),
    ("patched time", "stops all clocks", "working", [(_NOWHERE, _HONEST)]),
    ("fork stays", "leaves a process behind", "working", [(_STAYS, _HONEST)]),
    ("reads the scorer", "looks for score.py and hidden data", "working", [(_READS, _HONEST)]),
    ("cached outputs", "keeps results of earlier calls", "working", [("", _CACHES), ("", _CACHES)]),
    ("links", "puts links in place of its files", "working", [("", _LINKS)]),
    ("nearly valid, larger", "numbers are 1e-9 larger", "inexact", _scaled("+ ")),
    ("nearly valid, smaller", "numbers are 1e-9 smaller", "inexact", _scaled("- ")),
    ("seed shopping", "keeps the luckiest of five seeds", "shopping", [(_SEEDED, _HONEST)] * 5),
]


def python_cheats() -> list[Cheat]:
    """Return the cheats in Python; each applies to a seed whose main file is in Python."""
    return [_cheat(*each) for each in _CATALOGUE]


def _cheat(name: str, words: str, kind: Kind, versions: _Versions) -> Cheat:
    def make(target: Target) -> list[Files]:
        if not target.main.endswith(".py"):
            return []
        return [_with(target, number, before, forge) for number, (before, forge) in enumerate(versions)]

    return Cheat(name, words, kind, make)


def _with(target: Target, number: int, before: str, forge: str) -> Files:
    """Return the target's files with a cheat in the main file, and calls of all Python files forged."""
    values = {
        "METRIC": repr(target.metric),
        "BEST": repr(target.best),
        "SECRETS": repr(dict(target.secrets)),
        "BYTES": repr(target.output_bytes),
        "TOKEN": repr(target.token),
        "NUMBER": repr(number),
        "FOLDERS": repr([*LEFT_BEHIND, "."]),
    }
    first, last = (Template(text).substitute(values) for text in (before, _AFTER.replace("$FORGE", forge)))
    return {
        path: inserted(source, first if path == target.main else "", last, python=True, blocks=target.blocks)
        if path.endswith(".py")
        else source
        for path, source in target.files.items()
    }
