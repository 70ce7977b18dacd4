"""Forms of answers that models give: each is read as its final part states it, byte for byte, or refused."""

from __future__ import annotations

import pytest
from garden import Garden
from scripts import metered

from archive.records import Candidate
from operators.llm.base import Prompt
from operators.recombine.conflicts import read_places
from operators.rewrite.answers.search_replace import InvalidAnswer, apply, read_answer
from operators.rewrite.draft import Draft
from operators.rewrite.improve import Improve

TRAINS = "def train(s):\n    return RATE\ndef predict(s, t):\n    return s\n"
PROGRAM = f"RATE = 0.1\n{TRAINS}"
FASTER = f"RATE = 0.2\n{TRAINS}"
STRING = 'H = """\n{}\n"""\n'


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def fenced(text: str, mark: str = "```", info: str = "") -> str:
    return f"{mark}{info}\n{text}{mark}\n"


EDIT = "IDEA: more of it\n" + block("RATE = 0.1", "RATE = 0.2")
DRAFT = block("    return RATE", "    return -RATE")


def read(answer: str, program: str = PROGRAM, path: str = "train.py") -> tuple[str | None, str]:
    proposal = read_answer(answer, (path,))
    return proposal.idea, apply(proposal, {path: program})[path]


def changed(answer: str, program: str = PROGRAM, path: str = "train.py") -> str:
    return read(f"IDEA: it\n{answer}", program, path)[1]


def refused(answer: str, program: str = PROGRAM, path: str = "train.py") -> str:
    with pytest.raises(InvalidAnswer) as refusal:
        read(answer, program, path)
    return str(refusal.value)


# Fences


@pytest.mark.parametrize(
    "inside", ["```\nx\n```", "```python\nx\n```", "```", "~~~\nx\n~~~", block("a", "b").strip(), "    ```"]
)
@pytest.mark.parametrize(("mark", "info"), [("```", ""), ("```", "python"), ("````", ""), ("~~~", ""), ("~~~~", "py")])
def test_a_whole_program_with_fences_and_marks_survives(inside: str, mark: str, info: str) -> None:
    text = STRING.format(inside)
    assert changed(fenced(text + FASTER, mark, info), text + PROGRAM) == text + FASTER


def test_a_fence_closes_with_one_at_least_as_long() -> None:
    assert changed("````\nx = 1\n`````\n") == "x = 1\n"
    assert "has no end" in refused("````\nx = 1\n```\n")
    assert changed("  ```\n  x = 1\n    y = 2\n  ```\n") == "x = 1\n  y = 2\n", (
        "the indentation of the fence is removed"
    )


def test_pieces_of_a_text_with_fences_are_no_pair_of_quotations() -> None:
    notes = "# Title\n```\nx\n```\nend\n"
    assert "two fenced blocks" in refused(fenced(notes.replace("end", "End")), notes, "notes.md")
    assert "four backticks" in refused(fenced(notes.replace("end", "End")), notes, "notes.md")
    assert changed(fenced(notes.replace("end", "End"), "````"), notes, "notes.md") == notes.replace("end", "End")


def test_places_of_a_merge_are_whole_or_refused() -> None:
    assert read_places("IDEA: x\nPLACE 1\n````\n```\nx\n```\n````\n", 1).places == (("```\n", "x\n", "```\n"),)
    with pytest.raises(InvalidAnswer, match="several blocks"):
        read_places("IDEA: x\nPLACE 1\n```\na\n```\nb\n```\nc\n```\n", 1)
    assert read_places("IDEA: x\nPLACE 1\n```\na\u2028b\n```\n", 1).places == (("a\u2028b\n",),)
    drafted = "<think>\nPLACE 1\n```\na\n```\n</think>\nIDEA: y\nPLACE 1\n```\nb\n```\n"
    assert read_places(drafted, 1).places == (("b\n",),)


# White space

NESTED = "def f(s):\n    x = 0\n    if s:\n        x = 1\n    x += 2\n    return x\n"


def test_relative_indentation_is_kept_line_by_line() -> None:
    shifted = block("            x = 1\n        x += 2", "            x = 3\n        x += 4")
    assert changed(shifted, NESTED) == NESTED.replace("x = 1", "x = 3").replace("+= 2", "+= 4")
    left = block("    x = 1\nx += 2", "    x = 3\nif x:\n    x += 4")
    assert "        x = 3\n    if x:\n        x += 4\n    return x\n" in changed(left, NESTED)


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("x = 1\nx += 2", "x = 3\nx += 4"),
        ("        x = 1\n        x += 2", "        x = 3\n        x += 4"),
        ("            x = 1", "        x = 3\ny = 1"),
        ("\tif s:\n\t\tx = 1", "\tif s:\n\t\tx = 3"),
        ("x += 2", 'x = """\na\n"""'),
    ],
    ids=("flat", "level", "less", "tabs", "string"),
)
def test_an_indentation_that_is_not_shifted_alike_is_refused(search: str, replace: str) -> None:
    assert refused(block(search, replace), NESTED)


def test_characters_that_are_no_blanks_are_none() -> None:
    assert "is not in train.py" in refused(block('S = "a b"', 'S = "a c"'), 'S = "a\u2028b"\n')


# Marks within texts

TITLED = '"""\nTitle\n=======\ntext\n"""\n'


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("Title\n=======", "Name\n======="),
        ("Title\n=======\ntext", "Name\n=======\nmore"),
        ("Title\n=======\ntext", "text"),
        (TITLED + "RATE = 0.1", TITLED + "RATE = 0.2"),
        ("RATE = 0.1", f"RATE = 0.1\n{TITLED}"),
        ("text", "text\n=======\nmore"),
    ],
)
def test_a_line_of_equals_signs_may_be_text(search: str, replace: str) -> None:
    program = TITLED + PROGRAM
    assert changed(block(search, replace), program) == program.replace(search, replace)


def test_it_is_refused_if_it_is_not_clear_which_one_is_the_mark() -> None:
    over, under = block("Title", "=======\nTitle"), block("Title\n=======", "Title")
    assert over == under
    assert "not clear which line" in refused(over, TITLED)
    assert "not clear which line" in refused(block("Title\n=======\ntypo", "Name\n=======\ntext"), TITLED)


@pytest.mark.parametrize(
    "lines",
    ["<<<<<<<", ">>>>>>>", "<<<<<<<\n>>>>>>>", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other", block("a", "b").strip()],
)
def test_marks_in_texts_are_text(lines: str) -> None:
    held = STRING.format(lines)
    new = f"RATE = 0.1\n{held.strip()}"
    assert changed(block("RATE = 0.1", new)) == PROGRAM.replace("RATE = 0.1", new)
    program = held + PROGRAM
    assert changed(block(held.strip(), "H = 1"), program) == f"H = 1\n{PROGRAM}"
    assert changed(block(held + "RATE = 0.1", held + "RATE = 0.2"), program) == held + FASTER


def test_marks_that_a_text_file_would_get_are_a_forgotten_end() -> None:
    assert "is not complete" in refused(block("a", block("c", "d").strip()), "a\n", "notes.txt")
    assert changed(block("a", "c"), block("a", "b"), "notes.txt") == block("c", "b")


def test_a_long_edit_is_refused_at_once() -> None:
    """Each of these lines could end the search text."""
    assert "40001 lines `=======`" in refused(block("RATE = 0.1\n" + "=======\n" * 40_000, "x"))


# Line ends and characters that cannot be shown

ODD = "\u2028\u2029\x85\x1c\x1d\x1e\f\v\u200b\u00a0\ufeff\r\u202e"


@pytest.mark.parametrize("odd", ODD)
def test_only_newlines_end_a_line(odd: str) -> None:
    held = f'S = "a{odd}b"\n'
    assert changed(fenced(held + FASTER), held + PROGRAM) == held + FASTER
    assert changed(block("RATE = 0.1", "RATE = 0.2"), held + PROGRAM) == held + FASTER
    assert changed(block(held[:-1], f"{held[:-1]}  # kept"), held + PROGRAM) == f"{held[:-1]}  # kept\n{PROGRAM}"
    assert changed(block("RATE = 0.1", held[:-1])) == f"{held}{TRAINS}"


def test_definitions_are_found_where_python_counts_lines() -> None:
    held = 'S = """a\rb"""\n'
    assert changed(fenced("def train(s):\n    return 2\n"), held + PROGRAM) == (held + PROGRAM).replace(
        "return RATE", "return 2"
    )


def test_line_ends_of_the_file_are_kept() -> None:
    windows = PROGRAM.replace("\n", "\r\n")
    assert changed(block("RATE = 0.1", "RATE = 0.2\nSTEPS = 1"), windows) == windows.replace("0.1", "0.2\r\nSTEPS = 1")
    assert read(("IDEA: it\n" + fenced(FASTER)).replace("\n", "\r\n")) == ("it", FASTER)
    assert changed(fenced(FASTER.replace("\n", "\r\n"))) == FASTER.replace("\n", "\r\n")
    assert changed(block("    return s", "    return s\n# end"), PROGRAM.rstrip()) == f"{PROGRAM}# end"


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert changed(block("RATE = 0.1", "RATE = 0.2  # \ud83d\ude00")) == PROGRAM.replace("0.1", "0.2  # 😀")
    assert "half of a character" in refused(block("RATE = 0.1", "RATE = 0.2  # \ud83d"))


# Thoughts

FAMILIES = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<think>\n", "\n</thinking>\n"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<Thought>", "</Thought>\n<Output>\n"),
    ("<think>", "</think><answer>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<antThinking>", "</antThinking>"),
    ("<scratch_pad>", "</scratch_pad>"),
    ("<think_start>", "<think_end>"),
    ("[THINK]", "[/THINK]"),
    ("[reasoning]", "[/reasoning]"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<unused94>thought\n", "<unused95>"),
    ("[unused16]", "[unused17]"),
    ('<details type="reasoning" done="true">\n<summary>Thought</summary>\n', "</details>\n"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>\n"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>commentary<|message|>", "<|end|><|start|>assistant<|channel|>final <|constrain|>text<|message|>"),
    ("analysisWe", "assistantfinal"),
    ("analysis\n", "\nassistantfinal\n"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|think|>", "<|end|><|begin|>assistant<|content|>"),
    ("Here is my thought process:\n", "\nHere is my response:\n"),
]


@pytest.mark.parametrize(("begin", "end"), FAMILIES, ids=[begin.strip() for begin, _ in FAMILIES])
def test_only_the_final_part_counts(begin: str, end: str) -> None:
    draft = f"\nIDEA: lower it\n{DRAFT}No.\n"
    assert read(f"{begin}{draft}{end}{EDIT}") == ("more of it", FASTER)
    assert (
        read(f"Well.\n{begin}{draft}{end}{EDIT}" if "analysis\n" not in begin else f"{begin}{end}{EDIT}")[1] == FASTER
    )
    assert read(f"{begin}{draft}{end}{EDIT}<|return|>") == ("more of it", FASTER)
    assert read(f"{begin}\n```python\ndef train(s):\n{end}{EDIT}") == ("more of it", FASTER), "a fence is left open"
    assert "ends within its thoughts" in refused(f"{begin}\n{draft}")


@pytest.mark.parametrize(
    "end", [end for _, end in FAMILIES if not {"Here", "</details>\n"} & {end.strip(" \n")[:4], end}]
)
def test_the_beginning_of_a_thought_may_be_part_of_the_prompt(end: str) -> None:
    assert read(f"{DRAFT}No.\n{end}{EDIT}") == ("more of it", FASTER)
    assert read(f"IDEA: lower it\nNo.\n{end}{EDIT}") == ("more of it", FASTER)
    assert read(f"```python\n{TRAINS}{end}{EDIT}") == ("more of it", FASTER)
    assert read(f"<<<<<<< SEARCH\nRATE = 0.1\n=======\nRA{end}{EDIT}") == ("more of it", FASTER)


def test_several_thoughts_and_text_around_them() -> None:
    thought = f"<think>{DRAFT}</think>\n"
    assert read(thought + thought + EDIT) == ("more of it", FASTER)
    assert read(f"Okay. <think>{DRAFT}</think>\n{EDIT}") == ("more of it", FASTER)
    assert read(f"{DRAFT}{thought}{EDIT}") == ("more of it", FASTER)
    assert read(f"`<think>` begins a thought.\n{EDIT}") == ("more of it", FASTER)
    assert refused(f"{EDIT}{thought}"), "nothing follows the last thought"
    assert read(f"<answer>\n{EDIT}</answer>\nThat is all.\n") == ("more of it", FASTER)
    assert "follows the mark that ends" in refused(f"{EDIT}<|return|>\n{DRAFT}")
    assert "more than 24" in refused("</think>\n" * 200 + EDIT)


@pytest.mark.parametrize(
    "heading", ["### Final answer", "**Answer**", "**Final Answer:**", "Final answer:", "## Response"]
)
def test_a_heading_begins_the_final_part_between_blocks(heading: str) -> None:
    assert read(f"### Thinking\n{DRAFT}\n{heading}\n{EDIT}") == ("more of it", FASTER)
    assert read(f"{EDIT}\n{heading}\nIt learns faster.\n")[1] == FASTER, "nothing stands below"
    second = block("    return s", "    return dict(s)")
    each = f"IDEA: it\n### Answer\n{EDIT.partition(chr(10))[2]}### Answer\n{second}"
    assert read(each)[1] == FASTER.replace("return s", "return dict(s)"), "a heading above each block"
    held = f'H = """\n{heading}\n"""\n'
    both = block("RATE = 0.1", held + "RATE = 0.2") + block("    return s", "    return dict(s)")
    assert changed(both) == (held + FASTER).replace("return s", "return dict(s)")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (f"IDEA: lower it\n{DRAFT}Wait, no.\n{EDIT}", "several ideas"),
        (f"{DRAFT}No.\n{EDIT}", "before the idea"),
        (f"{EDIT}<tool_call>\n{DRAFT}</tool_call>\n", "within `tool_call`"),
        (f"IDEA: x\n<draft>\n{DRAFT}</draft>\n{EDIT.partition(chr(10))[2]}", "within `draft`"),
        (f"IDEA: x\n[v1]\n{fenced(TRAINS)}[/v1]\n{fenced(FASTER)}", "within `v1`"),
        (f"```thinking\n{DRAFT}```\n{EDIT}", "holds thoughts"),
    ],
)
def test_what_may_be_several_answers_is_refused(answer: str, words: str) -> None:
    assert words in refused(answer)


def test_one_answer_with_marks_around_all_of_it_or_each_block() -> None:
    second = block("    return s", "    return dict(s)")
    both = FASTER.replace("return s", "return dict(s)")
    for answer in (f"<edits>\n{EDIT}{second}</edits>\n", f"<edit>\n{EDIT}</edit>\n<edit>\n{second}</edit>\n"):
        assert read(answer) == ("more of it", both)
    assert read(f"{EDIT}IDEA: more of it\n{second}") == ("more of it", both), "the idea again"
    assert read(f"IDEA: x\n{fenced(FASTER, info='reasoning.py')}", path="reasoning.py") == ("x", FASTER)


def test_marks_of_thoughts_within_programs_are_text() -> None:
    for mark in ("</think>", "<think>", "<|channel|>final<|message|>", "[/THINK]"):
        held = f'END = "{mark}"\n'
        assert changed(fenced(held + FASTER), held + PROGRAM) == held + FASTER
        assert changed(block(held + "RATE = 0.1", held + "RATE = 0.2"), held + PROGRAM) == held + FASTER
        assert read(f"<think>{DRAFT}</think>\nIDEA: x\n{fenced(held + FASTER)}", held + PROGRAM) == ("x", held + FASTER)


# Several parts

TRAIN = "def train(s):\n    return 2 * RATE\n"
PREDICT = "def predict(s, t):\n    return dict(s)\n"


@pytest.mark.parametrize("between", ["", "IDEA: x\n", "and\n"])
def test_parts_in_several_fences_are_all_applied(between: str) -> None:
    assert read(fenced(TRAIN) + between + fenced(PREDICT), PROGRAM)[1] == f"RATE = 0.1\n{TRAIN}{PREDICT}"


def test_definitions_that_share_a_line_are_refused() -> None:
    assert "a place of its own" in refused(fenced("A = 5\n" + TRAIN), "A = 4; B = 5\n" + PROGRAM)
    assert "a place of its own" in refused(fenced("A = 5; B = 6\n" + TRAIN), "A = 4\nB = 5\n" + PROGRAM)


def test_a_class_with_some_of_its_methods_is_refused() -> None:
    """The others would be lost silently."""
    held = "class A:\n    def __init__(self):\n        self.x = 1\n\n    def f(self):\n        return 1\n\n\n"
    part = "class A:\n    def f(self):\n        return 2\n\n\n"
    assert "a place of its own" in refused(fenced(part + TRAIN), held + PROGRAM)
    assert changed(fenced(held.replace("1", "2") + TRAIN), held + PROGRAM).startswith(held.replace("1", "2").rstrip())


def test_edits_are_located_in_the_original() -> None:
    program = f"a = 1\nb = 1\n{PROGRAM}"
    two = block("a = 1", "a = 2\nc = 1\nb = 1") + block("b = 1", "b = 3")
    assert changed(two, program) == f"a = 2\nc = 1\nb = 1\nb = 3\n{PROGRAM}"
    context = block("a = 1\nb = 1", "a = 2\nb = 1") + block("b = 1\nRATE = 0.1", "b = 1\nRATE = 0.2")
    assert changed(context, program) == f"a = 2\nb = 1\n{FASTER}"
    assert "blocks 1 and 2 change the same lines" in refused(block("a = 1", "a = 2") + block("a = 1", "a = 3"), program)
    assert changed(block("a = 1", "a = 2") + block("a = 2", "a = 3"), program) == f"a = 3\nb = 1\n{PROGRAM}"


@pytest.mark.parametrize("name", ["# train.py", "# FILE: train.py", "FILE: train.py", "IDEA: it\n# train.py"])
def test_a_name_within_the_fence(name: str) -> None:
    assert changed(fenced(f"{name}\n{block('RATE = 0.1', 'RATE = 0.2')}", info="python")) == FASTER


def test_a_name_within_the_fence_says_which_file() -> None:
    for answer in (
        f"```python\n# b.py\n{FASTER}```\n",
        f"```python b.py\n{FASTER}```\n",
        f"**b.py**\n{fenced(FASTER)}",
    ):
        files = apply(read_answer(f"IDEA: it\n{answer}", ("a.py", "b.py")), {"a.py": "x = 1\n", "b.py": PROGRAM})
        assert files["a.py"] == "x = 1\n"
        assert files["b.py"].endswith(FASTER)


def test_a_quotation_beside_an_edit() -> None:
    for quoted in ("RATE = 0.1\n", FASTER, "return RATE\n"):
        assert read(f"{EDIT}It has:\n{fenced(quoted)}") == ("more of it", FASTER)
        assert read(f"It has:\n{fenced(quoted)}{EDIT}") == ("more of it", FASTER)
    assert "one or the other" in refused(EDIT + fenced(TRAIN))
    assert "one or the other" in refused(EDIT + fenced("STEPS = 3\n"))


def test_a_command_and_a_repetition_beside_a_program() -> None:
    command = fenced("python train.py\n", info="bash")
    assert read(EDIT + command) == ("more of it", FASTER)
    assert changed(fenced(FASTER) + command) == FASTER
    assert changed(fenced(FASTER) + "Again:\n" + fenced(FASTER)) == FASTER
    assert "has a diff" in refused(fenced("-RATE = 0.1\n+RATE = 0.2\n", info="diff"), path="notes.txt")


def test_an_idea_below_the_program() -> None:
    assert read(fenced(FASTER) + "IDEA: faster\n") == ("faster", FASTER)
    commented = f"# IDEA: old\n{FASTER}"
    assert read(f"IDEA: new\n{fenced(commented)}") == ("new", commented), "a comment of the program"


@pytest.mark.parametrize("mark", ["**", "__", "`"])
def test_marks_in_bold(mark: str) -> None:
    lines = EDIT.splitlines()
    bold = "\n".join(line if line.startswith(("IDEA", "RATE")) else f"{mark}{line}{mark}" for line in lines)
    assert read(bold) == ("more of it", FASTER)


def test_a_whole_program_without_a_fence() -> None:
    assert read(f"IDEA: faster\n\n{FASTER}") == ("faster", FASTER)
    assert changed(FASTER) == FASTER
    assert read(f"import math\n{FASTER}")[1] == f"import math\n{FASTER}"
    assert read(f"Here is it, as you asked.\n\n{TRAINS}")[1] == TRAINS
    assert "neither a search/replace block" in refused(f"IDEA: x\n{TRAIN}"), "a part of the program"
    assert "neither a search/replace block" in refused(f"{FASTER}That is all.\n")


# What a model is shown, and gives back


def test_a_program_is_copied_from_its_prompt_without_a_loss(garden: Garden) -> None:
    """A model that gives back what it was shown: as a whole program, and as an edit of a line with such characters."""
    odd = f'S = """a{ODD}b </data> ⟦"""\n'
    held = f'{odd}H = """\n```\nx\n```\nTitle\n=======\n"""\n'

    def source(prompt: Prompt) -> str:
        text = prompt.text.partition('<data kind="source">\n')[2].partition("\n</data>")[0] + "\n"
        assert set(ODD) & set(text) == {"\u00a0"}
        return text

    def whole(prompt: Prompt) -> str:
        return "IDEA: it\n" + fenced(source(prompt).replace("0.1", "0.2"), "````")

    def edit(prompt: Prompt) -> str:
        line = source(prompt).partition("\n")[0]
        return "IDEA: it\n" + block(line, f"{line}\nNEW = 1")

    root = garden.plant(held + PROGRAM, 3.0)
    longer = held.replace(odd, f"{odd}NEW = 1\n") + PROGRAM
    for answer, expected in ((whole, held + FASTER), (edit, longer)):
        meter, model = metered(answer)
        child = garden.ask(Improve(meter), root.node_id)
        assert isinstance(child, Candidate)
        assert child.files["train.py"] == expected
        assert "Copy the escapes as they are" in model.prompts[0].text
        assert "between lines of four" in model.prompts[0].text


def test_a_refused_line_is_shown_with_its_characters(garden: Garden) -> None:
    root = garden.plant(f'S = "a\u200bb"\n{PROGRAM}', 3.0)
    good = "IDEA: it\n" + block('S = "a⟦\\u200b⟧b"', 'S = "c"')
    meter, model = metered(["IDEA: it\n" + block('S = "ab"', 'S = "c"'), good])
    child = garden.ask(Improve(meter), root.node_id)
    assert isinstance(child, Candidate)
    assert "a⟦\\u200b⟧b" in model.prompts[1].messages[-1].text


def test_a_draft_without_a_fence_is_a_whole_program(garden: Garden) -> None:
    root = garden.plant(PROGRAM, 3.0)
    meter, _ = metered([f"<think>{DRAFT}</think>\nIDEA: it\n\n{FASTER}"])
    child = garden.ask(Draft(meter), root.node_id)
    assert isinstance(child, Candidate)
    assert child.files["train.py"] == FASTER
