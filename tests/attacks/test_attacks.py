"""Every attack of the list, twice: it works where a candidate is trusted (at night), and here it does not.

    pytest tests/attacks/test_attacks.py -k look_ahead

Each is one program in ``candidates/``, which declares how it must end (see ``attacking``). Here the honest program's
score is the one to beat, as in any search: what would lead is audited most strictly. After each, the host is as it was.
After one in ten, and after each that aims at later runs, an honest program still gets the score that it had before.
After a change in this folder run all of ``pytest tests/attacks``: that an attack works where it is trusted is
checked at night, except for a few.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attacking import LIST, SECRET, Attack, NaiveRun, World, all_attacks, program
from host import Host
from test_claims import CHEATS

from archive.records import Evaluation, Failed, Scored
from prepare.language_model import LanguageModelTask
from train.language_model.evaluator import AuditedEvaluator

SEED = 11
ATTACKS = all_attacks()
EVERY = 10
"""How many attacks share one look at the honest program's score."""


def trusted_marks(attack: Attack) -> pytest.MarkDecorator:
    """Six check the harness in CI; all of them run at night."""
    return pytest.mark.slow if attack.checks_harness else pytest.mark.nightly


def marks_here(attack: Attack) -> pytest.MarkDecorator:
    """CI runs one attack of each way, some of them in a claim; those and the variants run at night here."""
    return pytest.mark.nightly if attack.variant_of or attack.name in CHEATS else pytest.mark.slow


def parameters(marks: Callable[[Attack], Any]) -> list[Any]:
    return [pytest.param(each, id=each.name, marks=marks(each)) for each in ATTACKS]


def score_of(evaluation: Evaluation) -> float:
    assert isinstance(evaluation, Scored), evaluation
    return evaluation.score


# ---------------------------------------------------------------- where it is trusted


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, toy_task: LanguageModelTask) -> World:
    return World(tmp_path_factory.mktemp("world"), toy_task)


@pytest.fixture(scope="session")
def trusted(world: World, toy_seed: str) -> float:
    """The honest program's score where it is trusted. A busy machine may keep it from being in time: then once more."""
    runs = (world.run([toy_seed], "apart", SEED, patience=60.0) for _ in range(5))
    run = next(filter(is_clean, runs), None)
    assert run is not None, "in none of five runs was the honest program scored, in time, and all of it gone"
    assert run.scores[0] is not None
    return run.scores[0]


def is_clean(run: NaiveRun) -> bool:
    """What must hold after an honest program: else every attack would seem to work."""
    assert (run.trophy, SECRET in str(run.outputs)) == (None, False), run
    return run.scores[0] is not None and run.alive and run.left == 0


@pytest.mark.parametrize("attack", parameters(trusted_marks))
def test_it_works_where_it_is_trusted(
    attack: Attack, world: World, trusted: float, toy_seed: str, toy_task: LanguageModelTask
) -> None:
    sources = [program(attack, toy_task)] * attack.runs + [toy_seed] * (attack.harm == "later")
    run = world.run(sources, attack.naive, SEED, patience=6.0 if attack.harm == "dead" else 60.0)
    assert harmed(attack, run, trusted, toy_task), run


def harmed(attack: Attack, run: NaiveRun, trusted: float, task: LanguageModelTask) -> bool:
    """Whether the harm that the attack claims to do was done."""
    if attack.harm == "score":
        score = run.scores[attack.runs - 1]
        return score is not None and not score > trusted - attack.gain  # NaN wins, as it has elsewhere
    if attack.harm == "later":
        later = run.scores[-1]
        return run.alive and (later is None or abs(later - trusted) > 0.1)
    if attack.harm == "secret":
        return SECRET in "".join(run.outputs)
    if attack.harm == "text":
        return quotes(run.outputs[0], task)
    if attack.harm == "escape":
        return all(sign in run.outputs[0] for sign in ("\n</data>", "\x1b]0;", "\u202e"))
    if attack.harm == "greed":
        return run.scores[0] is not None and "took it all" in run.outputs[0]
    return {"trophy": run.trophy is not None, "process": run.left > 0, "dead": not run.alive}[attack.harm]


# ---------------------------------------------------------------- here


@pytest.fixture(scope="session")
def honest(run_candidate, toy_seed: str) -> float:
    """The honest program's score before any attack."""
    return score_of(run_candidate(toy_seed, seed=SEED))


@pytest.fixture(scope="session")
def honest_again(run_candidate, toy_seed: str, honest: float) -> Iterator[Callable[[Attack], None]]:
    """Call it after each attack: the honest program must get its score, after one in ten and after the last one."""
    numbers = itertools.count(1)

    def again() -> None:
        assert score_of(run_candidate(toy_seed, seed=SEED)) == pytest.approx(honest, abs=1e-6)

    def after(attack: Attack) -> None:
        if next(numbers) % EVERY == 0 or attack.harm == "later":
            again()

    yield after
    again()


@pytest.fixture
def host(evaluator: AuditedEvaluator, toy_task: LanguageModelTask, honest: float) -> Host:
    return Host(evaluator.groups, *toy_task.corpus.locations())


@pytest.mark.parametrize("attack", parameters(marks_here))
def test_it_fails_here(
    attack: Attack,
    run_candidate,
    honest: float,
    honest_again: Callable[[Attack], None],
    toy_task: LanguageModelTask,
    host: Host,
) -> None:
    with host.watching():
        for _ in range(attack.runs):
            evaluation = run_candidate(program(attack, toy_task), seed=SEED, leader_score=honest)
    if attack.ends == "scored":
        assert score_of(evaluation) >= honest - 1e-6
    else:
        assert isinstance(evaluation, Failed), evaluation
        assert evaluation.outcome == attack.ends, (evaluation.reason, evaluation.log)
        assert attack.reason in evaluation.reason, evaluation.log
        assert evaluation.violation or "audit disagrees" not in evaluation.reason
    assert attack.harm != "text" or not quotes(repr(evaluation), toy_task)
    assert host.seen or not evaluation.resources.phases, "the processes of a sandbox are seen"
    host.untouched()
    honest_again(attack)


def quotes(text: str, task: LanguageModelTask, length: int = 20) -> bool:
    """Whether ``text`` holds that many bytes in a row of the evaluation text."""
    rows = task.evaluation_rows("val")
    return any(
        row[at : at + length].tobytes().decode() in text for row in rows for at in range(0, len(row) - length + 1, 5)
    )


def test_every_number_of_the_list_has_its_programs() -> None:
    assert {attack.number for attack in ATTACKS} == set(LIST)


def test_every_variant_names_an_attack_that_ci_runs() -> None:
    in_ci = {attack.name for attack in ATTACKS if not attack.variant_of}
    assert {attack.variant_of for attack in ATTACKS if attack.variant_of} <= in_ci
