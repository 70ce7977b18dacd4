"""Every key of ``conf/policy/*.yaml`` reaches its part from the command line; nonsense is answered with its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from growing import ALL, Growth, play
from omegaconf import OmegaConf

from archive.records import Propose
from archive.storage.store import Archive
from prepare.config import SettingsError
from search import factory
from search.policies import Composition
from search.policies.credit import AsymmetricUcb
from search.policies.population.elites import Elites
from search.policies.population.islands import Islands
from search.settings import config_for

FOLDER = Path(__file__).parents[2] / "conf" / "policy"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
UNLIKE = ("abmcts", "hillclimb", "map_elites", "uct")
"""Policies that choose in unlike ways; the others do the same at night."""
EACH = {name: name if name in UNLIKE else pytest.param(name, marks=pytest.mark.nightly) for name in NAMES}

OTHER: dict[str, Any] = {
    "score.c": 0.7,
    "score.norm": "minmax",
    "score.slope": 3.0,
    "score.centre": 0.25,
    "score.z": 1.0,
    "sampler.sharpness": 4.0,
    "sampler.temperature": 0.3,
    "sampler.c": 0.6,
    "sampler.backup": "mean",
    "sampler.children": 3.0,
    "sampler.growth": 0.5,
    "sampler.mean": 0.5,
    "sampler.weight": 2.0,
    "sampler.freedom": 3.0,
    "sampler.scale": 0.2,
    "opening.root_runs": 4,
    "recheck.runs": 5,
    "recheck.after": 7,
    "drafting.count": 2,
    "drafting.share": 0.25,
    "repair.probability": 0.125,
    "repair.max_depth": 5,
    "mating.best": 0.75,
    "mating.temperature": 0.4,
    "mating.share": 0.3,
    "mating.across": True,
    "population.count": 4,
    "population.every": 20,
    "population.share": 0.3,
    "population.mates": "other",
    "population.elites.bins": 5,
    "population.elites.exploration": 0.4,
    "population.elites.descriptors.0.name": "steps",
    "population.elites.descriptors.0.log": False,
    "widening.widen_after": 6,
    "widening.stop_after": 30,
    "widening.patience": 12,
    "widening.elsewhere": 0.25,
}
"""A value for each key that no file has."""

WHOLE = {"population", "population.elites"}
"""Parts that may be left out: null in some files."""


def keys(name: str) -> dict[str, Any]:
    """The keys of a file with their values, parts named by ``_target_`` left out."""

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, dict | list):
            yield prefix, node
            return
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if not str(key).startswith("_"):
                yield from walk(value, f"{prefix}.{key}" if prefix else str(key))

    plain = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    return {key: value for key, value in walk(plain, "") if key not in WHOLE}


def built(name: str, *overrides: str) -> Composition:
    words = ["operators=numeric", "llm=none", f"policy={name}", *overrides]
    policy = factory.build_policy(config_for(words, "cpu").policy)
    assert isinstance(policy, Composition)
    return policy


def found(policy: object, key: str) -> object:
    for step in key.split("."):
        policy = policy[int(step)] if step.isdigit() else getattr(policy, step)  # type: ignore[index]
    return policy


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_key_reaches_its_part(name: str) -> None:
    there = keys(name)
    assert not there.keys() - OTHER.keys(), "a key that is new needs a value in the table above"
    assert not [key for key, value in there.items() if value == OTHER[key]]
    policy = built(name, *(f"policy.{key}={OTHER[key]}" for key in there))
    for key in there:
        assert found(policy, key) == OTHER[key], key
    usual = built(name)
    for key, value in there.items():
        assert found(usual, key) == value, key


def test_the_table_has_no_key_that_no_file_has() -> None:
    assert OTHER.keys() == {key for name in NAMES for key in keys(name)}


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH.values())
def test_nonsense_is_answered_with_the_name_of_the_key(name: str) -> None:
    for key, value in keys(name).items():
        file = OmegaConf.load(FOLDER / f"{name}.yaml")
        OmegaConf.update(file, key, 3 if isinstance(value, bool | str) else -1)
        named = re.escape(f"policy.{key.replace('.0.', '.')} is ") + ".*; expected"
        with pytest.raises(SettingsError, match=named):
            factory.build_policy(cast(dict[str, Any], OmegaConf.to_container(file)))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("policy.widening.widen_after=26", "widen_after=26 and stop_after=25; expected 1 <= widen_after <= stop_after"),
        ("policy.score.c=inf", "policy.score.c is inf; expected a number of at least 0"),
        ("policy.score.c=nan", "policy.score.c is nan"),
        ("policy.score.c=true", "policy.score.c is True"),
        ("policy.score=null", "policy.score is 'None'; expected a part: policy.score._target_="),
        ("policy.sampler=abc", "policy.sampler is 'abc'; expected a part"),
        ("policy.opening=3", "policy.opening is '3'; expected a part"),
        ("policy.population=elites", "policy.population is 'elites'; expected a part"),
        ("policy.opening.root_runs=2.5", "policy.opening.root_runs is 2.5; expected a whole number of at least 1"),
        ("policy.recheck.runs=0", "policy.recheck.runs is 0"),
        ("policy.mating.share=1.5", "expected a number from 0 to 1"),
    ],
)
def test_other_nonsense(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        built("ucb", override)


# ---------------------------------------------------------------- parts that any policy can have


CREDIT = "policy.credit._target_=search.policies.credit.AsymmetricUcb"
ISLANDS = "policy.population={_target_:search.policies.population.islands.Islands,count:3,every:10}"
ELITES = (
    "{_target_:search.policies.population.elites.Elites,bins:4,"
    "descriptors:[{_target_:search.policies.population.descriptors.Length}]}"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [each for name, each in EACH.items() if name != "pareto"],  # its population is what it is about
)
def test_every_policy_can_have_islands_elites_credit_and_patience(name: str) -> None:
    """Each plays with all of them switched on, and keeps to what must not be bred from."""
    population = ISLANDS.replace("every:10", f"every:10,mates:any,elites:{ELITES}")
    policy = built(name, CREDIT, "+policy.credit.per=evaluation", population, "policy.widening.patience=6")
    assert isinstance(policy.credit, AsymmetricUcb)
    assert policy.credit.per == "evaluation"
    assert isinstance(policy.population, Islands)
    assert isinstance(policy.population.elites, Elites)
    growth, rng = Growth(), np.random.default_rng(0)
    growth.root(1.0)
    made = play(growth, policy, ALL, 80, lambda _: "crashed" if rng.random() < 0.2 else float(rng.random()), slots=3)
    tree = growth.tree
    for move in made:
        if isinstance(move, Propose) and move.operator != "debug":
            assert not np.isnan(tree.means[[tree.index[parent] for parent in move.parents]]).any()
    again = Growth()
    again.root(1.0)
    rng = np.random.default_rng(0)
    assert made == play(
        again, policy, ALL, 80, lambda _: "crashed" if rng.random() < 0.2 else float(rng.random()), slots=3
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+policy.credit.c=-1", "policy.credit.c"),
        ("+policy.credit.decay=1.0", "policy.credit.decay is 1.0; expected a number from 0.5 to 0.999"),
        ("+policy.credit.per=hour", "policy.credit.per is 'hour'; expected one of proposal, evaluation, second"),
        ("+policy.credit.floor=0", "so that no operator is starved"),
    ],
)
def test_nonsense_in_the_credit(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        built("ucb", CREDIT, override)


# ---------------------------------------------------------------- through the real search


"""Policies that choose in unlike ways; ``ucb`` is in test_search.py."""


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH.values())
def test_a_real_search_is_resumed_exactly(name: str, start: Callable[..., Any], tmp_path: Path) -> None:
    """The real loop, archive and operators: a search that was stopped twice makes the moves of one that was not."""
    words = (f"policy={name}", "budget.evaluations=40", "policy.widening.patience=8", CREDIT, "run=night")

    def moves(*stretches: int | None) -> list[tuple[Any, ...]]:
        for stop_after in stretches:
            start(*words, slots=1, stub={"fail_every": 5, "noise": 0.0}, stop_after=stop_after)
        file = tmp_path / "archive.duckdb"
        with Archive.open(file) as archive:
            rows = archive.query("SELECT move, kind, operator, parents, node_id FROM moves ORDER BY move")
            numbers = dict(archive.query("SELECT node_id, number FROM nodes"))
        file.unlink()
        return [(*row[:3], [numbers[parent] for parent in row[3]], numbers.get(row[4])) for row in rows]

    whole = moves(None)
    assert len(whole) > 30
    assert moves(9, 8, None) == whole
