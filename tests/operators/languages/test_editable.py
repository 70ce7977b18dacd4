"""What may change: files by pattern, numbers by comment or path, blocks; ``tune`` is silent where there is nothing."""

from __future__ import annotations

from operators.languages.files import Editable, editable_files
from operators.numeric.observations import differ_in_values_only, is_tunable, search_space, values_of, with_values

FILES = {"src/z.c": "int n = 8; // tune: 4|8|16\n", "src/deep/a.c": "int m;\n", "conf.json": '{"a": {"rate": 0.5}}'}
DECLARED = {"conf.json:a.rate": "0.1..1 log"}


def test_files_by_pattern() -> None:
    assert editable_files(("src/*.c", "src/**/*.c"), FILES) == ["src/z.c", "src/deep/a.c"]
    assert editable_files(("none.c",), FILES) == []


def test_space_of_several_languages() -> None:
    space = search_space(FILES, Editable(("**",), DECLARED))
    assert list(space) == [("conf.json", "a.rate"), ("src/z.c", "n")]
    assert space["src/z.c", "n"].choices == (4, 8, 16)
    assert list(search_space(FILES, Editable(("src/**",), DECLARED))) == [("src/z.c", "n")]
    child = with_values(FILES, {("conf.json", "a.rate"): 0.25, ("src/z.c", "n"): 16}, DECLARED)
    assert child == {**FILES, "src/z.c": "int n = 16; // tune: 4|8|16\n", "conf.json": '{"a": {"rate": 0.25}}'}
    assert values_of(child, DECLARED) == {("src/z.c", "n"): 16, ("conf.json", "a.rate"): 0.25}
    assert differ_in_values_only(FILES, child, DECLARED)
    assert not differ_in_values_only(FILES, child)


def test_nothing_to_tune() -> None:
    assert is_tunable(FILES, Editable())
    assert not is_tunable(FILES, Editable(("src/deep/*",)))
    assert not is_tunable({"conf.json": FILES["conf.json"]}, Editable())
    assert not is_tunable({"a.py": "SEED = 1\nVOCAB = 8\nx = (\n"}, Editable())


def test_only_blocks_are_tuned() -> None:
    text = "A = 1\n# ä EVOLVE-BLOCK-START\nB = 2\n# EVOLVE-BLOCK-END\nC = 3\n"
    assert list(search_space({"a.py": text}, Editable(evolve_blocks=True))) == [("a.py", "B")]
    assert len(search_space({"a.py": text}, Editable())) == 3
