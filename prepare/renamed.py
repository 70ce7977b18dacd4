"""Old names of pluggable classes, and the names that they have now.

A YAML file of the user's own names classes with ``_target_``; so does the configuration that an archive keeps of a run.
The first is refused with the new name (``refuse_old_names``), in the second the old name is the same class as the new
one (``with_new_names``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NEW_NAMES: Mapping[str, str] = {
    "operators.crossover.Crossover": "operators.recombine.crossover.Crossover",
    "operators.debug.Debug": "operators.rewrite.debug.Debug",
    "operators.draft.Draft": "operators.rewrite.draft.Draft",
    "operators.hybrid.Hybrid": "operators.rewrite.hybrid.Hybrid",
    "operators.improve.Improve": "operators.rewrite.improve.Improve",
    "operators.llm.several.Several": "operators.llm.several.ModelRouter",
    "operators.prune.Prune": "operators.recombine.prune.Prune",
    "operators.simplify.Simplify": "operators.rewrite.simplify.Simplify",
    "operators.tune.Tune": "operators.numeric.tune.Tune",
    "prepare.climbmix.ClimbMix": "prepare.data.climbmix.ClimbMix",
    "prepare.corpora.Folder": "prepare.data.corpora.Folder",
    "prepare.corpora.Plays": "prepare.data.corpora.Plays",
    "prepare.python_sources.PythonSources": "prepare.data.python_sources.PythonSources",
    "search.policies.ablation.Ablation": "search.policies.phases.ablation.Ablation",
    "search.policies.descent.Descent": "search.policies.selection.uct.Descent",
    "search.policies.descriptors.ChangedConstants": "search.policies.population.descriptors.ChangedConstants",
    "search.policies.descriptors.Length": "search.policies.population.descriptors.Length",
    "search.policies.descriptors.Measured": "search.policies.population.descriptors.Measured",
    "search.policies.drafting.Drafting": "search.policies.phases.drafts.InitialDrafts",
    "search.policies.elites.Elites": "search.policies.population.elites.Elites",
    "search.policies.mating.RankMating": "search.policies.population.partners.RankPartner",
    "search.policies.opening.Opening": "search.policies.phases.baseline.BaselineRuns",
    "search.policies.population.Islands": "search.policies.population.islands.Islands",
    "search.policies.recheck.Recheck": "search.policies.phases.replicate.LeaderReplication",
    "search.policies.repair.Repair": "search.policies.phases.debug.Debugging",
    "search.policies.samplers.Argmax": "search.policies.selection.samplers.Argmax",
    "search.policies.samplers.EpsilonGreedy": "search.policies.selection.samplers.EpsilonGreedy",
    "search.policies.samplers.Proportional": "search.policies.selection.samplers.Proportional",
    "search.policies.samplers.RankSoftmax": "search.policies.selection.samplers.RankSoftmax",
    "search.policies.samplers.Uniform": "search.policies.selection.samplers.Uniform",
    "search.policies.scores.Equal": "search.policies.selection.scores.Equal",
    "search.policies.scores.FlatUcb": "search.policies.selection.scores.FlatUcb",
    "search.policies.scores.KeptLine": "search.policies.selection.scores.KeptLine",
    "search.policies.scores.MadSigmoid": "search.policies.selection.scores.MadSigmoid",
    "search.policies.scores.NoveltyWeighted": "search.policies.selection.scores.NoveltyWeighted",
    "search.policies.scores.Puct": "search.policies.selection.scores.Puct",
    "search.policies.scores.Rank": "search.policies.selection.scores.Rank",
    "search.policies.scores.Value": "search.policies.selection.scores.Value",
    "search.policies.thompson.Thompson": "search.policies.selection.thompson.Thompson",
    "search.policies.widening.Widening": "search.policies.phases.stagnation.StagnationHandling",
    "train.evaluator.AuditedEvaluator": "train.language_model.evaluator.AuditedEvaluator",
    "train.local.LocalExecutor": "train.executors.local.LocalExecutor",
    "train.ray.RayExecutor": "train.executors.ray.executor.RayExecutor",
}

REMOVED = frozenset({"operators.graft.Graft"})
"""Classes without a successor."""
REMOVED_OPTIONS: Mapping[tuple[str, str], str] = {
    ("train.language_model.evaluator.AuditedEvaluator", "median_rule"): (
        "searches gained nothing by it. A diverged training is still stopped, without a setting"
    ),
}
"""(class, option) -> why it was removed, and what does its work."""
NEW_VALUES: Mapping[tuple[str, str], Mapping[Any, Any]] = {
    ("operators.numeric.tune.Tune", "proposer"): {"genes": "surrogate"},
}
"""(class, option) -> old value -> new one."""


def refuse_old_names(values: object, where: str) -> None:
    """Raise ValueError if a class or option anywhere below was renamed or removed. ``where``: the key of ``values``."""
    for key, target, options in _classes(values, where):
        if message := renamed(target):
            raise ValueError(f"{key}._target_: {message}")
        for option in options:
            if (target, option) in REMOVED_OPTIONS and (message := removed_setting(f"{key}.{option}")):
                raise ValueError(message)


def removed_setting(key: str) -> str:
    """Return why there is no setting of this name any more, for a message; empty if it was not removed."""
    reasons = {option: reason for (_, option), reason in REMOVED_OPTIONS.items()}
    if (option := key.rpartition(".")[2]) not in reasons:
        return ""
    return f"{key} was removed: {reasons[option]} (see CHANGELOG.md). Take it out"


def renamed(target: str) -> str:
    """``old is now new``, for a message; empty for a class that was neither renamed nor removed."""
    if target in REMOVED:
        return f"{target} was removed, and nothing stands in for it; take it out of your YAML file (see CHANGELOG.md)"
    return f"{target} is now {NEW_NAMES[target]}" if target in NEW_NAMES else ""


def with_new_names(values: Any) -> Any:
    """The same plain values with the new name of each class and option value, and without what was removed."""
    if isinstance(values, Mapping):
        new = {key: with_new_names(value) for key, value in values.items() if not _is_removed(value)}
        if isinstance(target := new.get("_target_"), str):
            target = NEW_NAMES.get(target, target)
            new = {key: value for key, value in new.items() if (target, key) not in REMOVED_OPTIONS}
            new |= {key: NEW_VALUES.get((target, str(key)), {}).get(_plain(value), value) for key, value in new.items()}
            new["_target_"] = target
        return {key: _new_name(str(key), value) for key, value in new.items()}
    return [with_new_names(value) for value in values] if isinstance(values, list | tuple) else values


def _new_name(key: str, value: Any) -> Any:
    """Return the new name of a class that a sweep names by a dotted key, as ``policy.sampler._target_``."""
    return NEW_NAMES.get(value, value) if isinstance(value, str) and key.endswith("._target_") else value


def _is_removed(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("_target_") in REMOVED


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _classes(values: object, where: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the key of each section that names a class, the class, and the names of its options."""
    if isinstance(values, Mapping):
        if isinstance(target := values.get("_target_"), str):
            yield where, target, [str(key) for key in values]
        for key, value in values.items():
            yield from _classes(value, f"{where}.{key}" if where else str(key))
    elif isinstance(values, list | tuple):
        for place, value in enumerate(values):
            yield from _classes(value, f"{where}.{place}")
