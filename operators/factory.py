"""From configuration to objects: the operators of ``conf/operators`` and the metered model of ``conf/llm``.

An entry of ``conf/operators/*.yaml`` is a name with ``_target_``, the operator's own options, and two keys for us:

    weight   how often a policy draws it, relative to the others
    llm      ``required``: without a model the search stops with a reason; ``optional``: it is left out then;
             ``helps``: it works without one, too
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from archive.records import Spending
from operators.base import Operator
from operators.llm.base import LanguageModel
from operators.llm.meter import (
    DEFAULT_CONCURRENCY,
    DEFAULT_PROMPT_TOKENS,
    Lookup,
    Meter,
    Record,
    Requested,
    never_paid,
    not_written,
)
from operators.llm.secrets import Secrets
from operators.llm.several import Credits, ModelRouter, no_credits


@dataclass(frozen=True)
class OperatorSet:
    """The operators by name, and how often each is drawn. ``left_out`` wanted a model and there is none."""

    operators: Mapping[str, Operator]
    weights: Mapping[str, float]
    left_out: tuple[str, ...]


def build_operators(entries: Mapping[str, Mapping[str, Any]], llm: Meter | None) -> OperatorSet:
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
        try:
            operators[name] = instantiate(options, name=name)
        except InstantiationException as error:
            raise ValueError(f"the operator {name!r} cannot be made: {error.__cause__ or error}") from error
        weights[name] = weight
    if not operators:
        raise ValueError("no operator is left to make candidates with; choose operators=numeric")
    return OperatorSet(operators, weights, tuple(left_out))


def missing_key(config: Mapping[str, Any]) -> str | None:
    """The environment variable that the model of ``conf/llm`` needs and that is not set; None if all is there.

    Of several models one is enough: those without their key are left out.
    """
    members = _members(config)
    if members is not None:
        missing = [_missing(member) for member in members.values()]
        return " or ".join(dict.fromkeys(filter(None, missing))) if missing and all(missing) else None
    return _missing(config)


def left_out(config: Mapping[str, Any]) -> dict[str, str]:
    """Of several models, those whose key is not set: name -> the environment variable."""
    found = {name: _missing(member) for name, member in (_members(config) or {}).items()}
    return {name: key for name, key in found.items() if key is not None}


def _members(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]] | None:
    """The models of ``llm=several`` that are meant to be asked; None for a single one."""
    if "models" not in config:
        return None
    weights = config.get("weights") or {}
    models = {name: member for name, member in (config["models"] or {}).items() if member}
    return {name: member for name, member in models.items() if weights.get(name, 1) != 0}


def _missing(config: Mapping[str, Any]) -> str | None:
    key = config.get("key")
    return str(key) if key and not os.environ.get(str(key)) else None


@dataclass(frozen=True)
class LlmCallbacks:
    """What a meter is told and asks of the archive. The defaults are for a model that nobody keeps books of."""

    record: Record = lambda call: None
    requested: Requested = not_written
    lookup: Lookup = never_paid
    credits: Credits = no_credits
    spent: Spending = field(default_factory=Spending)


def build_meter(config: Mapping[str, Any], books: LlmCallbacks | None = None) -> Meter | None:
    """The model of ``conf/llm`` behind its meter; None for ``llm=none`` and where its key is not set.

    Raises ValueError for settings that make no sense.
    """
    books, options = books or LlmCallbacks(), dict(config)
    caps: Any = {
        "max_dollars": float(options.pop("max_dollars", 0.0)),
        "max_tokens": int(options.pop("max_total_tokens", 0)),
        "concurrency": int(options.pop("concurrency", DEFAULT_CONCURRENCY)),
        "prompt_tokens": int(options.pop("prompt_tokens", DEFAULT_PROMPT_TOKENS)),
    }
    if not options.get("_target_") or missing_key(config) is not None:
        return None
    members = _members(config)
    if members is not None:
        without = left_out(config)
        options["models"] = {name: m for name, m in (options["models"] or {}).items() if m and name not in without}
        options["weights"] = {name: w for name, w in (options.get("weights") or {}).items() if name not in without}
    try:
        model: LanguageModel | ModelRouter = instantiate(options, _convert_="all")
    except InstantiationException as error:
        raise ValueError(f"the language model cannot be made: {error.__cause__ or error}") from error
    if isinstance(model, ModelRouter):
        model.credits = books.credits
    return Meter(
        model,
        record=books.record,
        requested=books.requested,
        lookup=books.lookup,
        spent=books.spent,
        hidden=secrets_of(config),
        **caps,
    )


def secrets_of(config: Mapping[str, Any]) -> Secrets:
    """The keys and passwords of the environment and of these settings, which must be written nowhere."""
    parts = [config, *(_members(config) or {}).values()]
    keys = [os.environ.get(str(part.get("key")), "") for part in parts]
    keys += [str(part.get("api_key") or "") for part in parts]
    urls = [str(part["base_url"]) for part in parts if part.get("base_url")]
    urls += [value for name, value in os.environ.items() if name.upper().endswith(("_BASE_URL", "_PROXY"))]
    return Secrets.of(os.environ, keys, urls)
