"""What looks on: the program of ``notify`` and experiment trackers, which can change or stop no search."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import search
from prepare.compose import choices_of
from prepare.config import SettingsError
from search.observers import base, notify
from search.observers.trackers.base import Ending, Screening, Tracker

SEED = "X = 1.0  # tune: 0.001..10 log\nY = 2.0  # tune: 0.1..20 log\n"


def toy(fails_after: int = 10**9, better: bool = True) -> search.OwnTask:
    asked: list[search.Request] = []

    def score(request: search.Request) -> float:
        asked.append(request)
        if len(asked) > fails_after:
            raise ValueError("it broke")
        values: dict[str, Any] = {}
        exec(request.files["train.py"], values)
        return float(values["X"] ** 2 + values["Y"] ** 2 if better else 1 + request.seed % 7 * 1e-3)

    return search.OwnTask(score, SEED, direction="minimise", name="toy")


def run(task: search.OwnTask, *overrides: str, budget: int = 20, archive: Any = None, claim: bool = False) -> list[Any]:
    """Make all evaluations of a run; return its events as (kind, message)."""
    options: dict[str, Any] = {"operators": "numeric", "claim": claim, "run": "a", "budget": budget}
    with search.Search(task, archive=archive, overrides=list(overrides), **options) as s:
        s.run()
        s.tell_end()
        return s.archive.query("SELECT kind, message, detail->>'$.event' FROM events ORDER BY arrival")


# ---------------------------------------------------------------- notify


@pytest.fixture
def teller(tmp_path: Path) -> Callable[[str], str]:
    """``teller(program)`` returns the setting for a Python program; ``told`` reads what one has written."""

    def make(program: str = "") -> str:
        file = tmp_path / "teller.py"
        file.write_text(f"import sys\nopen({str(tmp_path / 'told')!r}, 'a').write(sys.stdin.read() + '\\n')\n{program}")
        return f"notify={json.dumps(shlex.join([sys.executable, '-S', str(file)]))}"

    return make


def told(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]


def test_caps_and_the_end_are_told_once_each(teller: Callable[..., str], tmp_path: Path) -> None:
    run(toy(), teller(), archive=tmp_path / "a.duckdb")
    assert [each["event"] for each in told(tmp_path)] == ["cap", "end"]
    cap, end = told(tmp_path)
    assert cap["message"] == "16 of 20 evaluations are used"
    assert (end["run"], end["evaluations"], end["archive"]) == ("a", 20, str(tmp_path / "a.duckdb"))
    assert end["score"] < 5
    run(toy(), teller(), archive=tmp_path / "a.duckdb")  # a session with nothing to do
    assert len(told(tmp_path)) == 2


def test_a_plateau_is_told(teller: Callable[..., str], tmp_path: Path) -> None:
    run(toy(better=False), teller(), "policy.widening.patience=4")
    assert [each["event"] for each in told(tmp_path)].count("plateau") == 1


def test_many_failures_are_told(teller: Callable[..., str], tmp_path: Path) -> None:
    run(toy(fails_after=6), teller(), "policy.widening.stop_after=100")
    assert [each["event"] for each in told(tmp_path)].count("failures") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("sys.exit('no \x1b[31m network')", "ended with status 1: no"),
        ("import time; time.sleep(600)", "was killed"),
        ("import os, time\nif os.fork() == 0: time.sleep(600)", None),  # a child that stays behind
    ],
)
def test_a_failing_or_hanging_program_is_an_event(
    program: str, words: str | None, teller: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "SECONDS", 3.0)
    events = run(toy(), teller(program), budget=8)
    found = [message for kind, message, _ in events if kind == "notify"]
    assert bool(found) == bool(words)
    assert all((words or "") in message and "\x1b" not in message for message in found)
    assert [kind for kind, *_ in events].count("notified") == 2


def test_nothing_reaches_a_shell(tmp_path: Path) -> None:
    program = tmp_path / "keeps.py"
    program.write_text("import sys\nopen(sys.argv[1], 'w').write(' '.join(sys.argv[2:]))\n")
    command = shlex.join([sys.executable, str(program), str(tmp_path / "out"), "$(touch x)", ";", "touch", "y"])
    run(toy(), f"notify={json.dumps(command)}", budget=4)
    assert (tmp_path / "out").read_text() == "$(touch x) ; touch y"


@pytest.mark.parametrize("command", ["", "'", "no-such-program-here --x"])
def test_a_command_that_cannot_be_started_is_refused_at_once(command: str) -> None:
    with pytest.raises(SettingsError, match="notify is"):
        run(toy(), f"notify={json.dumps(command)}")


# ---------------------------------------------------------------- trackers


class Kept(Tracker):
    """A tracker that keeps what it is told, in the class, since the search makes it."""

    told: list[Any] = []  # noqa: RUF012

    def start(self, run: Any, resumed: bool) -> None:
        self.told.append(("start", run.run, resumed))

    def screened(self, screening: Screening) -> None:
        self.told.append(screening)

    def end(self, ending: Ending) -> None:
        self.told.append(ending)


class Broken(Kept):
    def screened(self, screening: Screening) -> None:
        raise SystemExit("no \x1b network")


class Hanging(Kept):
    def end(self, ending: Ending) -> None:
        time.sleep(3)


def own(kind: type) -> Sequence[str]:
    return (f"+tracker._target_={kind.__module__}.{kind.__qualname__}",)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    Kept.told.clear()


def tracked(tracker: str, *overrides: str, **options: Any) -> list[Any]:
    return run(toy(), f"tracker._target_={tracker}", *overrides, **options)


def test_a_tracker_is_told_of_each_screening_and_of_the_end() -> None:
    tracked("test_observers.Kept", claim=True)
    import test_observers  # as the configuration finds it

    first, *screenings, ending = test_observers.Kept.told
    assert first == ("start", "a", False)
    assert len({each.key for each in screenings}) == len(screenings)
    assert [each.evaluations for each in screenings] == sorted(each.evaluations for each in screenings)
    assert len(screenings) < 20  # single scores of the claim are told to nobody
    assert screenings[0].parameters == {"X": 1.0, "Y": 2.0}
    assert screenings[-1].best == min(each.score for each in screenings)
    assert ending.finished
    assert ending.figures.keys() <= {"gain", "low", "high"}


@pytest.mark.parametrize(("tracker", "words"), [("Broken", "SystemExit: no"), ("Hanging", "left behind")])
def test_a_failing_or_hanging_tracker_is_an_event(tracker: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.ObserverThread.finish, "__defaults__", (0.5,))
    events = tracked(f"test_observers.{tracker}", budget=8)
    (found,) = [message for kind, message, _ in events if kind == "tracker"]
    assert words in found
    assert "\x1b" not in found


def test_a_missing_library_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match="pip install wandb"):
        run(toy(), "tracker=wandb")


def test_a_resumed_search_adds_to_its_study(tmp_path: Path) -> None:
    """With the one library that is always there; ``test_trackers.py`` has the others."""
    import optuna

    for budget in (4, 6):
        events = run(toy(), "tracker=optuna", f"tracker.file={tmp_path / 'log'}", budget=budget, archive=tmp_path / "a")
        assert [message for kind, message, _ in events if kind == "tracker"] == []
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "log")))
    (study,) = optuna.get_all_study_summaries(storage)
    assert study.n_trials == 6
    assert study.user_attrs["champion"] == "none"


def test_there_is_no_tracker_without_asking() -> None:
    assert set(choices_of("tracker")) == {"mlflow", "none", "optuna", "tensorboard", "trackio", "wandb"}
    with search.Search(toy(), operators="numeric") as s:
        assert s._observers == ()
