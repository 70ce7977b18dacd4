"""Sections of the system prompt: what a task says of itself. They stay the same for a whole search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from textwrap import fill

from operators.languages.files import editable_files
from operators.sanitize import one_line, quote
from prepare.globs import is_pattern
from prepare.task import Task

_SHOWN = 3000
"""Bytes of the largest read-only file that is shown."""
_ROOM = 9000
"""Bytes of all that are shown."""
_NAMED = 20

_TUNE = (
    "Put numbers that can be tuned into {place}. A numeric search changes them between your turns; a comment on the "
    "same line declares the range:"
)
_WIDTH = 120
_EXAMPLES = (
    ("WIDTH", "128", "16..512 log step 16", "whole numbers in steps of 16, on a logarithmic scale"),
    ("RATE", "0.003", "1e-4..1e-1 log", "a number on a logarithmic scale"),
    ("SHARE", "0.0", "0..0.5", "a number on a linear scale"),
    ("PARTS", "4", "1|2|4|8", "one of these"),
    ("METHOD", "0", "0|1|2 unordered", "one of these, which are names, not amounts"),
    ("LENGTH", "256", "no", "never changed"),
)
_FLAG = "    TIED = True   # True and False are both tried"
_PYTHON = ("{name} = {value}", "#", "module-level constants in capitals, assigned once to a plain number")
_PREPROCESSOR = ("#define {name} {value}", "//", "constants in capitals, each on a line of its own")
_FORMS: Mapping[str, tuple[str, str, str]] = {
    ".py": _PYTHON,
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".hpp", ".cu"), _PREPROCESSOR),
    ".rs": ("const {name}: f64 = {value};", "//", _PREPROCESSOR[2]),
    ".sh": ("{name}={value}", "#", _PREPROCESSOR[2]),
}
"""By a file's ending: how a constant is written, how a comment begins, and where constants have to stand."""
_SEVERAL = """\
A line `FILE: ` with the path of a file stands before the blocks of that file, as it stands above the program's files.
A line `DELETE: ` with a path removes a file."""
_WHOLE_FILE = "the whole new file in one block between lines of three\nbackticks"
_WHOLE_PROGRAM = """\
each new or changed file as a whole: a line
`FILE: ` with its path, then one block between lines of three backticks. Files that are not given stay as in the first
program"""
_NEW = """\
A new file is a line `FILE: ` with its path, which matches {patterns}, and the whole text in one block between lines of
three backticks. Other files may change in the same answer."""


def system_sections(task: Task, files: Mapping[str, str], instructions: str) -> dict[str, str]:
    """Return the sections of the system prompt. ``files``: the first program's. Raises TaskError."""
    return {
        "task": facts(task),
        "contract": task.prompt_info.contract.strip(),
        "readonly": readonly(task.readonly_files()),
        "program": instructions.strip() or "None were given.",
        "several_files": several_files(editable_files(task.editable, files), task.editable),
        "tune": tune(editable_files(task.editable, files)),
    }


def facts(task: Task) -> str:
    """Return metric, budget, limits and names of files, a line each."""
    metric = task.metric
    better = "lower is better" if metric.direction == "minimise" else "higher is better"
    unit = f" in {metric.unit}" if metric.unit else ""
    lines = (
        f"metric: `{metric.name}`{unit}; {better}",
        *task.facts(),
        f"files that you may change: {', '.join(f'`{path}`' for path in task.editable)}",
    )
    return "\n".join(f"- {line}" for line in lines)


def readonly(files: Mapping[str, bytes]) -> str:
    """Return names and small texts of the files that lie beside the program's; empty without any."""
    if not files:
        return ""
    names = [f"`{one_line(path)}`" for path in sorted(files)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    lead = f"Files beside them, which stay as they are: {', '.join(names[:_NAMED])}{more}."
    return "\n\n".join([lead, *_small_texts(files)])


def _small_texts(files: Mapping[str, bytes]) -> list[str]:
    """Return the smallest text files as far as there is room, each with its name."""
    texts, room = [], _ROOM
    for path, data in sorted(files.items(), key=lambda each: (len(each[1]), each[0])):
        if len(data) > min(_SHOWN, room) or b"\0" in data:
            continue
        room -= len(data)
        text = data.decode("utf-8", "replace")
        texts.append(f"FILE: {one_line(path)} (read-only)\n{quote(text, 'source', _ROOM, keep='head')}")
    return texts


def several_files(paths: Sequence[str], patterns: Sequence[str]) -> str:
    """Return how an answer names, adds and deletes files; empty where there can only be one."""
    if not can_be_several(paths, patterns):
        return ""
    globs = " or ".join(f"`{pattern}`" for pattern in patterns if is_pattern(pattern))
    return f"{_SEVERAL}\n{_NEW.format(patterns=globs)}" if globs else _SEVERAL


def whole_program(paths: Sequence[str], patterns: Sequence[str]) -> str:
    """Return how an answer gives a whole new program."""
    return _WHOLE_PROGRAM if can_be_several(paths, patterns) else _WHOLE_FILE


def can_be_several(paths: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether a program has several files, or a file can be added."""
    return len(paths) > 1 or any(map(is_pattern, patterns))


def tune(paths: Sequence[str]) -> str:
    """Return how constants for the numeric search are written in the language of the first file that has a form."""
    forms = [form for path in paths if (form := _FORMS.get(PurePosixPath(path).suffix)) is not None]
    if not forms:
        return ""
    constant, mark, place = forms[0]
    rows = [(constant.format(name=name, value=value), span, words) for name, value, span, words in _EXAMPLES]
    wide = max(len(written) for written, *_ in rows)
    lines = [f"    {written:<{wide}}  {mark} tune: {span:<22} {words}" for written, span, words in rows]
    if forms[0] is _PYTHON:
        lines.insert(-1, _FLAG)
    return "\n".join([fill(_TUNE.format(place=place), _WIDTH), "", *lines])
