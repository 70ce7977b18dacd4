"""Policies of ``conf/policy`` as players, with the operators that ship."""

from __future__ import annotations

from functools import cache
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from operators.config import OperatorConfig
from operators.factory import build_operators
from prepare.compose import CONF
from search.config import ClaimPlan
from search.playing.game import Player


@cache
def shipped(name: str) -> Player:
    """Return a policy with ``operators=numeric``, which pays the claim's confirmation from the same evaluations."""
    config = OmegaConf.load(CONF / "policy" / f"{name}.yaml")
    entries: Any = OmegaConf.to_container(OmegaConf.load(CONF / "operators" / "numeric.yaml"))
    claim: Any = OmegaConf.load(CONF / "config.yaml").claim
    plan = ClaimPlan(candidates=claim.candidates, confirm_seeds=claim.confirm_seeds)
    weights = {key: float(entry.get("weight", 1.0)) for key, entry in entries.items()}

    def operators(table: object) -> Any:
        """Made anew for each search: they keep caches by tree."""
        return build_operators(
            {key: OperatorConfig.of(dict(entry), key) for key, entry in entries.items()}, None
        ).operators

    return Player(instantiate(config), operators, weights, plan)
