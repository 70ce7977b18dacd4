"""Answers of models: parsed strictly, applied exactly, refused with a reason."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from operators.rewrite.answers.search_replace import InvalidAnswer, apply, read_answer

PROGRAM = """\
RATE = 0.001


def train(session):
    for step in range(3):
        work(step)
    return {}


def other(session):
    return {}
"""


def block(search: str, replace: str, path: str | None = None) -> str:
    named = f"FILE: {path}\n" if path else ""
    return f"{named}<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def changed(
    answer: str, files: dict[str, str] | None = None, editable: tuple[str, ...] = ("train.py",)
) -> dict[str, str]:
    return apply(read_answer("IDEA: it\n" + answer, editable), files or {"train.py": PROGRAM})


def refused(answer: str, idea: str = "IDEA: it\n") -> tuple[str, str]:
    """What is said, and what of the program is shown."""
    with pytest.raises(InvalidAnswer) as refusal:
        apply(read_answer(idea + answer, ("train.py",)), {"train.py": PROGRAM})
    return str(refusal.value), refusal.value.shown


def refusal(answer: str, idea: str = "IDEA: it\n") -> str:
    return refused(answer, idea)[0]


def test_an_exact_block() -> None:
    assert changed(block("RATE = 0.001", "RATE = 0.002")) == {"train.py": PROGRAM.replace("0.001", "0.002")}


def test_several_blocks_and_a_deletion() -> None:
    answer = block("RATE = 0.001", "RATE = 1") + "and\n\n" + block("        work(step)", "        work(step, RATE)")
    text = changed(answer)["train.py"]
    assert "RATE = 1\n" in text
    assert "work(step, RATE)" in text
    assert "work" not in changed(block("    for step in range(3):\n        work(step)", ""))["train.py"]


def test_whitespace_is_tolerated_and_the_indentation_follows_the_file() -> None:
    text = changed(
        block("for step in range( 3):".replace("( ", "("), "for step in range(9):\n    if step:\n        stop()")
    )
    assert "    for step in range(9):\n        if step:\n            stop()\n" in text["train.py"]


def test_an_exact_match_wins_over_a_tolerant_one() -> None:
    files = {"train.py": "x = 1\nif y:\n    x = 1\n"}
    assert changed(block("x = 1", "x = 2"), files)["train.py"] == "x = 2\nif y:\n    x = 1\n"


def test_a_whole_file_and_decorated_blocks() -> None:
    assert changed("```python\nx = 1\n```\n") == {"train.py": "x = 1\n"}
    fenced = "```\n" + block("RATE = 0.001", "RATE = 3") + "```\n"
    assert "RATE = 3" in changed(fenced)["train.py"]


def test_files_are_named() -> None:
    answer = block("x = 1", "x = 2", "model.py") + "FILE: `train.py`\n```\ny = 3\n```\n"
    with pytest.raises(InvalidAnswer, match="one or the other"):
        changed(answer, {"train.py": "", "model.py": "x = 1\n"}, ("train.py", "model.py"))
    answer = block("x = 1", "x = 2", "model.py") + block("y = 1", "y = 2", "train.py")
    files = changed(answer, {"train.py": "y = 1\n", "model.py": "x = 1\n"}, ("train.py", "model.py"))
    assert files == {"train.py": "y = 2\n", "model.py": "x = 2\n"}


@pytest.mark.parametrize("line", ["IDEA: a b", "**IDEA:** a b", "# IDEA: a b ", "\n\nIDEA :  a   b"])
def test_the_idea(line: str) -> None:
    assert read_answer(f"{line}\n{block('x', 'y')}", ("train.py",)).idea == "a b"


def test_an_idea_is_one_clean_short_line() -> None:
    idea = read_answer(f"IDEA: red \x1b[31mtext\x1b[0m {'x' * 900}\n{block('x', 'y')}", ("train.py",)).idea
    assert idea.startswith("red text xxx")
    assert len(idea) == 300


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "neither a search/replace block nor a whole file"),
        ("```python\nx = 1\n", "has no end"),
        ("<<<<<<< SEARCH\nx\n", "has no end"),
        (block("", "x"), "search text is empty"),
        (block("    return {}", "    return 1"), "occurs 2 times in train.py (lines 7, 11)"),
        (block("x = 1", "x = 2", "../prepare.py"), "names a file that may not be changed; only train.py may"),
        ("```\na\n```\n```\nb\n```\n", "two fenced blocks"),
        ("```\n=======\nRATE = 1\n>>>>>>> REPLACE\n```\n", "is not complete; it is a line `<<<<<<< SEARCH`, whole"),
    ],
)
def test_refusals_say_what_to_do(answer: str, reason: str) -> None:
    assert reason in refusal(answer)


def test_an_answer_without_anything() -> None:
    assert "neither a search/replace block" in refusal("Sorry, no.\n", idea="")
    assert "<<<<<<< SEARCH" in refusal("Sorry, no.\n"), "and what a block is"
    assert "empty" in refusal(" \n", idea="")
    assert "characters" in refusal("x" * 500_000)


def test_a_search_text_that_is_not_there_is_refused_with_the_nearest_text() -> None:
    reason, shown = refused(block("    for step in range(4):\n        work(step)", "    pass"))
    assert reason == "block 1: the search text is not in train.py; the nearest text is this"
    assert shown == "    for step in range(3):\n        work(step)"
    assert refused(block("RATE = 0.01", "RATE = 1"))[1] == "RATE = 0.001"


def test_line_ends_survive() -> None:
    files = {"train.py": "x = 1\r\ny = 2\r\nz = 3"}
    assert changed(block("y = 2", "y = 4"), files)["train.py"] == "x = 1\r\ny = 4\r\nz = 3"


# What models answer whatever they are asked for, seen with a small one: read where it leaves no doubt.


@pytest.mark.parametrize(
    ("answer", "idea"),
    [
        ("A higher rate learns faster.\n\n```\nx = 1\n```\n", "A higher rate learns faster."),
        ("**A higher rate learns faster**\n```\nx = 1\n```\n", "A higher rate learns faster"),
        ("Here is the new program:\n```\nx = 1\n```\nIt is shorter than before.\n", "It is shorter than before."),
        ("```\nthis is a comment of the program\n```\n", None),
        (block("this is a line of the program", "this is another one"), None),
    ],
)
def test_the_idea_of_an_answer_that_names_none_is_its_first_sentence(answer: str, idea: str | None) -> None:
    assert read_answer(answer, ("train.py",)).idea == idea


def test_an_idea_within_the_fence_of_the_program() -> None:
    proposal = read_answer("```python\n# IDEA: less of it\nx = 1\n```\n", ("train.py",))
    assert proposal.idea == "less of it"
    assert apply(proposal, {"train.py": PROGRAM}) == {"train.py": "\nx = 1\n"}


@pytest.mark.parametrize("before", ["STEPS = 2\n", "    x = 1\n"])
def test_an_idea_in_the_middle_of_the_answer_is_a_comment_and_not_its_beginning(before: str) -> None:
    """Read before as if nothing stood above it: half of a program, or one block of two."""
    program = f"```\n{before}# IDEA: less of it\ny = 1\n```\n"
    assert apply(read_answer(program, ("train.py",)), {}) == {"train.py": f"{before}# IDEA: less of it\ny = 1\n"}
    two = block("RATE = 0.001", f"{before}# IDEA: less of it") + block("        work(step)", "        stop(step)")
    text = apply(read_answer(two, ("train.py",)), {"train.py": PROGRAM})["train.py"]
    assert "RATE" not in text
    assert "stop(step)" in text
    quoted = "The program has this:\n```\nRATE = 0.001\n```\nIDEA: more\n" + block("RATE = 0.001", "RATE = 1")
    assert "RATE = 1\n" in apply(read_answer(quoted, ("train.py",)), {"train.py": PROGRAM})["train.py"]


def test_a_fence_right_above_the_idea_is_seen() -> None:
    proposal = read_answer("```\nIDEA: less of it\nx = 1\n```\n", ("train.py",))
    assert (proposal.idea, proposal.blocks) == ("less of it", {"train.py": ("\nx = 1\n",)})


LONG = 120_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("\n" * LONG + "x", "neither a search/replace block"),
        ("IDEA: a" + " *" * (LONG // 2) + "x", "neither a search/replace block"),
        ("* " * (LONG // 2) + ":", "neither a search/replace block"),
        ("FILE:" + "_" * LONG + "x y", "neither a search/replace block"),
        ("```\n\n" * (LONG // 5), "there are 12000 fenced blocks"),
        (block("e" * LONG, ""), "the search text is not in train.py"),
        (block("e\n" * (LONG // 2), ""), "the search text is not in train.py"),
        (block("RATE = 0.001", "RATE = 0.001") * (LONG // 70), None),
    ],
    ids=("lines", "idea", "sentence", "file", "fences", "line", "search", "blocks"),
)
def test_a_long_answer_is_read_at_once(answer: str, refused: str | None) -> None:
    """Seconds for all of them together; where a pattern goes over the same text again and again it would be days."""
    with nullcontext() if refused is None else pytest.raises(InvalidAnswer, match=refused):
        assert apply(read_answer(answer, ("train.py",)), {"train.py": PROGRAM}) == {"train.py": PROGRAM}


def test_a_path_with_underscores() -> None:
    for line in ("FILE: __init__.py", "**FILE:** `__init__.py`", "__FILE:__ __init__.py", "# file: __init__.py "):
        answer = f"IDEA: it\n{line}\n" + block("x = 1", "x = 2")
        assert [edit.path for edit in read_answer(answer, ("train.py", "__init__.py")).edits] == ["__init__.py"]


def test_markers_of_other_lengths_and_indented_ones() -> None:
    answer = "  <<<<<< SEARCH\nRATE = 0.001\n  =======\nRATE = 5\n  >>>>>>>> REPLACE\n"
    assert "RATE = 5\n" in changed(answer)["train.py"]
    titled = "x = 1\ny = '''\nTitle\n=====\n'''\n"
    assert changed(block("Title\n=====", "Name\n===="), {"train.py": titled})["train.py"] == titled.replace(
        "Title\n=====", "Name\n===="
    ), "a title's line is no marker"


@pytest.mark.parametrize(
    "middle",
    [
        "=======        work(step, RATE)",
        ">>>>>>> REPLACE\n\n=======\n        work(step, RATE)",
        "======= \n        work(step, RATE)",
    ],
)
def test_markers_that_are_not_where_they_belong(middle: str) -> None:
    """Read before as if what stands behind the middle marker were nothing."""
    answer = f"<<<<<<< SEARCH\n        work(step)\n{middle}\n>>>>>>> REPLACE\n"
    assert changed(answer)["train.py"] == PROGRAM.replace("work(step)", "work(step, RATE)")


def test_what_looks_like_a_marker_outside_of_its_place_is_text() -> None:
    """A line between two blocks; a title in a replacement."""
    two = block("RATE = 0.001", "RATE = 1") + "=======\n" + block("        work(step)", "        stop(step)")
    assert changed(two)["train.py"] == PROGRAM.replace("0.001", "1").replace("work", "stop")
    titled = block("RATE = 0.001", '"""\n======= Title =======\n"""')
    assert '"""\n======= Title =======\n"""\n' in changed(titled)["train.py"]


def test_a_block_without_an_end_does_not_take_in_the_next_one() -> None:
    """A file that is no Python would have been given the markers as its text."""
    half = block("RATE = 0.001", "RATE = 1").partition(">>>>>>>")[0]
    assert "is not complete" in refusal(half + block("        work(step)", "        stop(step)"))
    assert "is not complete" in refusal(block("RATE = 0.001", "RATE = 1") + "=======    x = 1\n>>>>>>> REPLACE\n")


def test_a_deletion_whose_markers_share_a_line() -> None:
    assert "RATE" not in changed("<<<<<<< SEARCH\nRATE = 0.001\n======= >>>>>>> REPLACE\n")["train.py"]
    assert "expected a line `=======`" in refusal("<<<<<<< SEARCH\nRATE = 0.001\n>>>>>>> REPLACE\n"), "means anything"


def test_fenced_pairs_are_a_text_and_what_takes_its_place() -> None:
    answer = "Replace\n```python\n        work(step)\n```\nwith\n```python\n        work(step, RATE)\n```\n"
    assert changed(answer)["train.py"] == PROGRAM.replace("work(step)", "work(step, RATE)")
    twice = answer + "and\n```\nRATE = 0.001\n```\nby\n```\nRATE = 0.002\n```\n"
    assert "RATE = 0.002\n" in changed(twice)["train.py"]
    assert "work(step, RATE)" in changed(twice)["train.py"]
    assert "two fenced blocks" in refusal(answer.replace("        work(step)\n", "    return {}\n")), "it occurs twice"
    assert "3 fenced blocks" in refusal(answer + "```\nx\n```\n")


def fenced(*texts: str) -> str:
    return "".join(f"This:\n```python\n{text}```\n" for text in texts)


def test_what_is_only_quoted_is_no_edit() -> None:
    """Two places of the program, to speak of them; or the old version of a function, and then the whole new program."""
    assert "two fenced blocks" in refusal(fenced("RATE = 0.001\n", "        work(step)\n"))
    old = PROGRAM[PROGRAM.index("def train") : PROGRAM.index("\n\ndef other")]
    assert "two fenced blocks" in refusal(fenced(old, PROGRAM.replace("0.001", "0.002")))
    shorter = changed(fenced(old, "def train(session):\n    return {}\n"))["train.py"]
    assert shorter == PROGRAM.replace(old, "def train(session):\n    return {}\n"), "the last lines of what is quoted"


def test_definitions_take_the_place_of_their_names() -> None:
    files = {"train.py": PROGRAM + "\n\ndef predict(state, task):\n    return None\n"}
    answer = "```python\nimport math\n\nSTEPS = 4\n\n\ndef train(session):\n    return math.sqrt(STEPS)\n```\n"
    assert changed(answer, files)["train.py"] == (
        "import math\nRATE = 0.001\n\n\nSTEPS = 4\ndef train(session):\n    return math.sqrt(STEPS)\n"
        + PROGRAM.partition("    return {}\n")[2]
        + "\n\ndef predict(state, task):\n    return None\n"
    )
    assert changed("```\ndef train(session):\n    return 1\n```\n") == {
        "train.py": "def train(session):\n    return 1\n"
    }
    reason, shown = refused_of(
        answer.replace("    return math.sqrt(STEPS)\n", "    # ... as before\n    pass\n"), files
    )
    assert "leaves out a part of itself" in reason
    assert shown.strip() == "# ... as before"


@pytest.mark.parametrize(
    ("blocks", "reason", "shown"),
    [
        (["import torch\ntorch.set_num_threads(1)\n\n\ndef train(session):\n    return 1\n"], "a place of its own",
         "torch.set_num_threads(1)"),
        (["A, B = 1, 2\n\n\ndef train(session):\n    return A\n"], "a place of its own", "A, B = 1, 2"),
        (["def forward(self, x):\n    return x\n\n\ndef train(session):\n    return 1\n"], "a place of its own",
         "def forward(self, x):"),
        (["def train(session):\n    return 1\n", "def train(session):\n    for step in range(3): work(step)\n"],
         "defined twice, in different ways", "train"),
        (["def train(session):\n    rate = 1\n    # Rest of the training code\n"], "leaves out a part of itself",
         "# Rest of the training code"),
        (["def train(session):\n    ...\n    rate = 1\n"], "leaves out a part of itself", "..."),
    ],
)  # fmt: skip
def test_definitions_are_taken_as_a_whole_or_not_at_all(blocks: list[str], reason: str, shown: str) -> None:
    """What has no place in the program was dropped before; of two versions the last was taken, new or old."""
    files = {"train.py": PROGRAM + "\n\ndef predict(state, task):\n    return None  # and so on ...\n"}
    said, text = refused_of(fenced(*blocks), files)
    assert reason in said
    assert text == shown


def test_what_changes_nothing_may_stand_beside_definitions() -> None:
    guard = "\n\nif __name__ == '__main__':\n    prepare.standalone(train, predict)\n"
    files = {"train.py": PROGRAM + "\n\ndef predict(state, task):\n    return None\n\n\nwork = print\nwork(1)\n"}
    new = "def train(session):\n    # decay for the rest of the time\n    return 1\n"
    answer = fenced(f'"""What changes."""\n\nRATE = 0.001\n\n\n{new}\n\nwork(1)\n{guard}')
    old = PROGRAM[PROGRAM.index("def train") : PROGRAM.index("\n\ndef other")]
    assert changed(answer, files)["train.py"] == files["train.py"].replace(old, new)


def refused_of(answer: str, files: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(InvalidAnswer) as refusal:
        changed(answer, files)
    return str(refusal.value), refusal.value.shown
