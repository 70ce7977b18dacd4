"""What every policy under conf/policy/ must do, whatever it prefers. A new YAML file is tested without a change here.

The golden sequences in tests/golden/policy_*.json pin each policy's moves on a small search. After a change that is
meant to alter them, write them anew and read the difference:

    REGENERATE_GOLDEN=1 python -m pytest tests/conformance/test_policy_conformance.py -k golden
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hydra.utils
import numpy as np
import pytest
from growing import ALL, CONDITIONS, NUMERIC, Growth, Result, always, play
from omegaconf import OmegaConf

from archive.records import Direction, Move, Propose, Replicate, Stop, Wait
from archive.tree import Tree
from search.policies import Composition, Policy
from search.policies.base import Operators
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.replicate import LeaderReplication

REPO = Path(__file__).parents[2]
GOLDEN = REPO / "tests" / "golden"
NAMES = sorted(path.stem for path in (REPO / "conf" / "policy").glob("*.yaml"))
CARELESS = {name: dataclasses.replace(view, applies=always) for name, view in ALL.items()}
"""Operators that claim to apply to every node: the policy itself must know better."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def policy(name: str) -> Policy:
    return load(name)


def load(name: str) -> Policy:
    made: Policy = hydra.utils.instantiate(OmegaConf.load(REPO / "conf" / "policy" / f"{name}.yaml"))
    return made


def landscape(seed: int, crash: float = 0.2, change: Callable[[float], float] = float) -> Callable[[str], Result]:
    """Results that depend on how often a node was asked for, a crash now and then; ``change`` is applied to scores."""
    asked: Counter[str] = Counter()

    def result(node_id: str) -> Result:
        asked[node_id] += 1
        rng = np.random.default_rng((seed, int(node_id, 16), asked[node_id]))
        return "crashed" if rng.random() < crash else change(float(rng.normal(3.4, 0.3)))

    return result


def moves(
    policy: Policy,
    count: int = 60,
    direction: Direction = "minimise",
    change: Callable[[float], float] = float,
    slots: int = 2,
) -> tuple[Growth, list[Move]]:
    growth = Growth(direction)
    growth.root(change(3.4))
    return growth, play(growth, policy, ALL, count, landscape(5, change=change), seed=1, slots=slots)


def state(tree: Tree) -> object:
    arrays = (tree.means, tree.runs, tree.visits, tree.places)
    return [a.tolist() for a in arrays], list(tree.moves), list(tree.open_moves), tree.refused_in_a_row


# ---------------------------------------------------------------- a pure function of (tree, rng)


def test_deterministic_for_a_seed_and_leaves_the_tree_alone(policy: Policy) -> None:
    growth, _ = moves(policy)
    before = str(state(growth.tree))
    for seed in range(20):
        first = policy.choose(growth.tree, np.random.default_rng(seed), ALL)
        assert policy.choose(growth.tree, np.random.default_rng(seed), ALL) == first
    assert str(state(growth.tree)) == before


def test_the_seed_matters_only_through_the_generator(name: str) -> None:
    growth, _ = moves(load(name))
    one, other = load(name), load(name)
    one.choose(growth.tree, np.random.default_rng(9), ALL)  # a call leaves nothing behind
    for seed in range(20):
        answers = [p.choose(growth.tree, np.random.default_rng(seed), ALL) for p in (one, other)]
        assert answers[0] == answers[1]


def test_a_rebuilt_tree_gives_the_same_moves(policy: Policy) -> None:
    growth, _ = moves(policy)
    growth.child(None)
    growth.refuse(Propose("tune", (growth.tree.root,)))
    rebuilt = growth.rebuilt()
    for seed in range(20):
        here = policy.choose(growth.tree, np.random.default_rng(seed), ALL)
        assert policy.choose(rebuilt, np.random.default_rng(seed), ALL) == here


def test_every_recorded_move_is_chosen_again_under_replay(policy: Policy) -> None:
    """The tree is built anew, write by write, and asked before each move; now and then from scratch."""
    growth, asked, flying = Growth(), [], []
    growth.root(3.4)
    result = landscape(4)
    while len(asked) < 60:
        choice = policy.choose(growth.tree, np.random.default_rng((7, growth.next_move)), ALL)
        asked.append((len(growth.written), growth.next_move, choice))
        if isinstance(choice, Propose | Replicate):
            record = growth.choose(choice)
            if isinstance(choice, Propose):
                growth.add(record)
            flying.append(record)
        if not isinstance(choice, Propose | Replicate) or len(flying) == 3:
            record = flying.pop(len(asked) % len(flying))  # runs do not end in the order in which they began
            growth.land(record, result(growth.trained(record)))
    tree, written = Tree("test", "minimise", CONDITIONS), 0
    for number, (writes, move, choice) in enumerate(asked):
        for write in growth.written[written:writes]:
            write(tree)
        written = writes
        assert policy.choose(tree, np.random.default_rng((7, move)), ALL) == choice
        if number % 12 == 0:
            fresh = Tree("test", "minimise", CONDITIONS)
            for write in growth.written[:writes]:
                write(fresh)
            assert policy.choose(fresh, np.random.default_rng((7, move)), ALL) == choice


def test_a_resumed_search_goes_on_as_the_first_would_have(policy: Policy) -> None:
    def search(*stretches: int) -> list[Move]:
        growth, made, result = Growth(), [], landscape(2)
        growth.root(3.4)
        for stretch in stretches:
            growth.tree = growth.rebuilt()
            made += play(growth, policy, ALL, stretch, result, seed=3)
        return made

    assert search(50) == search(7, 20, 23)


# ---------------------------------------------------------------- whom it picks


def test_failed_and_unscored_nodes_are_never_improved(policy: Policy) -> None:
    growth, result = Growth(), landscape(8, crash=0.4)
    growth.root(3.4)
    debugged = 0
    for _ in range(150):
        choice = policy.choose(growth.tree, np.random.default_rng(growth.next_move), CARELESS)
        assert isinstance(choice, Propose | Replicate)
        parents = choice.parents if isinstance(choice, Propose) else (choice.node_id,)
        places = [growth.tree.index[parent] for parent in parents]
        if isinstance(choice, Propose) and choice.operator == "debug":
            debugged += 1
            assert growth.tree.failed()[places].all()
        else:
            assert growth.tree.eligible()[places].all()
        record = growth.choose(choice)
        if isinstance(choice, Propose):
            growth.add(record)
        if growth.next_move % 3:  # the others stay pending
            growth.land(record, result(growth.trained(record)))
    assert debugged > 0 or not _repairs(policy)


def _repairs(policy: Policy) -> bool:
    return not isinstance(policy, Composition) or policy.repair.probability > 0


def test_a_suspect_node_is_never_improved(policy: Policy) -> None:
    growth = Growth()
    growth.root(3.4)
    cheat = growth.child(0.01)
    growth.land(growth.choose(Replicate(cheat)), "invalid")
    for choice in play(growth, policy, NUMERIC, 40, landscape(3)):
        assert not (isinstance(choice, Propose) and cheat in choice.parents)
        assert not (isinstance(choice, Replicate) and cheat == choice.node_id)


def test_nothing_that_descends_from_a_cheat_is_bred_from_or_run_again(policy: Policy) -> None:
    growth = Growth()
    growth.root(3.4)
    cheat, other = growth.child(0.02), growth.child(3.3)
    heir = growth.child(0.01, cheat)
    merged = growth.child(0.03, other, cheat, operator="crossover")
    broken = growth.child("crashed", heir)
    pending = growth.choose(Propose("tune", (heir,)))
    growth.cheats(cheat)
    late = growth.add(pending)
    growth.land(pending, 0.005)
    out = {cheat, heir, merged, broken, late}
    for choice in play(growth, policy, ALL, 40, landscape(3)):
        assert not (isinstance(choice, Propose) and out & set(choice.parents)), choice
        assert not (isinstance(choice, Replicate) and choice.node_id in out), choice


def test_a_crossover_has_two_unrelated_parents(policy: Policy) -> None:
    growth, made = moves(policy, 120)
    pairs = [m.parents for m in made if isinstance(m, Propose) and m.operator == "crossover"]
    assert pairs
    for a, b in pairs:
        assert a != b
        assert a not in growth.tree.ancestors(b)
        assert b not in growth.tree.ancestors(a)


def test_a_tree_with_only_its_root_works(policy: Policy) -> None:
    growth = Growth()
    growth.root(3.4, 3.41, 3.42)
    assert policy.choose(growth.tree, np.random.default_rng(0), NUMERIC) == Propose("tune", (growth.tree.root,))


def test_no_operator_ends_with_a_reason(policy: Policy) -> None:
    growth = Growth()
    growth.root(3.4, 3.41, 3.42)
    stop = policy.choose(growth.tree, np.random.default_rng(0), {})
    assert isinstance(stop, Stop)
    assert "operators=" in stop.reason


# ---------------------------------------------------------------- what is pending counts


def test_the_root_comes_first_and_pending_replicates_count(policy: Policy) -> None:
    growth = Growth()
    assert isinstance(policy.choose(growth.tree, np.random.default_rng(0), ALL), Wait)
    seed_move = growth.choose(Propose("seed", ()))
    root = growth.add(seed_move)
    for _ in range(2):
        choice = policy.choose(growth.tree, np.random.default_rng(growth.next_move), ALL)
        assert isinstance(choice, Replicate), "the replicates of the root need not wait for its first score"
        growth.choose(choice)
    assert isinstance(policy.choose(growth.tree, np.random.default_rng(0), ALL), Wait)
    growth.land(seed_move, 3.4)
    kinds = []
    for _ in range(6):
        choice = policy.choose(growth.tree, np.random.default_rng(growth.next_move), ALL)
        assert isinstance(choice, Propose | Replicate), "no slot idles once the root has a score"
        kinds.append(type(choice))
        record = growth.choose(choice)
        if isinstance(choice, Propose):
            growth.add(record)
    assert kinds == [Propose] * 6
    assert growth.tree.waiting(root) == 2


def test_a_pending_debug_is_not_chosen_twice(policy: Policy) -> None:
    growth = Growth()
    growth.root(3.4, 3.4, 3.4)
    for _ in range(5):
        growth.child("crashed")
    chosen: Counter[str] = Counter()
    for _ in range(60):
        choice = policy.choose(growth.tree, np.random.default_rng(growth.next_move), CARELESS)
        assert isinstance(choice, Propose)
        if choice.operator == "debug":
            chosen[choice.parents[0]] += 1
        growth.add(growth.choose(choice))
    assert all(times == 1 for times in chosen.values())


def pending(policy: Policy, operators: Operators, slots: int = 24) -> tuple[Counter[str], Counter[Propose]]:
    """The parents and the (operator, parents) of what is chosen while nothing lands; ranks lie close."""
    growth = Growth()
    growth.root(3.4, 3.4, 3.4)
    for score in np.linspace(3.0, 3.3, 20):
        growth.child(float(score))
    parents: Counter[str] = Counter()
    moves: Counter[Propose] = Counter()
    for _ in range(slots):
        choice = policy.choose(growth.tree, np.random.default_rng(growth.next_move), operators)
        assert isinstance(choice, Propose | Replicate)
        record = growth.choose(choice)
        if isinstance(choice, Propose):
            parents[choice.parents[0]] += 1
            moves[choice] += 1
            growth.add(record)
    return parents, moves


def test_slots_side_by_side_do_not_all_make_the_same_move(policy: Policy) -> None:
    """The same operator on the same parents, again and again, is what a language model would answer alike."""
    _, moves = pending(policy, NUMERIC)
    assert len(moves) >= 3
    assert max(moves.values()) <= 22


ONE_NODE_AT_A_TIME = {"greedy", "hillclimb", "sica_interval"}
"""They improve one node by definition: slots side by side differ by operator and partner alone."""


def test_choosing_without_landing_spreads_out(name: str, policy: Policy) -> None:
    parents, _ = pending(policy, {"tune": ALL["tune"]})
    if name in ONE_NODE_AT_A_TIME:
        assert len(parents) == 1
    else:
        assert len(parents) >= 3
        assert max(parents.values()) <= (
            22 if name == "abmcts" else 18
        )  # its prior prefers width before any depth is seen


def test_a_pending_child_changes_what_is_chosen_next(name: str, policy: Policy) -> None:
    """Pending moves are seen: the same draw at the same tree, with and without many children of one node in flight."""
    growth, other = Growth(), Growth()
    for each in (growth, other):
        each.root(3.4, 3.4, 3.4)
        for score in np.linspace(3.0, 3.3, 12):
            each.child(float(score))
    crowded = chosen_parents(policy, growth)
    favourite = crowded.most_common(1)[0][0]
    for _ in range(30):  # the same island has its turn after them
        other.child(None, favourite)
    now = chosen_parents(policy, other)[favourite]
    assert now == crowded[favourite] if name in INDIFFERENT else now < crowded[favourite]


INDIFFERENT = {"greedy", "hillclimb", "random", "rank_softmax", "map_elites", "pareto", "sica_interval"}
"""Their formulas look at ranks alone; a child in flight is a slot that is taken, and no more."""


def chosen_parents(policy: Policy, growth: Growth) -> Counter[str]:
    if isinstance(policy, Composition):
        policy = dataclasses.replace(policy, recheck=LeaderReplication(1))  # a crowded leader would be trained again
    tree, tune = growth.tree, {"tune": ALL["tune"]}
    choices = [policy.choose(tree, np.random.default_rng(seed), tune) for seed in range(200)]
    return Counter(choice.parents[0] for choice in choices if isinstance(choice, Propose))


# ---------------------------------------------------------------- only the order of scores matters


def test_invariant_under_a_change_of_unit(policy: Policy) -> None:
    assert moves(policy)[1] == moves(policy, change=lambda score: 1e-4 * score + 7)[1]


@pytest.mark.parametrize("change", [math.exp, lambda s: s**5, lambda s: -1 / s], ids=["exp", "power", "reciprocal"])
def test_invariant_under_any_monotone_change(policy: Policy, change: Callable[[float], float]) -> None:
    """Where it is claimed, until a search is stuck, which the seed deviation says. With one run a node: a mean of
    several is not kept by a change that is not linear."""
    if isinstance(policy, Composition):
        patient = dataclasses.replace(policy.widening, patience=None)
        policy = dataclasses.replace(policy, opening=BaselineRuns(1), recheck=LeaderReplication(1), widening=patient)
    if not getattr(policy, "ordinal", False):
        pytest.skip("this policy does not claim to follow the order of scores alone")
    assert moves(policy)[1] == moves(policy, change=change)[1]


def test_what_is_claimed_about_order_is_known() -> None:
    """A policy that is added says what it claims, and this list says it again."""
    claims = {name for name in NAMES if getattr(load(name), "ordinal", False)}
    assert claims >= set(NAMES) - FOLLOWS_DISTANCES
    assert not claims & FOLLOWS_DISTANCES


FOLLOWS_DISTANCES = {"mad_sigmoid", "score_child_prop", "sica_interval", "ucb"}
"""``ucb`` by its patience alone: what is no improvement beyond noise is told by the seed deviation."""


def test_minimise_and_maximise_are_mirrors(policy: Policy) -> None:
    assert moves(policy)[1] == moves(policy, direction="maximise", change=lambda score: -score)[1]


# ---------------------------------------------------------------- it ends


def test_refusals_widen_and_then_stop(policy: Policy) -> None:
    growth, _ = moves(policy)
    parents: Counter[str] = Counter()
    choice = policy.choose(growth.tree, np.random.default_rng(0), NUMERIC)
    while parents.total() < 50:
        choice = policy.choose(growth.tree, np.random.default_rng(growth.next_move), NUMERIC)
        if isinstance(choice, Stop):
            break
        if isinstance(choice, Replicate):  # a much refused leader may be rechecked
            growth.land(growth.choose(choice), 3.4)
            continue
        assert isinstance(choice, Propose)
        parents[choice.parents[0]] += 1
        growth.refuse(choice)
    assert isinstance(choice, Stop)
    assert parents.total() == 25
    assert "25 proposals in a row" in choice.reason
    assert len(parents) >= 8, "a stuck search looks elsewhere"


# ---------------------------------------------------------------- golden sequences


def test_golden_sequence(name: str) -> None:
    growth, made = moves(load(name), 40)
    number = growth.tree.index
    told = [
        f"{m.operator} {' '.join(str(number[p]) for p in m.parents)}"
        if isinstance(m, Propose)
        else f"replicate {number[m.node_id]}"
        for m in made
    ]
    path = GOLDEN / f"policy_{name}.json"
    if os.environ.get("REGENERATE_GOLDEN"):
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    assert path.exists(), f"{path.name} is missing; this module's docstring says how to write it"
    assert json.loads(path.read_text(encoding="utf-8")) == told, "this module's docstring says how to write it anew"
