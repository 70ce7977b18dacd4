"""Parameters and their ranges: read, set, and no other byte changes."""

from __future__ import annotations

import ast
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.languages.parameters import Number, Parameter, find_parameters, read_parameters, set_parameters
from operators.languages.syntax import Unparsable
from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.search_space import format_range, range_of

SOURCE = '''\
"""A program — with ümläuts."""
import torch

WIDTH = 64          # tune: 16..512 log step 16
RATE: float = 1e-3  # the usual
OFFSET = -2
BIAS = True ; FLAG = (False)
SEED = 1
DATA_SEED = 2
VOCAB = 256
NAME = "gpt"
SIZES = (1, 2)
TWICE = WIDTH * 2
DEPTH = 4
DEPTH = 5
lower = 3
HUGE = 1e999
if torch.cuda.is_available():
    LAYERS = 12


def f(WIDTH=3):
    LOCAL = 7
    return WIDTH
'''


def test_reads_numbers_that_are_assigned_once_at_module_level() -> None:
    assert read_parameters(SOURCE) == {
        "WIDTH": 64, "RATE": 1e-3, "OFFSET": -2, "BIAS": True, "FLAG": False, "SEED": 1, "DATA_SEED": 2, "VOCAB": 256,
    }  # fmt: skip


def test_seeds_vocabularies_and_opted_out_constants_are_not_searched() -> None:
    source = SOURCE.replace("OFFSET = -2", "OFFSET = 2  # tune: no")
    assert [c.name for c in find_parameters(source) if c.searchable] == ["WIDTH", "RATE", "BIAS", "FLAG"]


def test_setting_changes_literals_and_no_other_byte() -> None:
    changed = set_parameters(SOURCE, {"WIDTH": 96, "RATE": 0.0021, "OFFSET": 5, "FLAG": True})
    expected = SOURCE.replace("= 64 ", "= 96 ").replace("1e-3", "0.0021").replace("-2", "5").replace("False", "True")
    assert changed == expected


def test_an_equal_value_keeps_its_spelling_and_a_float_stays_a_float() -> None:
    assert set_parameters(SOURCE, {"RATE": 0.001}) == SOURCE
    assert "RATE: float = 2.0 " in set_parameters(SOURCE, {"RATE": 2})


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_endings_survive(newline: str) -> None:
    source = newline.join(["é = '\x0c'", "A = 1", "B = 2  # é", ""])
    assert set_parameters(source, {"B": 30}) == source.replace("2", "30")


@pytest.mark.parametrize(
    "again",
    [
        "from math import e as RATE",
        "import RATE.x",
        "def RATE(): pass",
        "async def RATE(): pass",
        "class RATE: pass",
        "try: pass\nexcept ValueError as RATE: pass",
        "for RATE in (1, 2): pass",
        "with open('x') as RATE: pass",
        "del RATE",
        "RATE += 1",
        "(RATE, x) = 1, 2",
        "print(RATE := 2)",
        "x = [RATE := i for i in (1, 2)]",
        "def f(x=(RATE := 2)): pass",
        "x = lambda y=(RATE := 2): y",
        "@(RATE := print)\nclass C: pass",
        "match 3:\n    case RATE: pass",
        "match [3]:\n    case [*RATE]: pass",
        "match {}:\n    case {**RATE}: pass",
        "def f():\n    global RATE\n    RATE = 3",
        "class C:\n    global RATE\n    RATE = 3",
        "globals()['RATE'] = 3",
        "if x:\n    RATE = 3",
        "from math import *",
    ],
)
def test_a_constant_that_is_bound_again_is_no_parameter(again: str) -> None:
    assert read_parameters(f"RATE = 0.1\n{again}\n").keys().isdisjoint({"RATE"})


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement came with Python 3.12")
def test_a_type_alias_binds_its_name() -> None:
    assert read_parameters("RATE = 0.1\ntype RATE = int\n") == {}


@pytest.mark.parametrize(
    "elsewhere",
    [
        "RATE: float",
        "def f(RATE): return RATE",
        "def f():\n    RATE = 3",
        "class C:\n    RATE = 3",
        "x = [RATE for RATE in (1, 2)]",
        "x = lambda RATE: RATE",
        "x.RATE = 3",
        "def f():\n    import RATE",
    ],
)
def test_another_scope_binds_another_name(elsewhere: str) -> None:
    assert read_parameters(f"from math import *\n{elsewhere}\nRATE = 0.1\n") == {"RATE": 0.1}


def test_a_comment_belongs_to_the_last_statement_of_its_line() -> None:
    found = {p.name: p.tune for p in find_parameters("A = 4; B = 5  # tune: 1..9\nC = 4;  # tune: 1..8\nD = 1  # x\n")}
    assert found == {"A": None, "B": "1..9", "C": "1..8", "D": None}
    found = {p.name: p.tune for p in find_parameters("A = 4; B = '# tune: 1..9'\nC = (\n    4\n)  # tune: 1..8\n")}
    assert found == {"A": None, "C": "1..8"}


@pytest.mark.parametrize(
    ("written", "value"),
    [("2**4", 16), ("+0.5", 0.5), ("-(1 / 4)", -0.25), ("3 * 1e-4", 3 * 1e-4), ("(2)**4", 16), ("10_000", 10_000)],
)
def test_a_comment_makes_a_parameter_of_any_number_and_name(written: str, value: Number) -> None:
    source = f"rate_ä = {written}  # tune: 1..64\nOTHER = x({written})  # tune: 1..64\n"
    assert read_parameters(source) == {"rate_ä": value}
    assert set_parameters(source, {"rate_ä": type(value)(8)}) == source.replace(written, repr(type(value)(8)), 1)
    assert set_parameters(source, {"rate_ä": value}) == source


def test_without_a_comment_computed_numbers_and_small_names_are_none() -> None:
    assert read_parameters("A = 2**4\nrate = 0.1\nB = +0.5\n") == {"B": 0.5}


@pytest.mark.parametrize(
    "written", ["2**2**40", "1 / 0", "1e308 * 1e308", "(-1) ** 0.5", "2**53 + 1", "True + 1", "1" + " + 1" * 500]
)
def test_a_computation_that_gives_no_usable_number_is_none(written: str) -> None:
    assert read_parameters(f"A = {written}  # tune: 1..9\n") == {}


@pytest.mark.parametrize(
    "name",
    ["SEED", "SEEDS", "DATA_SEED", "SEED_OFFSET", "SEED2", "RANDOM_STATE", "RNG", "RNG_STATE", "PRNG_KEY", "seed",
     "random_seed", "NUM_WORKERS", "DEVICES", "VOCAB_SIZE"],
)  # fmt: skip
def test_seeds_and_machines_are_not_searched_whatever_their_comment_says(name: str) -> None:
    (parameter,) = find_parameters(f"{name} = 3  # tune: 1..9\n")
    assert range_of(parameter) is None


@pytest.mark.parametrize("name", ["EXCEEDS_BY", "STRANGE", "SPEED", "RANDOMNESS", "RANDOM"])
def test_other_names_are_searched(name: str) -> None:
    (parameter,) = find_parameters(f"{name} = 3\n")
    assert range_of(parameter) is not None


def test_errors_name_what_is_there() -> None:
    with pytest.raises(KeyError, match="it has A, B"):
        set_parameters("A = 1\nB = 2\n", {"C": 3})
    with pytest.raises(ValueError, match="must be finite"):
        set_parameters("A = 1.0\n", {"A": math.nan})
    for broken in ("A = = 1", "A = 1\0", "(" * 5000):
        with pytest.raises(Unparsable):
            read_parameters(broken)


NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.booleans())


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.text("# é\t;tune:1|2..", max_size=12)), min_size=1, max_size=6))
def test_what_is_set_is_read_back_and_the_rest_of_the_tree_is_untouched(rows: list[tuple[Number, Number, str]]) -> None:
    source = "".join(f"K{i} = {old!r} # {note}\n" for i, (old, _, note) in enumerate(rows)) + "x = [K0]\n"
    wanted = {f"K{i}": new for i, (_, new, _) in enumerate(rows)}
    changed = set_parameters(source, wanted)
    got = read_parameters(changed)
    assert all(got[name] == value for name, value in wanted.items())
    assert [line.partition("#")[2] for line in changed.splitlines()] == [
        line.partition("#")[2] for line in source.splitlines()
    ]
    assert ast.dump(ast.parse(changed).body[-1]) == ast.dump(ast.parse(source).body[-1])
    assert set_parameters(changed, read_parameters(source)).count("\n") == source.count("\n")


def _range(value: Number, tune: str | None = None, name: str = "K") -> ParameterRange:
    found = range_of(Parameter(name, value, 0, 0, tune))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("value", "comment", "low", "high", "scale"),
    [
        (128, "16..512 log", 16, 512, "log"),
        (128, "16..512 log step 16, must divide", 16, 512, "log"),
        (4, "1|2|8", 1, 8, "linear"),
        (0.0, "0..0.5", 0, 0.5, "linear"),
        (1e-3, "1e-4..1e-2 log", 1e-4, 1e-2, "log"),
        (12, None, 3, 48, "log"),
        (64, None, 16, 256, "log"),
        (0.1, None, 0.01, 1.0, "log"),
        (0.7, None, 0.07, 7, "log"),
        (0.95, None, 0.095, 9.5, "log"),
        (0.99, None, 0.9, 0.999, "complement"),
        (3, "1..9 step 2", 1, 9, "linear"),
        (64, "8..512 step 8 log", 8, 512, "log"),
        (0.2, "0..0.5 step 0.1", 0, 0.5, "linear"),
        (0.2, "0.1..0.5.", 0.1, 0.5, "linear"),
        (2.0, None, 0.2, 20, "log"),
        (0.0, None, 0, 0.5, "linear"),
        (3, "fast, please", 1, 12, "log"),
        (3, "9..2", 1, 12, "log"),
        (3, "0..4 log", 1, 12, "log"),
        (3, "1.5|2", 1, 12, "log"),
    ],
)
def test_ranges(value: Number, comment: str | None, low: float, high: float, scale: str) -> None:
    found = _range(value, comment)
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)
    assert found.scale == scale


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "scale"),
    [
        ("BETA1", 0.9, 0.45, 0.99, "complement"),
        ("MOMENTUM", 0.8, 0.4, 0.98, "complement"),
        ("DROPOUT", 0.2, 0.02, 0.9, "log"),
        ("ATTENTION_DROPOUT", 0.1, 0.01, 0.9, "log"),
        ("CLIP", 0.9, 0.09, 9, "log"),
        ("MOMENTUM", 1.5, 0.15, 15, "log"),
    ],
)
def test_a_name_and_not_the_value_says_what_is_a_share(
    name: str, value: float, low: float, high: float, scale: str
) -> None:
    found = _range(value, name=name)
    assert (found.low, found.high, found.scale) == (pytest.approx(low), pytest.approx(high), scale)


def test_a_derived_range_is_that_of_the_first_value_that_allows_it() -> None:
    clip = Parameter("CLIP", 0.7, 0, 0, None)
    assert range_of(clip, [1.0, 5.0]) == _range(1.0)
    assert range_of(Parameter("CLIP", 30.0, 0, 0, None), [1.0, 20.0, 30.0]) == _range(20.0)
    assert range_of(clip, [1, True]) == _range(0.7), "of another type"
    assert range_of(Parameter("CLIP", 0.7, 0, 0, "0..2"), [1.0]) == _range(0.7, "0..2")


@pytest.mark.parametrize("value", [1e-320, 1e305, 0.0, -0.0])
def test_the_ends_of_floats_give_no_range_without_end(value: float) -> None:
    span = range_of(Parameter("K", value, 0, 0, None))
    assert span is None or all(map(math.isfinite, span.bounds))


@pytest.mark.parametrize(
    ("value", "comment"),
    [
        (1.0, "1_..5"),
        (4, "1|2|x"),
        (4, "1|2||8"),
        (4, "1..9..12"),
        (4, "1..9 step 0"),
        (4, "1..9 step 0.5"),
        (4, "1..9 step 20"),
        (0.5, "0..1 step 0"),
        (1.0, "1..2e"),
        (1.0, "1__0..50"),
        (4, "1_|2"),
        (1.0, "1e999|2"),
        (4, "1" * 5000 + "..2"),
        (1.0, "1" * 60_000),
    ],
)
def test_what_is_no_number_is_no_range(value: Number, comment: str) -> None:
    """A model or a candidate wrote it: it ends in the usual range, at once, and not in a ValueError."""
    assert _range(value, comment) == _range(value)
    assert _range(4, "1..9 step " + "1" * 5000).step == 1


def test_a_long_line_is_looked_through_once() -> None:
    """Once from each of its hashes would take a minute."""
    (found,) = find_parameters("RATE = 1.0  " + "#" * 60_000 + " tune: 1..2\n")
    assert found.tune == "1..2"


@pytest.mark.parametrize("value", [0, -3, -0.5])
def test_values_that_give_no_scale_are_not_searched(value: Number) -> None:
    assert range_of(Parameter("K", value, 0, 0, None)) is None


def test_both_values_of_a_bool() -> None:
    assert {_range(True).decode(-0.4), _range(True).decode(1.4)} == {False, True}


@given(
    st.sampled_from(
        [
            (128, "16..512 log step 16"),
            (64, "8..100 log step 8"),
            (3, "1..9 step 2"),
            (0.2, "0.1..0.55 step 0.1"),
            (4, "1|2|4|8"),
            (0.0, "0..0.5"),
            (12, None),
            (1e-3, None),
            (0.99, None),
        ]
    ),
    st.floats(-20, 20),
)
def test_any_coordinate_gives_a_value_in_range_of_the_right_kind(case: tuple[Number, str | None], u: float) -> None:
    span = _range(*case)
    value = span.decode(u)
    assert span.low <= value <= span.high
    assert type(value) is type(case[0])
    assert value in span
    assert not span.choices or value in span.choices
    if span.step > 0 and not span.choices:
        steps = (value - span.low) / span.step
        assert steps == pytest.approx(round(steps))
    assert span.decode(span.encode(value)) == pytest.approx(value, rel=0.06)


def test_values_are_written_as_a_person_would() -> None:
    assert _range(1e-3).decode(math.log(0.0020987234)) == 0.0021
    assert _range(0.99).decode(math.log(1 - 0.98765)) == 0.988


def test_choices_may_be_names() -> None:
    span = range_of(find_parameters("MIXER = 2  # tune: 0|1|2 unordered\n")[0])
    assert span is not None
    assert (span.choices, span.unordered, format_range(span)) == ((0, 1, 2), True, "0|1|2 unordered")
    plain = range_of(find_parameters("MIXER = 2  # tune: 0|1|2\n")[0])
    assert plain is not None
    assert not plain.unordered
