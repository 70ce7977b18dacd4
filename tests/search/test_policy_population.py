"""Islands, migration, elites by descriptor, and crossovers between branches: all from the tree alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
from growing import ALL, CROSSOVER, NUMERIC, TUNE, Growth, Result, play

from archive.records import Node, Propose, Replicate
from archive.tree import Tree
from search.policies import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.debug import Debugging
from search.policies.phases.stagnation import StagnationHandling
from search.policies.population.descriptors import ChangedConstants, Descriptor, Length, Measured
from search.policies.population.elites import Elites
from search.policies.population.islands import Islands, Pool
from search.policies.population.partners import RankPartner
from search.policies.selection.samplers import Argmax, Uniform
from search.policies.selection.scores import Equal, Rank
from search.policies.tree_cache import cache_of

NAN = math.nan
LENGTH = Elites([Length(log=False)], bins=2, exploration=0.0)


def policy(population: Islands, **parts: object) -> Composition:
    return Composition(Equal(), Uniform(), opening=BaselineRuns(1), population=population, **parts)  # type: ignore[arg-type]


def at_random(seed: int, crash: float = 0.0) -> object:
    rng = np.random.default_rng(seed)
    return lambda node_id: "crashed" if rng.random() < crash else float(rng.random())


def grown(population: Islands, moves: int = 80, operators: Mapping[str, object] = NUMERIC, **parts: object) -> Growth:
    growth = Growth()
    growth.root(1.0, 1.0)  # a replicate, so that moves and nodes are not numbered alike
    play(growth, policy(population, **parts), operators, moves, at_random(1), seed=2, slots=3)  # type: ignore[arg-type]
    return growth


def homes(tree: Tree, count: int) -> list[int]:
    return [node.move % count for node in tree.nodes]


def places(mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[int]:
    return np.flatnonzero(mask).tolist()


def pool(population: Islands, tree: Tree, seed: int = 0) -> Pool:
    return population.pool(tree, np.random.default_rng(seed))


# ---------------------------------------------------------------- islands


def test_without_migration_an_island_knows_its_own_nodes_and_the_root() -> None:
    for mates in ("same", "any"):
        tree = grown(Islands(count=3, every=0, mates=mates)).tree  # type: ignore[arg-type]
        home = homes(tree, 3)
        assert [home.count(island) for island in range(3)] == [28, 26, 27], (
            "82 moves, of which the second trains the root"
        )
        for place, node in enumerate(tree.nodes[1:], 1):
            first, *second = (tree.index[parent] for parent in node.parents)
            assert first == 0 or home[first] == home[place]
            assert mates == "any" or all(mate == 0 or home[mate] == home[place] for mate in second)


def test_partners_from_another_island_bring_two_islands_together() -> None:
    tree = grown(Islands(count=3, every=0, mates="other"), operators={"tune": TUNE, "crossover": CROSSOVER}).tree
    home = homes(tree, 3)
    pairs = [tuple(tree.index[p] for p in node.parents) for node in tree.nodes if len(node.parents) == 2]
    assert len(pairs) > 10
    assert all(home[a] != home[b] for a, b in pairs if a)
    assert all(b for _, b in pairs), "the root is at home everywhere, and no partner from elsewhere"


def test_one_island_is_everybody() -> None:
    growth = grown(Islands(count=1))
    assert places(pool(Islands(count=1), growth.tree).parents) == places(growth.tree.eligible())


def test_the_best_of_the_island_before_visit_until_the_next_migration() -> None:
    growth = Growth("maximise")
    growth.root(0.0)
    islands = Islands(count=2, every=10, share=0.4)
    for number in range(1, 10):
        growth.child(float(number))
        if number < 9:
            assert places(pool(islands, growth.tree).parents)[1:] == [
                n for n in range(1, number + 1) if n % 2 == (number + 1) % 2
            ]
    # Ten nodes: the best two (40% of four or five, the root left out) of the other island visit this one.
    assert len(growth.tree) == 10
    turn = len(growth.tree.moves) % 2
    own = [n for n in range(1, 10) if n % 2 == turn]
    best = sorted(n for n in range(1, 10) if n % 2 != turn)[-2:]
    assert places(pool(islands, growth.tree).parents) == [0, *sorted(own + best)]
    late = [growth.child(100.0 + n) for n in range(4)]  # better, but after the migration
    assert len(late) == 4
    turn = len(growth.tree.moves) % 2
    visiting = [n for n in places(pool(islands, growth.tree).parents) if n and n % 2 != turn]
    assert visiting == sorted(n for n in range(1, 10) if n % 2 != turn)[-2:]
    assert pool(Islands(count=2, every=0), growth.tree).parents.sum() == 1 + sum(n % 2 == turn for n in range(1, 14))


def test_a_child_of_a_visitor_stays_where_it_was_bred() -> None:
    tree = grown(Islands(count=3, every=9, share=0.5), moves=120).tree
    home = homes(tree, 3)
    crossed = [(home[tree.places[place]], home[place]) for place in range(1, len(tree)) if tree.places[place] > 0]
    assert {b for a, b in crossed if a != b} == {0, 1, 2}
    assert all(b in (a, (a + 1) % 3) for a, b in crossed), "visitors come from the island before in the ring"


def test_failed_nodes_are_debugged_at_home() -> None:
    growth = Growth()
    growth.root(1.0)
    islands = policy(Islands(count=4, every=0), repair=Debugging(1.0))
    play(growth, islands, ALL, 120, at_random(3, crash=0.5), seed=1)  # type: ignore[arg-type]
    home = homes(growth.tree, 4)
    debugged = [n for n, node in enumerate(growth.tree.nodes) if node.candidate.operator == "debug"]
    assert len(debugged) > 20
    assert all(home[growth.tree.places[n]] == home[n] for n in debugged)


def test_a_widened_search_leaves_its_island() -> None:
    growth = grown(Islands(count=4, every=0))
    islands = policy(Islands(count=4, every=0), widening=StagnationHandling(widen_after=3))
    turn = [homes(growth.tree, 4)[growth.tree.index[first_parent(islands, growth, seed)]] for seed in range(20)]
    assert set(turn) <= {0, len(growth.tree.moves) % 4}
    for _ in range(4):
        growth.refuse(Propose("tune", (growth.tree.root,)))
    turn = [homes(growth.tree, 4)[growth.tree.index[first_parent(islands, growth, seed)]] for seed in range(40)]
    assert set(turn) == {0, 1, 2, 3}


def test_an_island_where_nothing_can_be_done_does_not_end_the_search() -> None:
    """The only operator needs a partner, and the island's own nodes are all related: the others have one."""
    growth = Growth()
    growth.root(3.0)
    first = growth.child(2.0)
    second = growth.child(2.5)
    islands = policy(Islands(count=len(growth.tree.moves) + 1, every=0), mating=RankPartner(best=1.0))
    assert places(pool(Islands(count=len(growth.tree.moves) + 1, every=0), growth.tree).parents) == [0]
    move = islands.choose(growth.tree, np.random.default_rng(0), {"crossover": CROSSOVER})
    assert isinstance(move, Propose)
    assert set(move.parents) == {first, second}


def first_parent(chooser: Composition, growth: Growth, seed: int) -> str:
    move = chooser.choose(growth.tree, np.random.default_rng(seed), {"tune": TUNE})
    assert isinstance(move, Propose)
    return move.parents[0]


def test_a_rebuilt_tree_has_the_same_pools() -> None:
    elites = Elites([Length(), ChangedConstants()], bins=3)
    islands = Islands(count=3, every=7, share=0.3, elites=elites)
    growth = grown(islands)
    for seed in range(10):
        here, there = pool(islands, growth.tree, seed), pool(islands, growth.rebuilt(), seed)
        for name in ("parents", "residents", "partners"):
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


# ---------------------------------------------------------------- elites and descriptors


def zoo() -> Growth:
    """Programs of growing length, some with constants of their own, and a metric that some of them have."""
    growth = Growth()
    growth.source = lambda n: f"A = 1\nB = {2 + n % 2}\n" + "C = 5\n" * (n > 3) + "#" * 10 * n
    growth.metrics = lambda n: {"parameters": 10.0**n} if n != 2 else {}
    growth.seconds = lambda n: 5.0 + n
    growth.root(3.0)
    for score in (2.0, 4.0, "crashed", 1.0, 2.5):
        growth.child(score)  # type: ignore[arg-type]
    return growth


def test_descriptors_say_what_kind_of_program_it_is() -> None:
    tree = zoo().tree
    assert ChangedConstants()(tree).tolist() == [0, 1, 0, 1, 1, 2]
    lengths = [12, 22, 32, 42, 58, 68]
    assert Length(log=False)(tree).tolist() == lengths
    assert Length()(tree) == pytest.approx(np.log1p(lengths))
    parameters = np.array([1, 10, NAN, NAN, 1e4, 1e5])
    assert Measured("parameters", log=False)(tree) == pytest.approx(parameters, nan_ok=True)
    assert Measured("parameters")(tree) == pytest.approx(np.log1p(parameters), nan_ok=True)
    assert Measured("seconds", log=False)(tree) == pytest.approx([5, 6, 7, NAN, 9, 10], nan_ok=True)
    assert np.isnan(Measured("steps")(tree)).all()
    assert np.isnan(Measured("trust", log=False)(tree)).all(), "only what an evaluator measures"


def test_a_node_is_asked_once() -> None:
    growth, asked = zoo(), []

    def tell(tree: Tree, node: Node) -> float | None:
        asked.append(node.number)
        return None if node.number == 1 else float(node.number)

    ready = np.array([True, True, False, True, True, True])
    for _ in range(3):
        told = cache_of(growth.tree).cached_feature(growth.tree, "number", tell, ready)
    assert asked == [0, 1, 3, 4, 5]
    assert told == pytest.approx([0, NAN, NAN, 3, 4, 5], nan_ok=True)


def test_a_descriptor_is_known_once_the_node_is_and_then_fixed() -> None:
    growth = zoo()
    measured: Descriptor = Measured("seconds", log=False)
    record = growth.choose(Propose("tune", (growth.tree.root,)))
    node_id = growth.add(record)
    assert np.isnan(measured(growth.tree)[-1])
    growth.land(record, 2.0)
    assert measured(growth.tree)[-1] == 11.0
    growth.seconds = lambda number: 99.0
    growth.land(growth.choose(Replicate(node_id)), 2.0)
    assert measured(growth.tree)[-1] == 11.0
    assert measured(growth.rebuilt())[-1] == 11.0


def test_a_program_that_cannot_be_read_has_no_constants_to_count() -> None:
    growth = Growth()
    growth.source = lambda n: "A = 1\n" if n != 1 else "A = (\n"
    growth.root(1.0)
    growth.child(2.0)
    growth.child(2.0)
    assert ChangedConstants()(growth.tree) == pytest.approx([0, NAN, 0], nan_ok=True)


def test_elites_are_the_best_of_each_kind() -> None:
    tree = zoo().tree
    # Lengths 12 to 68 in two bins: 0 1 2 (best: 1) and 4 5 (best: 4); 3 has failed.
    assert places(LENGTH.best(tree, tree.eligible())) == [1, 4]
    members = tree.eligible()
    members[[1, 4]] = False
    assert places(LENGTH.best(tree, members)) == [0, 5]
    both = Elites([Length(log=False), ChangedConstants()], bins=2)
    # Short with 0 or 1 change (bin 1 of 2: 1 and 2 changes): 2 is worse than 0; long: 4 is better than 5.
    assert places(both.best(tree, tree.eligible())) == [0, 1, 4]
    unknown = Elites([Measured("parameters")], bins=1)
    assert places(unknown.best(tree, tree.eligible())) == [2, 4], "what is not known is a kind of its own"
    assert places(Elites([Length()], bins=1).best(tree, tree.eligible())) == [4]


def test_parents_are_elites_but_for_exploration() -> None:
    growth = zoo()
    for exploration, low, high in ((0.0, 0, 0), (0.4, 60, 140), (1.0, 300, 300)):
        population = Islands(count=1, elites=dataclasses.replace(LENGTH, exploration=exploration))
        everybody = [pool(population, growth.tree, seed).parents.sum() == 5 for seed in range(300)]
        assert low <= sum(everybody) <= high
    chosen = {first_parent(policy(Islands(count=1, elites=LENGTH)), growth, seed) for seed in range(60)}
    assert {growth.tree.index[node_id] for node_id in chosen} == {1, 4}


def test_elites_keep_a_kind_alive_that_ranks_alone_would_drop() -> None:
    """Short programs are far worse than long ones here, and are still improved."""
    growth = Growth()
    growth.source = lambda n: "X = 1\n" + "#" * (400 if n % 2 else 1)
    growth.root(5.0)
    rng = np.random.default_rng(0)

    def result(node_id: str) -> Result:
        return float(rng.random()) + (0.0 if growth.tree.index[node_id] % 2 else 5.0)

    play(growth, policy(Islands(count=1, elites=LENGTH), repair=Debugging(0.0)), {"tune": TUNE}, 100, result)
    visits = growth.tree.visits
    assert visits[::2].sum() > 30
    assert visits[1::2].sum() > 30


def test_elites_need_a_descriptor() -> None:
    with pytest.raises(ValueError, match="at least one descriptor"):
        Elites([])


# ---------------------------------------------------------------- crossovers between branches


def test_a_crossover_across_branches_has_no_partner_on_its_own_branch() -> None:
    growth = Growth()
    growth.root(9.0)
    a, b = growth.child(1.0), growth.child(2.0)
    below, sister = growth.child(1.5, a), growth.child(1.6, a)
    tree, rng = growth.tree, np.random.default_rng(0)
    at = tree.index
    assert cache_of(tree).branches.tolist() == [0, 1, 2, 1, 1]
    anywhere = {RankPartner(best=1.0).partner(tree, at[below], rng) for _ in range(60)}
    assert anywhere == {at[b], at[sister]}
    across = {RankPartner(best=1.0, across=True).partner(tree, at[below], rng) for _ in range(60)}
    assert across == {at[b]}
    assert RankPartner(best=1.0, across=True).partner(tree, at[b], rng, tree.index[b] == np.arange(5)) is None


def test_crossovers_get_the_share_that_is_set() -> None:
    growth = Growth()
    growth.root(9.0)
    for score in range(1, 12):
        growth.child(float(score))

    def share(mating: RankPartner, operators: Mapping[str, object] = NUMERIC) -> float:
        chooser = Composition(Rank(), Argmax(), opening=BaselineRuns(1), mating=mating)
        made = [chooser.choose(growth.tree, np.random.default_rng(seed), operators) for seed in range(600)]  # type: ignore[arg-type]
        return sum(isinstance(m, Propose) and m.operator == "crossover" for m in made) / 600

    assert share(RankPartner()) == pytest.approx(0.5, abs=0.06), "by the weights, which are equal"
    assert share(RankPartner(share=0.15)) == pytest.approx(0.15, abs=0.05)
    assert share(RankPartner(share=0.0)) == 0.0
    assert share(RankPartner(share=0.0), {"crossover": CROSSOVER}) == 1.0, "where nothing else applies"
    assert share(RankPartner(share=1.0), {"tune": TUNE}) == 0.0
    alone = Growth()
    alone.root(9.0)
    chooser = Composition(Rank(), Argmax(), opening=BaselineRuns(1), mating=RankPartner(share=1.0))
    assert chooser.choose(alone.tree, np.random.default_rng(0), NUMERIC) == Propose("tune", (alone.tree.root,))
