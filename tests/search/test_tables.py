"""The benchmark of policies: its tables, and that it plays the real engine. On NK tables, which need no package."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from operators.languages.files import Editable
from operators.languages.parameters import read_parameters
from operators.numeric.observations import search_space
from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.tune import Tune
from search.config import ClaimPlan
from search.playing import game, tables
from search.policies import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.selection.samplers import Argmax
from search.policies.selection.scores import FlatUcb

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import playing

POLICY = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(root_runs=1))
TUNED = game.Player(POLICY, lambda table: {"tune": Tune()}, {}, ClaimPlan(candidates=3, confirm_seeds=2))
MUTATED = game.Player(POLICY, lambda table: {"mutation": playing.Mutation(table, copies=True)}, {})


@pytest.fixture(scope="module")
def table() -> tables.Table:
    return tables.nk(1, bits=8, linked=2)


def ran(word: str) -> None:
    """What a pickle would call (not a builtin: libraries put others in their place)."""
    print(word)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return ran, ("it has run",)


def test_a_pickle_that_wants_to_import_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"asks to import .*test_tables\.ran; expected plain data only"):
        tables.unpickled(pickle.dumps({"00": Harm()}))
    assert capsys.readouterr().out == ""
    assert tables.unpickled(pickle.dumps({"00": [1.0, 2.0]})) == {"00": [1.0, 2.0]}


def test_a_program_is_its_setting(table: tables.Table) -> None:
    setting = (0, 1, 1, 0, 0, 0, 1, 1)
    program = table.program(setting)
    assert table.setting(read_parameters(program)) == setting
    space = search_space({"train.py": program}, Editable())
    assert set(space.values()) == {ParameterRange(0, 1, integer=True, choices=(0, 1), unordered=True)}
    assert len(space) == 8


def test_percentiles_are_true_ranks(table: tables.Table) -> None:
    means = table.scores.mean(axis=1)
    assert table.percentiles[np.argmin(means)] == pytest.approx(np.log10(1 / 256))
    assert table.percentiles[np.argmax(means)] == pytest.approx(0.0)
    starts = {table.place(table.start(np.random.default_rng(seed))) for seed in range(50)}
    assert all(0.29 <= 10 ** table.percentiles[place] <= 0.71 for place in starts)


@pytest.mark.parametrize("player", [TUNED, MUTATED], ids=["tune", "mutation"])
@pytest.mark.parametrize("slots", [1, 8])
def test_a_game_is_played_to_its_end_and_can_be_played_again(
    table: tables.Table, player: game.Player, slots: int
) -> None:
    played = game.play(table, player, seed=3, evaluations=40, slots=slots)
    assert len(played.best) == 40
    assert (np.diff(played.best) <= 0).all()
    assert played.best[-1] < played.best[0]
    again = game.play(table, player, seed=3, evaluations=40, slots=slots)
    assert (again.best == played.best).all()
    assert again.picked == played.picked


def test_confirmation_is_paid_from_the_same_evaluations(table: tables.Table) -> None:
    """With six of them set aside, the choice is made among what the first 34 found."""
    played = game.play(table, TUNED, seed=3, evaluations=40)
    assert played.picked >= played.best[33]
    assert game.play(table, replace(TUNED, plan=None), seed=3, evaluations=40).best == pytest.approx(played.best)


def test_known_settings_are_paid_for_again_only_on_purpose(table: tables.Table) -> None:
    def settings(copies: bool) -> list[tables.Setting]:
        player = replace(MUTATED, operators=lambda table: {"mutation": playing.Mutation(table, copies)})
        played = game.Game(table, player, seed=5)
        played.search(60, 1)
        return [played._setting(node.candidate.files) for node in played.tree.nodes]

    assert len(set(settings(copies=False))) == len(settings(copies=False))
    assert len(set(settings(copies=True))) < len(settings(copies=True))
