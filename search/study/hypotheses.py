"""Hypotheses from an archive, without a language model: parameters, ablations and merges that nothing has tested.

Nothing proposed was measured: the effect of a parameter is an estimate, the gain of a step that of its screenings.
Interestingness and feasibility are fixed for each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, zip_longest

import numpy as np

from archive.query.tables import digits
from archive.research_ideas import ResearchIdea
from archive.storage.store import Archive
from archive.tree import Tree
from operators.numeric.observations import differ_in_values_only, values_of
from operators.numeric.parameter_effects import ParameterEffect, explain_parameters
from operators.numeric.proposer.ranges import Number
from operators.sanitize import one_line
from prepare.command_line import command

SOURCE = "archive"
_MERGED = 6
"""So many of the best programs are paired."""
_WORDS = {"helps": "increases", "does harm": "decreases", "not clear": "has no effect on"}
_INTERESTINGNESS = {"helps": 6, "does harm": 8, "not clear": 4}


def hypotheses(archive: Archive, tree: Tree) -> Iterator[ResearchIdea]:
    """Yield the hypotheses of a run, the kinds in turn, each from the most promising on."""
    leader = tree.leader()
    if leader is None:
        return
    kinds = (_parameters(tree, leader), _ablations(archive, tree, leader), _merges(archive, tree))
    for idea in chain.from_iterable(zip_longest(*kinds)):
        if idea is not None:
            yield idea


def _parameters(tree: Tree, leader: str) -> Iterator[ResearchIdea]:
    found = explain_parameters(tree, leader)
    effects = () if found is None else found.effects
    measured = _measured_alone(tree, leader) if effects else set()
    left = [effect for effect in effects if (effect.name, effect.seed_value) not in measured]
    for effect in sorted(left, key=lambda each: -abs(each.gain) / (each.deviation or 1e-9)):
        yield _parameter(tree, leader, effect)


def _measured_alone(tree: Tree, leader: str) -> set[tuple[str, Number]]:
    """Return (parameter, value) of each scored program that differs from the leader in this one value alone."""
    files = tree[leader].candidate.files
    now, found = values_of(files), set()
    for node in tree.nodes:
        other = values_of(node.candidate.files) if tree.scored(node.node_id) else {}
        changed = [key for key in now if key in other and other[key] != now[key]]
        if len(changed) == 1 and differ_in_values_only(files, node.candidate.files):
            found.add((changed[0][1], other[changed[0]]))
    return found


def _parameter(tree: Tree, leader: str, effect: ParameterEffect) -> ResearchIdea:
    name, change = one_line(effect.name, 60), f"from {effect.seed_value!r} to {effect.value!r}"
    estimate = (
        f"{effect.gain:+.2f} ± {effect.deviation:.2f} deviations of the scores, an estimate without an evaluation"
    )
    return ResearchIdea(
        name=f"parameter-{name}-{leader[:8]}",
        title=f"The effect of {name}",
        hypothesis=f"Changing {name} {change} {_WORDS[effect.verdict]} the gain of program {leader[:8]} of {tree.run}.",
        experiment=f"Evaluate {leader[:8]} with and without the change on at least three fresh seeds.",
        expected_effect=estimate,
        risk="The estimate is from programs that a search chose; it may depend on the other parameters.",
        interestingness=_INTERESTINGNESS[effect.verdict],
        feasibility=8,
        novelty="undecided",
        source=SOURCE,
    )


def _ablations(archive: Archive, tree: Tree, leader: str) -> Iterator[ResearchIdea]:
    """Yield a hypothesis for each step to the leader that no ablation has taken out, the largest gain first."""
    if any(tree[child].candidate.operator == "revert" for child in tree.children(leader)):
        return  # a study has taken its changes back one by one
    measured = {str(step) for (step,) in archive.query("SELECT DISTINCT step FROM ablations")}
    steps = [step for step in tree.lineage(leader) if len(tree[step].parents) == 1 and step not in measured]
    for step in sorted(steps, key=lambda each: -_gain(tree, each)):
        yield _ablation(tree, leader, step)


def _gain(tree: Tree, step: str) -> float:
    """Return the gain of a step over its parent; minus infinity if one of them has no score."""
    gain = tree.mean(tree[step].parents[0]) - tree.mean(step)
    return -np.inf if np.isnan(gain) else (gain if tree.direction == "minimise" else -gain)


def _ablation(tree: Tree, leader: str, step: str) -> ResearchIdea:
    gain, idea = _gain(tree, step), one_line(tree[step].candidate.idea, 120)
    words = (
        "unknown: the step or its parent has no score"
        if np.isinf(gain)
        else f"{digits(gain)}, the mean of its screenings less that of its parent"
    )
    return ResearchIdea(
        name=f"ablation-{step[:8]}",
        title=f"The worth of step {step[:8]}",
        hypothesis=f"Program {leader[:8]} of {tree.run} is worse without step {step[:8]} ({idea or 'no idea'}).",
        experiment=f"{command('search', 'ablate')} {leader[:8]}",
        expected_effect=words,
        risk="Later steps may rest on this one; redundant steps hide each other.",
        interestingness=5,
        feasibility=9,
        novelty="undecided",
        source=SOURCE,
    )


def _merges(archive: Archive, tree: Tree) -> Iterator[ResearchIdea]:
    """Yield a hypothesis for each pair of the best programs that were never merged, none an ancestor of the other."""
    rows = archive.query("SELECT parents FROM moves WHERE run = ? AND len(parents) = 2", [tree.run])
    tried = {frozenset(map(str, parents)) for (parents,) in rows}
    places = [int(place) for place in np.argsort(-tree.ranks(), kind="stable")[:_MERGED] if tree.eligible()[place]]
    for a, b in combinations([tree.nodes[place].node_id for place in places], 2):
        related = a in tree.ancestors(b) or b in tree.ancestors(a)
        if not related and frozenset((a, b)) not in tried:
            yield _merge(tree, a, b)


def _merge(tree: Tree, a: str, b: str) -> ResearchIdea:
    scores = f"{digits(tree.mean(a))} and {digits(tree.mean(b))}"
    return ResearchIdea(
        name=f"merge-{a[:8]}-{b[:8]}",
        title=f"A merge of {a[:8]} and {b[:8]}",
        hypothesis=f"Programs {a[:8]} and {b[:8]} of {tree.run}, merged, score better than either of them.",
        experiment="Merge both (operators=crossover); evaluate the result beside them on at least three fresh seeds.",
        expected_effect=f"better than {scores}; no estimate",
        risk="Their changes may conflict, or have the same cause.",
        interestingness=6,
        feasibility=6,
        novelty="undecided",
        source=SOURCE,
    )
