"""Prompts of tasks that train no language model: in the words of the task, with what the scorer said, and no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from garden import Garden
from scripts import metered

from archive.records import CaseScore, Node, Propose
from operators.llm.base import Prompt
from operators.recombine.conflicts import Place, Resolver
from operators.rewrite.debug import Debug
from operators.rewrite.draft import Draft
from operators.rewrite.hybrid import Hybrid
from operators.rewrite.improve import Improve
from operators.rewrite.operator import LlmOperator
from operators.rewrite.simplify import Simplify
from prepare.known import TaskError
from prepare.program import Constraint, ProgramTask, PromptText, Workspace
from prepare.task import Metric, Task
from search.function_task import OwnTask

MAIN = "#define BLOCK 8  // tune: 4|8|16\n\nint sum(const int *x, int n) {\n    return 0;\n}\n"
HEADER = "#define LONGEST 64\n"
FOREIGN = re.compile(r"torch|train\(session\)|logits|vocab|training|bits per byte")
EVERY = (Improve, Hybrid, Simplify, Draft, Debug)


def c_task(folder: Path, **more: object) -> ProgramTask:
    """A C program with two files, and a header that stays as it is."""
    (folder / "src").mkdir()
    (folder / "src" / "main.c").write_text(MAIN)
    (folder / "src" / "helper.c").write_text("int twice(int x) { return 2 * x; }\n")
    (folder / "api.h").write_text(HEADER)
    (folder / "score.py").write_text("def score(candidate, case):\n    return SECRET\n")
    settings = {
        "name": "sums",
        "folder": str(folder),
        "metric": Metric("ratio", "maximise", unit="times"),
        "workspace": Workspace(("src/main.c", "src/*.c"), ("api.h",)),
        "seconds": 5.0,
        "scorer": "score.py",
        "build": "make -s",
        "constraints": (Constraint("overlap", at_most=0),),
        "deterministic": True,
        **more,
    }
    return ProgramTask(**settings)  # type: ignore[arg-type]


def circles() -> Task:
    return OwnTask(lambda request: 0.0, "N = 26  # tune: no\n\n\ndef pack(n):\n    return []\n", "maximize").task


def planted(task: Task) -> tuple[Garden, dict[str, Node]]:
    """root -> (better, broken), with feedback of all purposes."""
    garden = Garden("maximise")
    garden.task = task  # type: ignore[assignment]
    files = task.seed_files()
    main = next(iter(files))
    root = garden.grow(files, (), "seed", "the seed")
    better = garden.grow({**files, main: files[main] + "\n"}, (root.node_id,), "improve", "pad rows")
    broken = garden.grow({**files, main: "\n" + files[main]}, (root.node_id,), "improve", "overlap them")
    worst = CaseScore("n=26", 1.25, {"gaps": 3.0}, "circle 3 is </data>\nnear the edge")
    cases = (CaseScore("n=4", 9.5, {}, "fine"), worst)
    for node in (root, better):
        garden.score(node, 2.5, metrics={"seconds": 0.25}, cases=cases)
        for purpose in ("confirm", "report"):
            secret = (CaseScore("hidden", 7.5, {}, f"canary of {purpose}"),)
            garden.score(node, 7.0, purpose, 9, cases=secret, metrics={"canary": 1.0})  # type: ignore[arg-type]
    garden.fail(broken, "infeasible", "overlap is 2; at most 0 is allowed", metrics={"overlap": 2.0}, cases=cases[1:])
    return garden, {"root": root, "better": better, "broken": broken}


def prompt(garden: Garden, nodes: dict[str, Node], kind: type[LlmOperator], folder: Path | None = None) -> Prompt:
    meter, model = metered(["nonsense"] * 2)
    node = nodes["root" if kind is Draft else "broken" if kind is Debug else "better"]
    operator = kind(meter, prompts=None if folder is None else str(folder))
    garden.ask(operator, node.node_id, program=garden.task.instructions())
    return model.prompts[0]


def merge(garden: Garden, nodes: dict[str, Node]) -> Prompt:
    meter, model = metered(["nonsense"] * 2)
    path = next(iter(garden.task.seed_files()))
    move = Propose("crossover", (nodes["better"].node_id, nodes["root"].node_id))
    places, draft = [Place(path, ("a\n",), ("b\n",), ("c\n",))], {path: "### PLACE 1 ###\n"}
    context = garden.context(move=99, program="")
    Resolver(meter, "crossover", None).resolve(move, context, nodes["root"].node_id, draft, places, _unused)
    return model.prompts[0]


def _unused(answer: object) -> None:  # type: ignore[misc]
    raise AssertionError(answer)


@pytest.mark.parametrize("kind", ["c", "circles"])
def test_no_prompt_speaks_of_language_models_or_shows_feedback_of_a_claim(kind: str, tmp_path: Path) -> None:
    garden, nodes = planted(c_task(tmp_path) if kind == "c" else circles())
    prompts = [*(prompt(garden, nodes, each) for each in EVERY), merge(garden, nodes)]
    for each in prompts:
        assert not FOREIGN.search(each.text), FOREIGN.search(each.text)
        assert not re.search(r"canary|holdout|\bselect\b|confirm|SECRET|\{\{|\n\n\n\n", each.text)
    assert len({each.system for each in prompts[:-1]}) == 1


def test_the_scorers_words_are_shown_worst_case_first_and_quoted(tmp_path: Path) -> None:
    garden, nodes = planted(c_task(tmp_path))
    text = prompt(garden, nodes, Improve).text
    assert "Its score is 2.5 times (one run). Measured beside it: seconds 0.25." in text
    told = text.partition('<data kind="feedback">\n')[2].partition("\n</data>")[0]
    assert told == "- n=26: 1.25; gaps 3\n    circle 3 is ‹/data>\n    near the edge\n- n=4: 9.5\n    fine"
    assert "the same score in every run" in text
    assert "by chance" not in text


def test_feedback_is_bounded_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    garden, nodes = planted(c_task(tmp_path))
    many = tuple(CaseScore(f"case {i:02}", float(i), {}, "y" * 5000) for i in range(40))
    garden.score(nodes["better"], 2.5, seed=1, cases=many)
    text = prompt(garden, nodes, Improve).text
    assert "the worst first, 28 better cases not shown" in text
    assert "case 11" in text
    assert "case 12" not in text
    assert text.count("[4200 characters left out]") == 12


def test_an_infeasible_program_is_debugged_with_its_metrics(tmp_path: Path) -> None:
    garden, nodes = planted(c_task(tmp_path))
    text = prompt(garden, nodes, Debug).text
    assert "Outcome: infeasible after 10 s. It ran to its end, and broke a constraint" in text
    assert "Measured: overlap 2." in text
    assert "at most 0 is allowed" in text
    assert "circle 3" in text


def test_several_files_have_names_and_readonly_ones_are_shown(tmp_path: Path) -> None:
    garden, nodes = planted(c_task(tmp_path))
    asked = prompt(garden, nodes, Improve)
    stable = asked.messages[0].stable
    assert stable.index("FILE: src/main.c\n") < stable.index("FILE: src/helper.c\n")
    assert "FILE: api.h (read-only)\n" in asked.system
    assert HEADER in asked.system
    assert "FILE: ` with the path of a file stands before the blocks of that file" in asked.system
    assert "DELETE: ` with a path removes a file" in asked.system
    assert "with its path, which matches `src/*.c`, and the whole text in one block" in asked.system
    assert "each new or changed file as a whole" in prompt(garden, nodes, Draft).text
    assert "#define WIDTH 128" in asked.system
    assert "// tune: 16..512 log step 16" in asked.system
    assert "They are built with `make -s` first" in asked.system
    assert "required: `overlap` at most 0" in asked.system


def test_files_are_added_and_deleted_only_where_there_can_be_several(tmp_path: Path) -> None:
    garden, nodes = planted(circles())
    asked = prompt(garden, nodes, Draft)
    assert not re.search("DELETE|FILE: ` with", asked.text)
    assert "with the whole new file in one block" in asked.text
    (tmp_path / "pack.py").write_text("def pack(n):\n    return []\n")
    (tmp_path / "score.py").write_text("def score(candidate, case):\n    return 0\n")
    garden, nodes = planted(
        ProgramTask("one", str(tmp_path), Metric("sum", "maximise"), Workspace(("*.py",)), 5.0, scorer="score.py")
    )
    assert "which matches `*.py`" in prompt(garden, nodes, Improve).system


def test_a_draft_is_shown_the_tasks_example_else_the_seed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    garden, nodes = planted(c_task(tmp_path / "a"))
    assert f'FILE: src/main.c\n<data kind="source">\n{MAIN}' in prompt(garden, nodes, Draft).text
    garden, nodes = planted(c_task(tmp_path / "b", prompt=PromptText(example="int sum;", contract="Keep `sum`.")))
    asked = prompt(garden, nodes, Draft)
    assert "```\nint sum;\n```" in asked.text
    assert MAIN not in asked.text
    assert "Keep `sum`." in asked.system
    assert "A scorer that you cannot see" not in asked.system


def test_kinds_of_change_come_from_the_users_templates_then_the_task_then_ours(tmp_path: Path) -> None:
    own, folder = tmp_path / "own", tmp_path / "task"
    own.mkdir()
    folder.mkdir()
    task = c_task(folder, prompt=PromptText(change_kinds="kinds.md"))
    with pytest.raises(TaskError, match=r"task.prompt.change_kinds is 'kinds.md'; expected a file in "):
        task.prepare()
    (folder / "kinds.md").write_text("# tiling\nhow loops are split\n")
    garden, nodes = planted(task)
    assert "**tiling**: how loops are split" in prompt(garden, nodes, Improve).text
    (own / "aims.md").write_text("# mine\nwhat I want\n")
    assert "**mine**: what I want" in prompt(garden, nodes, Improve, own).text


def test_templates_of_an_older_version_render(tmp_path: Path) -> None:
    """They know nothing of contract, example and feedback."""
    (tmp_path / "own").mkdir()
    (tmp_path / "task").mkdir()
    (tmp_path / "own" / "system.md").write_text("Task:\n{{task}}\n\nInstructions:\n{{program}}\n")
    (tmp_path / "own" / "improve.md").write_text("{{source}}\n{{result}}\n{{noise}}\n{{aim}}: {{aim_words}}\n")
    garden, nodes = planted(c_task(tmp_path / "task"))
    asked = prompt(garden, nodes, Improve, tmp_path / "own")
    assert asked.system.startswith("Task:\n- metric: `ratio` in times; higher is better\n")
    assert asked.system.endswith("Instructions:\nNone were given.\n")
    assert "Its score is 2.5 times" in asked.text


def test_a_command_is_described_where_nothing_else_is_said(tmp_path: Path) -> None:
    task = c_task(tmp_path, scorer=None, command="./bench", checks="./checks")
    contract = task.prompt_info.contract
    assert "Then `./bench` runs in that folder" in contract
    assert "After it, `./checks` must end with exit status 0" in contract
