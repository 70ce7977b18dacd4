"""Answers for programs of several files: each block names its file; files are added and deleted within the patterns."""

from __future__ import annotations

import pytest

from operators.rewrite.answers.search_replace import InvalidAnswer, apply, read_answer

FILES = {"src/a.c": "int a = 1;\nint b;\n", "src/b.h": "int b;\n", "notes.md": "x\n"}
EDIT = "<<<<<<< SEARCH\nint b;\n=======\nint c;\n>>>>>>> REPLACE\n"


def applied(answer: str) -> dict[str, str]:
    return apply(read_answer(f"IDEA: it\n{answer}", list(FILES), ("src/**/*.[ch]", "src/**/*.c", "notes.md")), FILES)


@pytest.mark.parametrize(
    ("answer", "changed"),
    [
        (f"FILE: src/b.h\n{EDIT}", {"src/b.h": "int c;\n"}),
        (f"FILE: src/a.c\n{EDIT}\nFILE: src/b.h\n{EDIT}", {"src/a.c": "int a = 1;\nint c;\n", "src/b.h": "int c;\n"}),
        ("FILE: src/new/n.c\n```c\nint n;\n```", {"src/new/n.c": "int n;\n"}),
        ("```c\nFILE: src/n.c\nint n;\n```", {"src/n.c": "int n;\n"}),
        ("DELETE: src/b.h\n", {"src/b.h": None}),
        (f"DELETE: `src/b.h`\nFILE: src/a.c\n{EDIT}", {"src/b.h": None, "src/a.c": "int a = 1;\nint c;\n"}),
        ("FILE: notes.md\n```\nDELETE: src/a.c\n```", {"notes.md": "DELETE: src/a.c\n"}),
        (
            f"FILE: src/n.c\n```\nint n;\n```\nFILE: src/b.h\n{EDIT}DELETE: notes.md\n",
            {"src/n.c": "int n;\n", "src/b.h": "int c;\n", "notes.md": None},
        ),
    ],
)
def test_answers(answer: str, changed: dict[str, str | None]) -> None:
    wanted = {path: text for path, text in {**FILES, **changed}.items() if text is not None}
    assert applied(answer) == wanted


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (EDIT, "does not say which file"),
        ("```c\nint n;\n```", "does not say which file"),
        ("FILE: other.c\n```c\nint n;\n```", "may not be changed"),
        ("FILE: ../src/a.c\n```c\nint n;\n```", "may not be changed"),
        ("DELETE: score.py\n", "may not be changed"),
        ("DELETE: src/none.c\n", "does not have"),
        (f"DELETE: src/b.h\nFILE: src/b.h\n{EDIT}", "both deletes and changes"),
        ("DELETE: src/a.c\nDELETE: src/b.h\nDELETE: notes.md\n", "deletes every file"),
        (f"FILE: src/new.c\n{EDIT}", "search text is not in src/new.c"),
        (f"FILE: src/b.h\n{EDIT}FILE: src/a.c\n```\nint z;\n```", "both search/replace blocks and a whole file"),
    ],
)
def test_refused_answers(answer: str, reason: str) -> None:
    with pytest.raises(InvalidAnswer, match=reason):
        applied(answer)


def test_a_program_of_one_file_has_no_deletions() -> None:
    files = {"a.c": "int b;\n"}
    assert apply(read_answer(f"DELETE: a.c\n{EDIT}", ["a.c"], ("*.c",)), files) == {"a.c": "int c;\n"}
