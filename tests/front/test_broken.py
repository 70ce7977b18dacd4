"""Broken versions of a program, of which ``check`` expects a worse score."""

from __future__ import annotations

from search.cli.broken import broken_versions

BLOCKS = (
    "import x\n# EVOLVE-BLOCK-START\na = 1\n  # EVOLVE-BLOCK-END\nb = 2\n# EVOLVE-BLOCK-START\n# EVOLVE-BLOCK-END\n"
)


def test_functions_return_zero_and_the_file_is_empty() -> None:
    files = {"main.py": "import os\nX = 3\n\ndef f(a):\n    '''Text.'''\n    return a\n", "other.py": "y = 1\n"}
    zero, empty = dict(broken_versions(files, only_blocks=False)).values()
    assert zero == {**files, "main.py": "import os\nX = 3\n\ndef f(a):\n    return 0\n"}
    assert empty == {**files, "main.py": "\n"}


def test_a_script_and_another_language_are_emptied_only() -> None:
    for name in ("main.py", "main.c"):
        assert len(dict(broken_versions({name: "x = 1\n"}, only_blocks=False))) == 1


def test_only_blocks_are_emptied() -> None:
    ((_, files),) = broken_versions({"main.py": BLOCKS}, only_blocks=True)
    assert files["main.py"] == BLOCKS.replace("a = 1\n", "")
