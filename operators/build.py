"""From configuration to objects: the operators of ``conf/operators`` and the metered model of ``conf/llm``.

An entry of ``conf/operators/*.yaml`` is a name with ``_target_``, the operator's own options, and two keys for us:

    weight   how often a policy draws it, relative to the others
    llm      ``required``: without a model the search stops with a reason; ``optional``: it is left out then;
             ``helps``: it works without one, too
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate

from archive.records import Spending
from operators.base import Operator
from operators.llm.base import LanguageModel
from operators.llm.meter import DEFAULT_CONCURRENCY, DEFAULT_PROMPT_TOKENS, Lookup, Meter, Record, never_paid


@dataclass(frozen=True)
class Toolbox:
    """The operators by name, and how often each is drawn. ``left_out`` wanted a model and there is none."""

    operators: Mapping[str, Operator]
    weights: Mapping[str, float]
    left_out: tuple[str, ...]


def build_operators(entries: Mapping[str, Mapping[str, Any]], llm: Meter | None) -> Toolbox:
    """Raises ``ValueError`` where an operator needs a model and there is none, or where nothing is left."""
    operators: dict[str, Operator] = {}
    weights: dict[str, float] = {}
    left_out = []
    for name, entry in entries.items():
        options = dict(entry)
        weight, needs = float(options.pop("weight", 1.0)), options.pop("llm", None)
        if needs is not None:
            if llm is None and needs == "optional":
                left_out.append(name)
                continue
            if llm is None and needs != "helps":
                raise ValueError(
                    f"operator {name!r} needs a language model and there is none. Set ANTHROPIC_API_KEY, or choose "
                    "operators=numeric, which needs no key."
                )
            options["llm"] = llm
        operators[name] = instantiate(options, name=name)
        weights[name] = weight
    if not operators:
        raise ValueError("no operator is left to make candidates with; choose operators=numeric")
    return Toolbox(operators, weights, tuple(left_out))


def missing_key(config: Mapping[str, Any]) -> str | None:
    """The environment variable that the model of ``conf/llm`` needs and that is not set; None if all is there."""
    key = config.get("key")
    return str(key) if key and not os.environ.get(str(key)) else None


def build_meter(
    config: Mapping[str, Any],
    record: Record,
    lookup: Lookup = never_paid,
    spent: Spending = Spending(),  # noqa: B008 (frozen)
) -> Meter | None:
    """The model of ``conf/llm`` behind its meter; None for ``llm=none`` and where its key is not set."""
    options = dict(config)
    options.pop("key", None)
    max_dollars = float(options.pop("max_dollars", 0.0))
    max_total_tokens = int(options.pop("max_total_tokens", 0))
    concurrency = int(options.pop("concurrency", DEFAULT_CONCURRENCY))
    prompt_tokens = int(options.pop("prompt_tokens", DEFAULT_PROMPT_TOKENS))
    if not options.get("_target_") or missing_key(config) is not None:
        return None
    model: LanguageModel = instantiate(options)
    return Meter(
        model,
        max_dollars=max_dollars,
        max_tokens=max_total_tokens,
        record=record,
        lookup=lookup,
        spent=spent,
        concurrency=concurrency,
        prompt_tokens=prompt_tokens,
    )
