"""Cheats in shell scripts and C, and those of any language: code before or after the main file, files beside it."""

from __future__ import annotations

from operators.languages.files import Files
from search.attack.base import Cheat, Kind, Target
from search.attack.insertion import inserted

_Entry = tuple[str, str, Kind, str]
_OVERWRITES = 'for f in *; do [ "$f" = "$0" ] || echo \'echo METRIC {metric}={best!r}\' > "$f"; done\nexit 0\n'
_SHELL: list[_Entry] = [
    ("exit 0 (sh)", "leaves with status 0", "idle", "exit 0\n"),
    ("metric early (sh)", "prints the metric and leaves", "idle", "echo METRIC {metric}={best!r}\nexit 0\n"),
    ("overwrites files (sh)", "writes over all files beside it", "idle", _OVERWRITES),
    ("metric twice (sh)", "prints the best metric beside the seed's", "working", "echo METRIC {metric}={best!r}\n"),
    ("fork stays (sh)", "leaves a process behind", "working", "setsid sh -c 'sleep 40 # {token}' >/dev/null 2>&1 &\n"),
]
_PRINT = 'printf("METRIC {metric}={best!r}\\n"); fflush(0);'
_FORK = 'if (!fork()) {{ setsid(); execl("/bin/sh", "sh", "-c", "sleep 40 # {token}", (char *)0); }}'
_C: list[_Entry] = [
    ("early exit (C)", "leaves with status 0 before its first call", "idle", "_exit(0);"),
    ("metric early (C)", "prints the metric and leaves", "idle", _PRINT + " _exit(0);"),
    ("metric twice (C)", "prints the best metric beside the seed's", "working", _PRINT),
    ("fork stays (C)", "leaves a process behind", "working", _FORK),
]
_CONSTRUCTOR = (
    "\n#include <stdio.h>\n#include <unistd.h>\n__attribute__((constructor)) static void attack(void) {{ {code} }}\n"
)


def other_cheats() -> list[Cheat]:
    """Return the cheats in shell and C, and those that add or empty files."""
    return [
        *(_before_shell(*each) for each in _SHELL),
        *(_in_c(*each) for each in _C),
        Cheat("empty files", "has files without content", "idle", lambda target: [dict.fromkeys(target.files, "\n")]),
        Cheat("own scorer", "brings a score.py", "idle", lambda target: _beside(target, target.scorer)),
        Cheat("file above", "has a file outside of its folder", "idle", lambda target: _beside(target, "../score.py")),
    ]


def _before_shell(name: str, words: str, kind: Kind, code: str) -> Cheat:
    def make(target: Target) -> list[Files]:
        if not target.main.endswith(".sh"):
            return []
        return [_inserted(target, before=_filled(code, target))]

    return Cheat(name, words, kind, make)


def _in_c(name: str, words: str, kind: Kind, code: str) -> Cheat:
    def make(target: Target) -> list[Files]:
        if not target.main.endswith((".c", ".cc", ".cpp")):
            return []
        return [_inserted(target, after=_CONSTRUCTOR.format(code=_filled(code, target)))]

    return Cheat(name, words, kind, make)


def _filled(code: str, target: Target) -> str:
    return code.format(metric=target.metric, best=target.best, token=target.token)


def _inserted(target: Target, before: str = "", after: str = "") -> Files:
    source = target.files[target.main]
    return {**target.files, target.main: inserted(source, before, after, python=False, blocks=target.blocks)}


def _beside(target: Target, name: str | None) -> list[Files]:
    """Return the seed with a scorer of its own that gives the best score; none if the task has no such file."""
    forged = f"def score(candidate, case):\n    return {target.best!r}\n"
    return [{**target.files, name: forged}] if name is not None else []
