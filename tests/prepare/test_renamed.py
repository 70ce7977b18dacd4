"""Class names in YAML files that people have copied, and in archives: each old one leads to its class."""

from __future__ import annotations

import pytest

from prepare.compose import compose
from prepare.config import SettingsError
from prepare.known import TaskError, locate
from prepare.renamed import NEW_NAMES, REMOVED, refuse_old_names, renamed, with_new_names

BEFORE_THE_ROOMS = [
    "operators.crossover.Crossover",
    "operators.debug.Debug",
    "operators.draft.Draft",
    "operators.graft.Graft",
    "operators.hybrid.Hybrid",
    "operators.improve.Improve",
    "operators.llm.claude.Claude",
    "operators.llm.compatible.OpenAICompatible",
    "operators.llm.scripted.Scripted",
    "operators.llm.several.Bandit",
    "operators.llm.several.Several",
    "operators.prune.Prune",
    "operators.simplify.Simplify",
    "operators.tune.Tune",
    "prepare.climbmix.ClimbMix",
    "prepare.corpora.Folder",
    "prepare.corpora.Plays",
    "prepare.python_sources.PythonSources",
    "search.policies.Composition",
    "search.policies.credit.FixedWeights",
    "search.policies.descent.Descent",
    "search.policies.descriptors.ChangedConstants",
    "search.policies.descriptors.Measured",
    "search.policies.drafting.Drafting",
    "search.policies.elites.Elites",
    "search.policies.mating.RankMating",
    "search.policies.opening.Opening",
    "search.policies.population.Islands",
    "search.policies.recheck.Recheck",
    "search.policies.repair.Repair",
    "search.policies.samplers.Argmax",
    "search.policies.samplers.Proportional",
    "search.policies.samplers.RankSoftmax",
    "search.policies.samplers.Uniform",
    "search.policies.scores.Equal",
    "search.policies.scores.FlatUcb",
    "search.policies.scores.KeptLine",
    "search.policies.scores.MadSigmoid",
    "search.policies.scores.NoveltyWeighted",
    "search.policies.scores.Puct",
    "search.policies.scores.Rank",
    "search.policies.scores.Value",
    "search.policies.thompson.Thompson",
    "search.policies.widening.Widening",
    "train.evaluator.AuditedEvaluator",
    "train.local.LocalExecutor",
    "train.ray.RayExecutor",
]
"""All classes that the YAML files under ``conf/`` named before the modules moved into sub-packages."""


@pytest.mark.parametrize("target", BEFORE_THE_ROOMS)
def test_a_name_of_before_is_there_or_leads_to_the_new_one(target: str) -> None:
    if target in REMOVED:
        with pytest.raises(TaskError, match="was removed"):
            locate(target)
        return
    new = NEW_NAMES.get(target, target)
    assert isinstance(locate(new), type)
    if new != target:
        with pytest.raises(TaskError) as caught:
            locate(target)
        assert str(caught.value) == f"{target} is now {new}"


@pytest.mark.parametrize("target", NEW_NAMES.values())
def test_every_new_name_is_a_class(target: str) -> None:
    assert isinstance(locate(target), type)
    assert target not in NEW_NAMES, "an old name leads to the newest one at once"


def test_a_name_anywhere_below_is_found() -> None:
    repair = {"_target_": "search.policies.repair.Repair"}
    policy = {"_target_": "search.policies.Composition", "parts": [{"x": repair}]}
    with pytest.raises(ValueError, match=r"policy\.parts\.0\.x\._target_: search\.policies\.repair\.Repair is now "):
        refuse_old_names(policy, "policy")
    current = with_new_names(policy)
    refuse_old_names(current, "policy")
    assert current["parts"][0]["x"] == {"_target_": NEW_NAMES["search.policies.repair.Repair"]}
    key = "policy.parts.0.x._target_"
    new = {key: current["parts"][0]["x"]["_target_"]}
    assert with_new_names({"sweep": {key: repair["_target_"]}}) == {"sweep": new}
    assert renamed("search.policies.Composition") == ""


def test_of_a_run_of_before_what_was_removed_is_no_difference() -> None:
    recorded = {
        "tune": {"_target_": "operators.tune.Tune", "weight": 1.0, "proposer": "genes"},
        "graft": {"_target_": "operators.graft.Graft", "weight": 0.2},
    }
    now = {"tune": {"_target_": "operators.numeric.tune.Tune", "weight": 1.0, "proposer": "surrogate"}}
    assert with_new_names(recorded) == now == with_new_names(now)
    with pytest.raises(ValueError, match=r"operators\.graft\._target_: operators\.graft\.Graft was removed"):
        refuse_old_names(recorded["graft"], "operators.graft")


def test_an_option_that_was_removed_is_refused_and_in_a_run_of_before_left_out() -> None:
    audited = {"_target_": "train.language_model.evaluator.AuditedEvaluator"}
    old = {"_target_": "train.evaluator.AuditedEvaluator", "median_rule": {"after": 0.3}}
    assert with_new_names({"evaluator": old}) == {"evaluator": audited}
    other = {"_target_": "mine.Evaluator", "median_rule": 3}
    assert with_new_names(other) == other
    refuse_old_names(other, "evaluator")
    with pytest.raises(ValueError, match=r"evaluator\.median_rule was removed: searches gained nothing by it"):
        refuse_old_names(audited | {"median_rule": None}, "evaluator")
    with pytest.raises(SettingsError, match=r"evaluator\.median_rule was removed"):
        compose(["evaluator.median_rule={after: 0.3}"])
