"""Every attack of the list, twice: it works where a candidate is trusted, and here it does not.

    pytest tests/attacks/test_attacks.py -k look_ahead

Each is one program in ``candidates/``, which declares how it must end (see ``attacking``). After each, an honest
program in the same evaluator still gets the score that it had before.
"""

from __future__ import annotations

import pytest
from attacking import LIST, SECRET, Attack, NaiveRun, World, all_attacks, program

from archive.records import Evaluation, Failed, Scored
from prepare.task import Task

SEED = 11
ATTACKS = all_attacks()
MARKED = [pytest.param(each, id=each.name, marks=() if each.fast else pytest.mark.slow) for each in ATTACKS]


def score_of(evaluation: Evaluation) -> float:
    assert isinstance(evaluation, Scored), evaluation
    return evaluation.score


@pytest.fixture(scope="module")
def honest(run_candidate, toy_seed: str) -> float:
    """The honest program's score before any attack."""
    return score_of(run_candidate(toy_seed, seed=SEED))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, toy_task: Task) -> World:
    return World(tmp_path_factory.mktemp("world"), toy_task)


@pytest.fixture(scope="module")
def trusted(world: World, toy_seed: str) -> float:
    """The honest program's score where it is trusted. A busy machine may keep it from being in time: then once more."""
    for _ in range(5):
        run = world.run([toy_seed], "apart", SEED, patience=60.0)
        if run.scores[0] is not None:
            break
    assert run.scores[0] is not None, run
    assert (run.alive, run.trophy, run.left, SECRET in str(run.outputs)) == (True, None, 0, False), run
    return run.scores[0]


@pytest.mark.parametrize("attack", MARKED)
def test_it_works_where_it_is_trusted(
    attack: Attack, world: World, trusted: float, toy_seed: str, toy_task: Task
) -> None:
    sources = [program(attack, toy_task)] * attack.runs + [toy_seed] * (attack.harm == "later")
    run = world.run(sources, attack.naive, SEED, patience=6.0 if attack.harm == "dead" else 60.0)
    assert harmed(attack, run, trusted, toy_task), run


def harmed(attack: Attack, run: NaiveRun, trusted: float, task: Task) -> bool:
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


@pytest.mark.parametrize("attack", MARKED)
def test_it_fails_here(attack: Attack, run_candidate, honest: float, toy_seed: str, toy_task: Task) -> None:
    for _ in range(attack.runs):
        evaluation = run_candidate(program(attack, toy_task), seed=SEED)
    if attack.ends == "scored":
        assert score_of(evaluation) >= honest - 1e-6
    else:
        assert isinstance(evaluation, Failed), evaluation
        assert evaluation.outcome == attack.ends, (evaluation.reason, evaluation.log)
        assert attack.reason in evaluation.reason, evaluation.log
        assert evaluation.violation or "audit disagrees" not in evaluation.reason
    assert attack.harm != "text" or not quotes(repr(evaluation), toy_task)
    assert score_of(run_candidate(toy_seed, seed=SEED)) == pytest.approx(honest, abs=1e-6)


def quotes(text: str, task: Task, length: int = 20) -> bool:
    """Whether ``text`` holds that many bytes in a row of the evaluation text."""
    rows = task.evaluation_rows("val")
    return any(
        row[at : at + length].tobytes().decode() in text for row in rows for at in range(0, len(row) - length + 1, 5)
    )


def test_every_number_of_the_list_has_its_programs() -> None:
    assert {attack.number for attack in ATTACKS} == set(LIST)
