"""A coding agent that works on files: stand-ins that change, try, cheat and break off.

Every test starts a process, since what an agent can reach and what it leaves in its folder are what is tested.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from garden import Garden
from stand_ins import CLAUDE, script

from archive.llm_calls import LlmCall
from archive.records import Candidate, Node
from operators.base import NoCandidate
from operators.llm.command.client import CommandModel
from operators.llm.command.sandbox import _masks
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from operators.llm.secrets import Secrets
from operators.rewrite.agent import Agent
from prepare.program import ProgramTask, Workspace
from prepare.task import Metric

MAIN = "from helper import twice\n\nSIZE = 2  # tune: 1..9\n\n\ndef pack(n):\n    return twice(n) * SIZE\n"
HELPER = "def twice(x):\n    return 2 * x\n"
DONE = json.dumps({**CLAUDE[-1], "result": "I looked around.\n**IDEA:** three is more"})


SPENT = json.dumps({**CLAUDE[-1], "subtype": "error_max_turns", "result": None})


@pytest.fixture
def grown(tmp_path: Path) -> tuple[Garden, dict[str, Node]]:
    """root -> (better, broken) of a task with two files, a read-only one and a scorer."""
    folder = tmp_path / "task"
    folder.mkdir()
    files = {"main.py": MAIN, "helper.py": HELPER}
    for path, text in {**files, "data.txt": "42\n", "score.py": "SECRET = 7\n"}.items():
        (folder / path).write_text(text)
    garden = Garden("maximise")
    workspace = Workspace(("main.py", "helper.py"), ("data.txt",))
    task = ProgramTask("sums", str(folder), Metric("ratio", "maximise"), workspace, 5.0, scorer="score.py")
    garden.task = task  # type: ignore[assignment]
    root = garden.grow(files, (), "seed", "the seed", 1.0)
    better = garden.grow({**files, "main.py": MAIN.replace("2  #", "4  #")}, (root.node_id,), "improve", "four", 1.5)
    broken = garden.grow({**files, "helper.py": "def twice(x): return x[0]\n"}, (root.node_id,), "improve", "index it")
    garden.fail(broken, "crashed", "TypeError", log="TypeError: int is not subscriptable\ntoken-of-somebody")
    return garden, {"root": root, "better": better, "broken": broken}


def asked(
    grown: tuple[Garden, dict[str, Node]],
    path: str,
    calls: list[LlmCall] | None = None,
    lookup: Any = lambda *_: None,
    **more: Any,
) -> Candidate | NoCandidate:
    """What comes of a run of a stand-in from the root."""
    garden, nodes = grown
    model = CommandModel("tool", agent=f"{path} --output-format json --max-turns {{turns}}", call_dollars=1.0)
    record = (calls if calls is not None else []).append
    hidden = Secrets(("token-of-somebody",))
    meter = Meter(model, max_dollars=9, max_tokens=10**7, record=record, hidden=hidden, lookup=lookup)
    return garden.ask(Agent(meter, **{"seconds": 20.0, **more}), nodes["root"].node_id)


REPORT = "sed 's/^/# /' /check/said >> main.py; sed -i 's/SIZE = 2/SIZE = 3/' main.py"
"""Commands that leave a usable program with what was written to /check/said."""


def agent(folder: Path, body: str) -> str:
    """A stand-in that works, and then says what it did."""
    return script(folder, f"mv prompt /tmp\n{body}\ncat <<'END'\n{DONE}\nEND")


def test_what_it_leaves_in_the_editable_files_is_the_candidate(
    grown: tuple[Garden, dict[str, Node]], tmp_path: Path
) -> None:
    calls: list[LlmCall] = []
    body = "sed -i 's/SIZE = 2/SIZE = 3/' main.py; echo 43 > data.txt; echo x > notes.txt; mkdir .git; echo x > .git/y"
    done = asked(grown, agent(tmp_path, body), calls)
    files = {"main.py": MAIN.replace("= 2 ", "= 3 "), "helper.py": HELPER}
    assert done == Candidate(files, (grown[1]["root"].node_id,), "agent", "three is more")
    (call,) = calls
    assert (call.outcome, call.dollars, call.tokens_in, call.operator) == ("answered", 0.0125, 1307, "agent")
    assert asked(grown, "/nowhere", lookup=lambda *_: call) == done, "a resumed search replays it, unpaid"


def test_what_it_is_told_and_can_read(grown: tuple[Garden, dict[str, Node]], tmp_path: Path) -> None:
    calls: list[LlmCall] = []
    body = "cat /tmp/prompt; find /context -type f | sort; cat /context/*.md /context/best/1-*/*; ls -A /; cat data.txt"
    look = f"({body}; find /work /run/net /home /tmp -name score.py; env) > /check/said 2>/dev/null; {REPORT}"
    done = asked(grown, agent(tmp_path, look), calls)
    assert isinstance(done, Candidate), done
    text = done.files["main.py"]
    for shown in (
        f"The program in `/work` is `{grown[1]['root'].node_id[:8]}`. Its score is 1 (one run).",
        "has 1.5: better by 0.5.",
        f"/context/best/1-{grown[1]['better'].node_id[:8]}/program/main.py",
        "+SIZE = 4  # tune: 1..9",
        "crashed, TypeError",
        "TypeError: int is not subscriptable",
        "about 30 turns and 20 seconds",
        "42",
    ):
        assert shown in text, shown
    assert "token-of-somebody" not in text
    assert "score.py" not in text, "neither the scorer nor any other of this repository"


CHECKS = [
    ("sed -i 's/SIZE = 2/SIZE = 3/' main.py; check > /check/said", "smoke test: main.py, helper.py can be imported"),
    ("echo 'def f(:' >> main.py; check > /check/said", "refused: the changed file does not parse"),
    ("check > /check/said", "refused: nothing changed but comments"),
    ("sed -i 's/SIZE = 2/SIZE = 4/' main.py; check > /check/said", "refused: this very program was tried before"),
    ("echo 'assert SIZE > 5' >> main.py; check > /check/said 2>&1", "AssertionError"),
    ("rm helper.py; ln -s /etc/passwd helper.py; check > /check/said 2>&1", "smoke test: failed"),
    ("head -c 999999 /dev/zero > main.py; check > /check/said", "refused: the editable files have more than"),
    ("printf '\\377' > main.py; check > /check/said", "refused: 'main.py' is not UTF-8 text"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("body", "said"), CHECKS)
def test_check_says_what_would_be_refused(
    grown: tuple[Garden, dict[str, Node]], tmp_path: Path, body: str, said: str
) -> None:
    path = agent(tmp_path, f"cp * /tmp; {body}; rm -rf ./*; cp /tmp/*.py .; {REPORT}")
    done = asked(grown, path)
    assert isinstance(done, Candidate), done
    assert said in done.files["main.py"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("true", "nothing changed but comments"),
        ("echo 'def f(:' >> main.py", "does not parse"),
        ("echo 'x = undefined_name' >> main.py", "nowhere defined"),
        ("printf '\\377' > main.py", "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    grown: tuple[Garden, dict[str, Node]], tmp_path: Path, body: str, reason: str
) -> None:
    done = asked(grown, agent(tmp_path, body))
    assert isinstance(done, NoCandidate)
    assert reason in done.reason


def test_links_are_not_followed(grown: tuple[Garden, dict[str, Node]], tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("SECRET = 1\n")
    body = f"rm helper.py; ln -s {outside} helper.py; echo 'twice = len' > main.py"
    done = asked(grown, agent(tmp_path, body))
    assert isinstance(done, Candidate)
    assert done.files == {"main.py": "twice = len\n"}


@pytest.mark.parametrize(
    ("end", "usable"),
    [
        ("sleep 60", True),
        (f"cat <<'END'\n{SPENT}\nEND\nexit 1", True),
        ("exit 3", False),
        ("echo 'Please run /login'; exit 1", False),
    ],
)
def test_at_the_end_of_its_budget_what_it_has_left_counts(
    grown: tuple[Garden, dict[str, Node]], tmp_path: Path, end: str, usable: bool
) -> None:
    calls: list[LlmCall] = []
    path = script(tmp_path, f"rm prompt; sed -i 's/SIZE = 2/SIZE = 3/' main.py\n{end}")
    done = asked(grown, path, calls, seconds=1.5)
    assert isinstance(done, Candidate) == usable, done
    if end.startswith("sleep"):
        assert (calls[0].tokens_in, calls[0].charged_dollars) == (None, 1.0), "unknown, so the most"


def test_a_model_that_is_no_agent_is_told(garden: Garden) -> None:
    root = garden.plant("RATE = 0.001\n", 3.0)
    meter = Meter(Scripted(["x"]), max_dollars=9, max_tokens=10**7, record=lambda call: None)
    done = garden.ask(Agent(meter), root.node_id)
    assert isinstance(done, NoCandidate)
    assert "operators=agent needs a coding agent" in done.reason
    assert meter.closed is not None, "nothing is asked again"
    plain = Meter(CommandModel("tool"), max_dollars=9, max_tokens=10**7, record=lambda call: None)
    done = garden.ask(Agent(plain), root.node_id)
    assert isinstance(done, NoCandidate)
    assert "has no llm.agent" in done.reason
    with pytest.raises(ValueError, match="expected turns"):
        Agent(plain, turns=0)


@pytest.mark.slow
def test_a_program_that_trains_is_rehearsed(tmp_path: Path, garden: Garden) -> None:
    """Starts torch in the agent's sandbox, which takes seconds."""
    source = (Path(__file__).resolve().parents[2] / "train/seeds/shakespeare.py").read_text()
    root = garden.plant(source, 3.0)
    body = "echo 'TWO = 2' >> train.py; check > /check/said 2>&1; sed 's/^/# /' /check/said >> train.py"
    path = agent(tmp_path, body)
    meter = Meter(
        CommandModel("tool", agent=f"{path} --json", call_dollars=1.0),
        max_dollars=9,
        max_tokens=10**7,
        record=lambda call: None,
    )
    done = garden.ask(Agent(meter, seconds=100.0), root.node_id)
    assert isinstance(done, Candidate), done
    assert "smoke test: train " in done.files["train.py"]


def test_our_own_packages_are_hidden_where_a_mount_has_them() -> None:
    house = Path(__file__).resolve().parents[2]
    assert _masks([("/usr", "/usr")]) == []
    hidden = _masks([(str(house.parent), "/run/python")])
    assert f"/run/python/{house.name}/conf" in hidden, "which holds scorers and hidden data"
    assert hidden.count("--tmpfs") == 8
