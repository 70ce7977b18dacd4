"""Answers made from edits: the reader gives exactly the stated edits or refuses, whatever programs hold."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from test_answer_forms import FAMILIES, block, fenced

from operators.rewrite.answers.grammar import bodies, scan, split_lines
from operators.rewrite.answers.search_replace import InvalidAnswer, apply, read_answer
from operators.sanitize import escaped_characters, restored, visible

ODD = [
    "\u2028",
    "\u2029",
    "\x85",
    "\x1c",
    "\x1d",
    "\x1e",
    "\f",
    "\v",
    "\u200b",
    "\u00a0",
    "\ufeff",
    "\u202e",
    "\x1b[2J",
]
MARKS = [
    "```", "```python", "````", "~~~", "    ```", "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "<<<<<<<", ">>>>>>>",
    "<<<<<<< HEAD", ">>>>>>> other", "======= Title =======", "IDEA: of the text", "FILE: train.py", "# train.py",
    "</think>", "<think>", "<|channel|>final<|message|>", "assistantfinal", "</answer>", "PLACE 1", "", "    ",
    ">>> f(1)", "⟦\\u200b⟧", "</data>", "\\\\n\\\\t", "...", "# the rest of the code",
]  # fmt: skip
words = st.sampled_from(["alpha", "beta", "gamma", "  indented", "\ttab", "x = 1", "trailing  "])
odd = st.builds("{}{}{}".format, st.sampled_from("ab"), st.sampled_from(ODD), st.sampled_from("ab"))
lines = st.lists(st.one_of(st.sampled_from(MARKS), words, odd), max_size=6)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A program whose strings and docstrings hold anything; definitions have names of their own."""
    parts = []
    for number in range(draw(st.integers(0, 3))):
        text = "\n".join(draw(lines)).replace('"""', "").rstrip("\\")
        kind = draw(st.sampled_from(["string", "function", "constant"]))
        if kind == "string":
            parts.append(f'H{number} = """\n{text}\n"""\n')
        elif kind == "function":
            indented = "\n".join(f"    {line}" for line in bodies(text))
            parts.append(f'def f{number}(x):\n    """Example.\n\n{indented}\n    """\n    return x + {number}\n')
        else:
            parts.append(f"C{number} = {number}\n")
    end = draw(st.sampled_from(["", "\n", "\n\n"]))
    return "\n\n".join(
        [*parts, "RATE = 0.1\n", f"def train(s):\n    return RATE\n\n\ndef predict(s, t):\n    return s\n{end}"]
    )


@st.composite
def edited(draw: st.DrawFn, fresh: bool) -> tuple[str, str, list[tuple[str, str]]]:
    """A program, what edits make of it, and these edits, of lines that occur once.

    ``fresh``: each replacement begins with a line that is nowhere else, so that it is no repetition of the program.
    """
    old = draw(programs())
    texts = bodies(old)
    changed, edits, at = list(texts), [], len(texts)
    for number in range(draw(st.integers(1, 3))):
        if at < 1:
            break
        last = draw(st.integers(1, at))
        first = draw(st.integers(max(0, last - 4), last - 1))
        new = [*([f"Z{number} = {number}"] if fresh else []), *draw(lines)]
        changed[first:last] = [] if new == [""] else new  # a replacement of one empty line is a deletion
        edits.append(("\n".join(texts[first:last]), "\n".join(new), first, last))
        at = first - 1
    return old, "".join(f"{line}\n" for line in changed), [(search, new) for search, new, *_ in edits]


def shown(text: str, old: str, new: str) -> str:
    """A text as a model copies it from its prompt; characters that are not in the program are written as they are."""
    if escaped_characters(new) <= escaped_characters(old):
        return visible(text)
    assume("⟦" not in text)
    return text


def blocks(case: tuple[str, str, list[tuple[str, str]]]) -> str:
    old, new, edits = case
    return "".join(block(shown(search, old, new), shown(replace, old, new)) for search, replace in edits)


def answered(answer: str, old: str, path: str = "train.py") -> str | None:
    """The file after an answer; None if it is refused."""
    try:
        return apply(read_answer(answer, (path,)), {path: old})[path]
    except InvalidAnswer:
        return None


@pytest.mark.slow
@given(programs(), programs(), st.sampled_from(["````````", "~~~~~", "````````python"]))
def test_a_whole_program_survives_byte_for_byte(old: str, new: str, mark: str) -> None:
    answer = f"IDEA: it\n{mark}\n{shown(new, old, new)}{mark.removesuffix('python')}\n"
    assert answered(answer, old) == new


@given(programs(), programs())
def test_a_whole_program_in_a_short_fence_survives_or_is_refused(old: str, new: str) -> None:
    assert answered(f"IDEA: it\n{fenced(shown(new, old, new))}", old) in (new, None)


@given(edited(fresh=True), st.sampled_from(["", "```\n", "```python\n# train.py\n"]))
def test_edits_are_exactly_those_that_are_stated(case: tuple[str, str, list[tuple[str, str]]], fence: str) -> None:
    old, new, _ = case
    answer = f"IDEA: it\n{fence}{blocks(case)}{fence and '```'}\n"
    assert answered(answer, old) in (new, None)


@given(edited(fresh=True), lines, st.sampled_from(FAMILIES), st.booleans())
def test_nothing_of_a_thought_is_applied(
    case: tuple[str, str, list[tuple[str, str]]], thought: list[str], family: tuple[str, str], draft: bool
) -> None:
    old, new, _ = case
    assume(not any(end.strip() in "\n".join(thought) for _, end in FAMILIES))
    drafted = block("RATE = 0.1", "RATE = 9.9") if draft else ""
    inside = "\n".join(thought)
    final = f"IDEA: it\n{blocks(case)}"
    result = answered(f"{family[0]}\n{drafted}{inside}\n{family[1]}\n{final}", old)
    assert result in (new, None)


parts = st.one_of(st.sampled_from(MARKS), words, st.sampled_from(["RATE = 0.1", "RATE = 9.9", "Q = 9.9", "```"]))


@given(
    programs(), st.lists(parts, max_size=12), st.sampled_from(FAMILIES), lines, st.sampled_from(["train.py", "a.txt"])
)
def test_nothing_above_the_end_of_a_thought_is_applied(
    old: str, thought: list[str], family: tuple[str, str], final: list[str], path: str
) -> None:
    """Whatever blocks the thought leaves open, and with or without its beginning."""
    assume("Here" not in family[0])
    begin = family[0] if len(thought) % 2 or "assistantfinal" in family[1] else ""
    result = answered("\n".join([begin, *thought, family[1], *final, ""]), old, path)
    assert result is None or "9.9" not in result


@given(
    programs(),
    st.lists(st.one_of(st.sampled_from(MARKS), words, st.sampled_from(["RATE = 0.1", "Q = 1"])), max_size=14),
)
def test_every_line_of_the_result_is_stated(old: str, answer: list[str]) -> None:
    """Any text: what is new in the file stands in the answer, line by line, and the rest stands in the file."""
    text = "\n".join(answer)
    result = answered(text, old)
    if result is not None:
        known = {line.strip() for line in [*bodies(old), *answer]}
        assert {line.strip() for line in bodies(result)} <= {*known, ""}


@given(st.text(st.sampled_from("`~<>=# \nabx"), max_size=80))
def test_the_scanner_covers_every_line_once(text: str) -> None:
    texts = bodies(text)
    elements = list(scan(texts))
    assert [at for element in elements for at in range(element.first, element.last + 1)] == list(range(len(texts)))
    assert "".join(split_lines(text)) == text


@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("⟦⟧\\x1u200b<data/ \u200b\x1b")),
        max_size=60,
    )
)
def test_what_is_shown_can_be_restored(text: str) -> None:
    text = text.replace("\r\n", "\n")
    assert restored(visible(text), escaped_characters(text)) == text
    assert not escaped_characters(visible(text)) - {"⟦"}
