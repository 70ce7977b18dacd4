"""Language adapters: parameters by ``tune:`` comments and by path, tokens without comments, sizes, parse checks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.languages.fingerprint import fingerprint
from operators.languages.language import language_for
from operators.languages.parameters import Number
from operators.numeric.search_space import range_of
from prepare.syntax import parse_error

FOUND: list[tuple[str, str, dict[str, Number]]] = [
    ("a.c", "#define N 8 // tune: 4|8|16\n", {"N": 8}),
    ("a.c", "#define N (8) /* tune: 4|8|16 */\n", {"N": 8}),
    ("a.c", "#define N -8 // tune: -9..9\n", {"N": -8}),
    ("a.cu", "const int BLOCK = 64; // tune: 8..512 log step 8\n", {"BLOCK": 64}),
    ("a.cpp", "constexpr std::size_t n{64UL}; // tune: 8..512\n", {"n": 64}),
    ("a.cpp", "float x = -0.5f, y = 1.5e-3f; // tune: 0..1\n", {"y": 1.5e-3}),
    ("a.cpp", 's->rate = .5; // tune: 0..1\n"x" // tune: 1..2\n', {"s->rate": 0.5}),
    ("a.c", 'char *s = "N = 8; // tune: 4|8";\n', {}),
    ("a.c", "/*\n N = 8 // tune: 4|8\n*/\n", {}),
    ("a.c", "int a = 1; // tune: 1..2\nint b = 2; // tune: 1..2\nint a = 3; // tune: 1..2\n", {"b": 2}),
    ("a.c", "int N = 0x40; // tune: 1..99\nint M = 010; // tune: 1..99\n", {}),
    ("a.c", "x = y * 8; // tune: 1..9\nif (x > 8) // tune: 1..9\nn = 8 + k; // tune: 1..9\n", {}),
    ("a.c", "int N = 8;\n// tune: 4|8\n", {}),
    ("a.c", "int N = 99999999999999999999; // tune: 1..9\n", {}),
    ("a.rs", "const N: usize = 8_000usize; // tune: 1..9\nlet r = 8f32; // tune: 1..9\n", {"N": 8000, "r": 8.0}),
    ("a.rs", "fn f<'a>(x: &'a str) {} // '\nlet q = '\"'; let n = 3; // tune: 1..9\n", {"n": 3}),
    ("a.go", "rate := 0.5 // tune: 0..1\n", {"rate": 0.5}),
    ("a.js", "const o = { rate: 0.5, // tune: 0..1\n", {"rate": 0.5}),
    ("a.ts", "const n: number = 5; // tune: 1..9\n", {"n": 5}),
    ("a.java", "static final double RATE = 1.0d; // tune: 0..2\n", {"RATE": 1.0}),
    ("a.sh", 'N=8  # tune: 4|8\nexport M="$#"\nK=${K:-3}  # tune: 1..9\n', {"N": 8, "K": 3}),
    ("a.sh", "echo 'N=8  # tune: 4|8'\necho a#b=3 # tune\n", {}),
    ("a.yaml", "a:\n  learning-rate: 0.1  # tune: 0..1\n  'b c': 3 # tune: 1..9\n", {"learning-rate": 0.1, "b c": 3}),
    ("a.toml", "rate = +0.5  # tune: 0..1\n", {"rate": 0.5}),
    ("a.rb", "rate = 0.5  # tune: 0..1\n", {"rate": 0.5}),
    ("a.pl", "my $rate = 0.5;  # tune: 0..1\n", {"rate": 0.5}),
    ("a.jl", "const B = A'\nconst RATE = 0.5  # tune: 0..1\n", {"RATE": 0.5}),
    ("a.R", "rate <- 0.5  # tune: 0..1\n", {"rate": 0.5}),
    ("Makefile", "N := 8  # tune: 4|8\n", {"N": 8}),
    ("sub/CMakeLists.txt", "set(N 8)  # tune: 4|8\n", {"N": 8}),
    ("Dockerfile", "ENV N 8  # tune: 4|8\n", {"N": 8}),
    ("a.sql", "SELECT * FROM t LIMIT 10; -- tune: 1..100\n", {"LIMIT": 10}),
    ("a.lua", "local rate = 0.5 -- tune: 0..1\n", {"rate": 0.5}),
    ("a.md", "rate = 0.5  # tune: 0..1\n", {}),
    ("a.json", '{"rate": 0.5}  // tune: 0..1\n', {}),
    ("prompt", "N = 8  # tune: 4|8\n", {}),
    ("a.py", "N = 8\nn = 8  # tune: 4|8\n", {"N": 8, "n": 8}),
]


@pytest.mark.parametrize(("path", "text", "values"), FOUND)
def test_parameters(path: str, text: str, values: dict[str, Number]) -> None:
    found = language_for(path).parameters(text)
    assert {one.name: one.value for one in found} == values
    assert all(type(one.value) is type(values[one.name]) for one in found)


@pytest.mark.parametrize(("path", "text", "values"), [case for case in FOUND if case[2]])
def test_setting_parameters_changes_their_literals_only(path: str, text: str, values: dict[str, Number]) -> None:
    language = language_for(path)
    assert language.set_parameters(text, values) == text
    for name, value in values.items():
        (old,) = (one for one in language.parameters(text) if one.name == name)
        new = language.set_parameters(text, {name: value + 3})
        raw, changed = text.encode(), new.encode()
        assert changed[: old.start] == raw[: old.start]
        assert changed.endswith(raw[old.end :])
        assert {one.name: one.value for one in language.parameters(new)} == {**values, name: value + 3}


@pytest.mark.parametrize(
    ("path", "text", "value", "written"),
    [
        ("a.cpp", "float x = 0.5f; // tune: 0..1", 0.25, "float x = 0.25f; // tune: 0..1"),
        ("a.cpp", "auto x = 64UL; // tune: 1..99", 32, "auto x = 32UL; // tune: 1..99"),
        ("a.rs", "let x = 8f32; // tune: 1..9", 2.5, "let x = 2.5f32; // tune: 1..9"),
        ("a.yaml", "x: 0.5  # tune: 1e-6..1 log", 1e-5, "x: 1.0e-05  # tune: 1e-6..1 log"),  # YAML 1.1 needs the dot
        ("a.c", "ä = 1; int x = 3; // tune: 1..9 ä", 4, "ä = 1; int x = 4; // tune: 1..9 ä"),
        ("a.sh", "x=10s # tune: 1..60", 20, "x=20s # tune: 1..60"),
        ("a.py", "X = 0.5  # tune: 1e-6..1 log", 1e-5, "X = 1e-05  # tune: 1e-6..1 log"),
    ],
)
def test_style_of_literals(path: str, text: str, value: Number, written: str) -> None:
    language = language_for(path)
    assert language.set_parameters(text, {language.parameters(text)[0].name: value}) == written
    assert range_of(language.parameters(text)[0]) is not None


def test_a_parameter_that_is_not_there() -> None:
    with pytest.raises(KeyError, match="M is no parameter"):
        language_for("a.c").set_parameters("#define N 8 // tune: 4|8\n", {"M": 1})
    with pytest.raises(ValueError, match="finite"):
        language_for("a.c").set_parameters("#define N 8 // tune: 4|8\n", {"N": float("inf")})


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
NUMBERS = st.one_of(st.integers(0, 2**40), st.floats(0, 1e6).map(lambda x: float(f"{x:.4g}")))
NOISE = st.text(st.sampled_from("ab \t\"'`/*#-\\(){}[];=:.1e\nä€\U0001f600"), max_size=30)
FORMS = [
    ("a.c", "int {} = {};", "//"),
    ("a.rs", "let {}: f = {};", "//"),
    ("a.sh", "{}={}", "#"),
    ("a.lua", "{} = {}", "--"),
]


@given(st.sampled_from(FORMS), st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=4), NOISE, NOISE, st.randoms())
def test_setting_a_parameter_changes_only_its_literal(
    form: tuple[str, str, str], values: dict[str, Number], before: str, after: str, rng: random.Random
) -> None:
    path, pattern, mark = form
    lines = [f"{pattern.format(name, value)}  {mark} tune: 0..9\n" for name, value in values.items()]
    text = before + "\n" + "".join(lines) + after
    language = language_for(path)
    parameters = list(language.parameters(text))  # the noise may hide some, or make a comment of them
    assert before or len(parameters) == len(values)
    for found in parameters:
        raw = text.encode()
        other = 7 if isinstance(found.value, int) else 0.25
        changed = language.set_parameters(text, {found.name: other}).encode()
        assert changed == raw[: found.start] + repr(other).encode() + raw[found.end :] or found.value == other


SAME = [
    ("a.c", "int a = 1; // one\nint b;\n", "/* x */ int   a=1;\n\n\tint b;"),
    ("a.c", "#define F(x) (x)\nint a;", "\n#define   F(x)   (x) // no\nint a;\n"),
    ("a.rs", "let a = 'b'; // c\n", "let a='b';"),
    ("a.go", "a := 1 // c\n\n\nb()\n", "\ta := 1\nb()"),
    ("a.sh", "# c\na=1   # d\n\nb\n", "a=1\nb"),
    ("a.toml", "a = 1 # x\n", "a  =  1\n"),
    ("a.yaml", "a: {b: 1}  # x\n", "a:\n  b: 1\n"),
    ("a.json", '{"a": [1, 2]}', '{\n  "a": [1,2]\n}\n'),
    ("a.sql", "SELECT a -- x\nFROM b;", "SELECT a FROM /* y */ b;"),
    ("a.lua", "local a = 1 -- x\n--[[ y\n]]", "local a=1"),
    ("a.py", "A = 1  # x\n", "A   = 1\n"),
]
DIFFERENT = [
    ("a.c", "#define F(x) (x)", "#define F (x) (x)"),
    ("a.c", "#define A 1\nint a;", "#define A 1 int a;"),
    ("a.c", "a + ++b;", "a++ + b;"),
    ("a.c", 'puts("a // b");', 'puts("a // c");'),
    ("a.c", "// a \\\nint b;\nint c;", "// a\nint b;\nint c;"),
    ("a.cpp", 'x = R"(" // a)";', 'x = R"(" // b)";'),
    ("a.rs", "f::<'a>(\"' // x\")", "f::<'a>(\"' // y\")"),
    ("a.go", "return\nx", "return x"),
    ("a.go", "//go:noinline\nfunc f() {}", "func f() {}"),
    ("a.js", "a = /[/]/; b = '//x'", "a = /[/]/; b = '//y'"),
    ("a.sh", "cat <<E\n# a\nE\n", "cat <<E\n# b\nE\n"),
    ("a.sh", 'echo "$(echo " # a")"', 'echo "$(echo " # b")"'),
    ("a.sh", "echo a#b", "echo a#c"),
    ("a.sh", "#!/bin/sh -e\na", "#!/bin/sh\na"),
    ("a.sh", "if a\n  b", "if a b"),
    ("a.yaml", "a: |\n  # x\n", "a: |\n  # y\n"),
    ("a.yaml", "a: 1", 'a: "1"'),
    ("a.json", '{"a": 1}', '{"a": 2}'),
    ("a.sql", "SELECT '-- a'", "SELECT '-- b'"),
    ("a.sql", "SELECT /*+ HINT */ 1", "SELECT 1"),
    ("a.rb", "a =~ / # b/", "a =~ / # c/"),
    ("a.md", "a\n\nb", "a b"),
    ("a.md", "a  b", "a b"),
    ("a.txt", " a", "a"),
    ("a.c", "/* a", "/* a */ int b;"),
    ("a.c", "char c = 'a", "char c = 'b"),
]


@pytest.mark.parametrize(("path", "one", "other"), SAME)
def test_comments_and_layout_do_not_count(path: str, one: str, other: str) -> None:
    assert language_for(path).tokens(one) == language_for(path).tokens(other)
    assert language_for(path).size(one) == language_for(path).size(other)
    assert fingerprint({path: one}) == fingerprint({path: other})


@pytest.mark.parametrize(("path", "one", "other"), DIFFERENT)
def test_what_counts(path: str, one: str, other: str) -> None:
    assert fingerprint({path: one}) != fingerprint({path: other})


@given(NOISE, NOISE)
def test_plain_text_counts_by_every_character(one: str, other: str) -> None:
    assert (fingerprint({"a.md": one}) == fingerprint({"a.md": other})) == (one == other)


@pytest.mark.parametrize("path", ["a.c", "a.rs", "a.go", "a.sh", "a.lua", "a.sql", "a.jl", "a.toml", "a.js", "a.yaml"])
@pytest.mark.parametrize(
    "piece", ["/*", 'R"(', 'r#"', "--[[", "`", "//", "\\", '"', "'", "a/*tune:*/", " # tune: x", "[", "- "]
)
def test_hostile_texts_are_read_in_linear_time(path: str, piece: str) -> None:
    """What is not linear takes minutes here, beyond the time limit of a test."""
    text = piece * 4000
    assert len(language_for(path).tokens(text)) <= 3 * len(text)
    assert len(language_for(path).parameters(text + "\nN = 8\n")) <= 4001


DECLARED = {"c.json:model.rate": "0.1..1 log", "c.json:layers.1": "1..9", "c.json:twice": "1..9", "d.json:x": "1..2"}


def test_json_values_by_their_path() -> None:
    text = '{"model": {"rate": 5e-1, "rat\\u00e9": 1}, "layers": [3, 4 , {"a":5}], "twice": 1, "twice": 2, "s": "1"}'
    language = language_for("c.json", DECLARED)
    assert [(one.name, one.value, one.tune) for one in language.parameters(text)] == [
        ("model.rate", 0.5, "0.1..1 log"),
        ("layers.1", 4, "1..9"),
    ]
    changed = language.set_parameters(text, {"model.rate": 0.25, "layers.1": 7})
    assert changed == text.replace("5e-1", "0.25").replace("4 ,", "7 ,")
    assert language_for("e.json", DECLARED).parameters(text) == ()
    assert language.parameters("{") == ()


def test_yaml_values_by_their_path() -> None:
    text = "# ä\nmodel:\n  rate: 0.5  # x\n  rate2: '0.5'\n  n: 3 # tune: 1..9\nlist: [1, &x 2, *x]\n"
    declared = {
        "c.yaml:model.rate": "0..1",
        "c.yaml:model.rate2": "0..1",
        "c.yaml:list.1": "1..9",
        "c.yaml:model.n": "1..5",
    }
    language = language_for("c.yaml", declared)
    found = {one.name: (one.value, one.tune) for one in language.parameters(text)}
    assert found == {"model.rate": (0.5, "0..1"), "model.n": (3, "1..5"), "list.1": (2, "1..9")}
    assert language.set_parameters(text, {"list.1": 5, "model.rate": 1.0}) == text.replace("0.5  #", "1.0  #").replace(
        "&x 2", "&x 5"
    )
    assert language.parameters("a: [") == ()
    assert language.comments == ("#",)


@pytest.mark.parametrize(
    ("path", "text", "parses"),
    [
        ("a.py", "x = (", False), ("a.py", "x = 1", True), ("a.json", "{", False), ("a.yaml", "a: [", False),
        ("a.toml", "a =", False), ("a.c", "int main(", True), ("a.md", "(", True),
        ("a.yaml", "[" * 100 + "]" * 100, True), ("a.yaml", "[" * 101 + "]" * 101, False), 
        ("a.yml", "[" * 99_999, False), ("a.json", "[" * 99_999, False), ("a.toml", "a=" + "[" * 99_999, False),
        ("a.yaml", "a: '" + "[" * 99_999 + "'", True),
    ],
)  # fmt: skip
def test_parse_checks(path: str, text: str, parses: bool) -> None:
    assert (parse_error(path, text) is None) == parses


def test_sizes() -> None:
    assert language_for("a.c").size("int aa = 1; // x") == language_for("a.c").size("int b = 100;") == 5
    assert language_for("a.md").size("three short words") == 3
    assert language_for("a.py").undefined_names("x = y") == ("y",)
    assert language_for("a.c").undefined_names("x = y") == ()
