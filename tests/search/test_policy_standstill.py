"""A search whose best does not improve any more looks elsewhere until it does, and says so once."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from growing import ALL, TUNE, Growth

from archive.records import Propose, Replicate
from archive.storage.store import Archive
from search.policies import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.debug import Debugging
from search.policies.phases.stagnation import StagnationHandling, Standstill
from search.policies.population.islands import Islands
from search.policies.population.partners import RankPartner
from search.policies.selection.samplers import Argmax
from search.policies.selection.scores import FlatUcb, Rank

GREEDY = Composition(Rank(), Argmax(), opening=BaselineRuns(1), widening=StagnationHandling(patience=4))


def standstill(growth: Growth, patience: int = 4) -> Standstill | None:
    return StagnationHandling(patience=patience).standstill(growth.tree)


def stuck() -> Growth:
    """The best (1) has not been improved on in four candidates; 2 and its child 6 are another branch."""
    growth = Growth()
    root = growth.root(3.0)
    best, other = growth.child(1.0, root), growth.child(2.0, root)
    for score in (1.5, 1.2):
        growth.child(score, best)
    growth.child("crashed", best)
    growth.child(1.9, other)
    return growth


# ---------------------------------------------------------------- when


def test_it_begins_when_patience_is_used_and_ends_with_an_improvement() -> None:
    growth = Growth()
    growth.root(3.0)
    best = growth.child(2.0)
    for number in range(3):
        assert standstill(growth) is None, number
        growth.child(2.5)
    growth.child(None)
    assert standstill(growth) is None, "what is pending has not failed to improve yet"
    growth.child("timed_out")
    assert standstill(growth) == Standstill(best, 4), "a failed candidate did not improve"
    growth.child(2.1)
    assert standstill(growth) == Standstill(best, 5)
    growth.child(1.9)
    assert standstill(growth) is None
    assert StagnationHandling().standstill(stuck().tree) is None, "off unless patience is set"


def test_improvements_within_noise_do_not_count_but_add_up() -> None:
    def run(*scores: float) -> Standstill | None:
        growth = Growth()
        growth.root(3.0, 3.1, 2.9)  # sigma is 0.1
        for score in scores:
            growth.child(score)
        return standstill(growth, 5)

    small = [2.98, 2.96, 2.94, 2.92, 2.91]
    assert run(*small) is not None
    assert run(*small, 2.89) is None, "0.11 from the root by now"
    assert run(2.0, 1.95, 1.94, 1.93, 1.92) is None
    assert run(2.0, 1.95, 1.94, 1.93, 1.92, 1.91) is not None


def test_both_directions_and_suspects() -> None:
    growth = Growth("maximise")
    growth.root(1.0)
    best = growth.child(2.0)
    for _ in range(4):
        growth.child(1.5)
    assert standstill(growth) == Standstill(best, 4)
    cheat = growth.child(9.0)
    assert standstill(growth) is None
    growth.land(growth.choose(Replicate(cheat)), "invalid")
    assert standstill(growth) == Standstill(best, 4)


# ---------------------------------------------------------------- what


def parents(policy: Composition, growth: Growth, operators: Any, times: int = 300) -> Counter[int]:
    made = [policy.choose(growth.tree, np.random.default_rng(seed), operators) for seed in range(times)]
    return Counter(growth.tree.index[m.parents[0]] for m in made if isinstance(m, Propose))


def test_half_of_the_choices_are_made_on_other_branches() -> None:
    growth = stuck()
    drawn = parents(GREEDY, growth, {"tune": TUNE})
    assert set(drawn) == {1, 6}, "the leader, and the best of the other branch"
    assert 0.4 < drawn[6] / 300 < 0.6
    all_the_time = dataclasses.replace(GREEDY, widening=StagnationHandling(patience=4, elsewhere=1.0))
    assert set(parents(all_the_time, growth, {"tune": TUNE})) == {6}
    never = dataclasses.replace(GREEDY, widening=StagnationHandling(patience=4, elsewhere=0.0))
    assert set(parents(never, growth, {"tune": TUNE})) == {1}


def test_drafts_come_and_the_usual_operators_step_back() -> None:
    growth, policy = stuck(), dataclasses.replace(GREEDY, repair=Debugging(0.0), mating=RankPartner(best=1.0))
    made = [policy.choose(growth.tree, np.random.default_rng(seed), ALL) for seed in range(400)]
    drawn = Counter(m.operator for m in made if isinstance(m, Propose))
    assert drawn["draft"] > 80
    assert drawn["crossover"] > 2 * drawn["tune"], "the last four proposals were all by tune"
    patient = dataclasses.replace(policy, widening=StagnationHandling())
    made = [patient.choose(growth.tree, np.random.default_rng(seed), ALL) for seed in range(400)]
    drawn = Counter(m.operator for m in made if isinstance(m, Propose))
    assert drawn["draft"] == 0


def test_where_there_is_no_other_branch_the_search_goes_on() -> None:
    growth = Growth()
    growth.root(3.0)
    best = growth.child(1.0)
    for _ in range(4):
        growth.child(2.0, best)
    assert set(parents(GREEDY, growth, {"tune": TUNE})) == {1}


def test_on_islands_the_other_branches_are_those_of_the_island() -> None:
    """Moves alternate between two islands: 2, 4 and 6 are on this one, and 4 is in the leader's branch."""
    growth = stuck()
    growth.child(1.5, growth.tree.root)  # the best of the other branches, on the other island
    policy = dataclasses.replace(GREEDY, population=Islands(count=2, every=0))
    assert set(parents(policy, growth, {"tune": TUNE})) == {4, 6}
    everywhere = dataclasses.replace(GREEDY, population=None)
    assert set(parents(everywhere, growth, {"tune": TUNE})) == {1, 7}


# ---------------------------------------------------------------- what is said


def test_the_words_stay_the_same_for_as_long_as_it_lasts() -> None:
    growth = stuck()
    said = GREEDY.state(growth.tree)
    assert said is not None
    best = growth.tree.nodes[1].node_id
    assert (said.code, said.node_id) == ("standstill", best)
    assert said.words.startswith(f"4 candidates have not improved on {best[:8]} by more than noise")
    assert "50% of the choices" in said.words
    growth.child(2.0)
    assert GREEDY.state(growth.tree) == said
    assert GREEDY.state(growth.rebuilt()) == said
    growth.child(0.5)
    assert GREEDY.state(growth.tree) is None
    assert GREEDY.state(Growth().tree) is None


def test_refusals_are_told_too() -> None:
    growth = Growth()
    root = growth.root(3.0)
    policy = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(1), widening=StagnationHandling(2, 9))
    for number in range(4):
        assert (policy.state(growth.tree) is not None) == (number >= 2)
        growth.refuse(Propose("tune", (root,)))
    state = policy.state(growth.tree)
    assert state is not None
    assert (state.code, state.node_id) == ("refusals", root)
    assert f"2 proposals in a row came to nothing after node {root[:8]}" in state.words


Start = Callable[..., Any]
STUCK = ("operators=tune", "policy.widening.patience=3", "policy.widening.elsewhere=0.5", "seed=1")


def events(tmp_path: Path) -> list[str]:
    with Archive.open(tmp_path / "archive.duckdb") as archive:
        return [m for (m,) in archive.query("SELECT message FROM events WHERE kind = 'widened' ORDER BY happened_at")]


@pytest.mark.slow
def test_a_whole_search_notes_each_episode_once(start: Start, tmp_path: Path) -> None:
    bench = start("budget.evaluations=60", *STUCK, slots=1)
    noted = events(tmp_path)
    assert noted
    assert len(noted) == len(set(noted)), "each episode has an improvement of its own that it began after"
    nodes = {node.node_id[:8] for node in bench.search.tree.nodes}
    for message in noted:
        assert message.split(" by more than noise")[0].split()[-1] in nodes


@pytest.mark.slow
def test_a_resume_within_an_episode_does_not_note_it_again(start: Start, tmp_path: Path) -> None:
    start("budget.evaluations=60", *STUCK, slots=1)
    whole = events(tmp_path)
    (tmp_path / "archive.duckdb").unlink()
    for stop_after in (6, 3, 6, 6, 6, None):
        start("budget.evaluations=60", "run=shakespeare-1", *STUCK, slots=1, stop_after=stop_after)
    assert [m.split(" improved on")[0] for m in events(tmp_path)] == [m.split(" improved on")[0] for m in whole]
    assert len(events(tmp_path)) == len(whole)


@pytest.mark.parametrize("patience", [0, 2.5, "soon"])
def test_a_patience_that_makes_no_sense_is_refused(patience: Any) -> None:
    with pytest.raises(ValueError, match=r"policy\.widening\.patience is .*whole number"):
        StagnationHandling(patience=patience)
