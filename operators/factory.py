"""Construction of the operators of ``conf/operators`` and of the metered language model of ``conf/llm``."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from archive.llm_calls import Spending
from operators.base import Operator
from operators.config import LlmConfig, OperatorConfig
from operators.llm.base import LanguageModel
from operators.llm.meter import Lookup, Meter, Record, Requested, never_paid, not_written
from operators.llm.secrets import Secrets, tokens_in
from operators.llm.several import Credits, ModelRouter, no_credits
from prepare.config import check_options
from prepare.known import locate


@dataclass(frozen=True)
class OperatorSet:
    """Operators and their weights by name. ``left_out`` names those that need a model that is missing."""

    operators: Mapping[str, Operator]
    weights: Mapping[str, float]
    left_out: tuple[str, ...]


def build_operators(entries: Mapping[str, OperatorConfig], llm: Meter | None) -> OperatorSet:
    """Build the operators. Raises ``ValueError`` if one requires a missing model, or if none is left."""
    operators: dict[str, Operator] = {}
    left_out = []
    for name, entry in entries.items():
        if llm is None and entry.llm == "optional":
            left_out.append(name)
            continue
        if llm is None and entry.llm == "required":
            raise ValueError(
                f"operator {name!r} needs a language model and there is none. Set ANTHROPIC_API_KEY, or choose "
                "operators=numeric, which needs no key."
            )
        options = entry.options if entry.llm is None else {**entry.options, "llm": llm}
        try:
            operators[name] = instantiate(options, name=name)
        except InstantiationException as error:
            raise ValueError(f"the operator {name!r} cannot be made: {error.__cause__ or error}") from error
    if not operators:
        raise ValueError("no operator is left to make candidates with; choose operators=numeric")
    return OperatorSet(operators, {name: entries[name].weight for name in operators}, tuple(left_out))


@dataclass(frozen=True)
class LlmCallbacks:
    """Callbacks of a meter into the archive. The defaults record nothing."""

    record: Record = lambda call: None
    requested: Requested = not_written
    lookup: Lookup = never_paid
    credits: Credits = no_credits
    spent: Spending = field(default_factory=Spending)
    stop: threading.Event | None = None
    """Set from outside when nothing is to be sent any more."""


def build_meter(config: LlmConfig, callbacks: LlmCallbacks | None = None) -> Meter | None:
    """Build the model of ``conf/llm`` behind a meter; None for ``llm=none`` and where the key is not set.

    Raises ValueError for invalid settings.
    """
    options, without = dict(config.options), config.left_out
    callbacks = callbacks or LlmCallbacks()
    if config.is_none or config.missing_key is not None:
        return None
    if config.members is not None:
        options["models"] = {name: m for name, m in (options["models"] or {}).items() if m and name not in without}
        options["weights"] = {name: w for name, w in (options.get("weights") or {}).items() if name not in without}
    check_options(locate(str(options["_target_"])), options, "llm")
    try:
        model: LanguageModel | ModelRouter = instantiate(options, _convert_="all")
    except InstantiationException as error:
        raise ValueError(f"the language model cannot be made: {error.__cause__ or error}") from error
    if isinstance(model, ModelRouter):
        model.credits = callbacks.credits
    return Meter(
        model,
        record=callbacks.record,
        requested=callbacks.requested,
        lookup=callbacks.lookup,
        spent=callbacks.spent,
        stop=callbacks.stop,
        hidden=secrets_of(config),
        max_dollars=config.max_dollars,
        max_tokens=config.max_total_tokens,
        concurrency=config.concurrency,
        prompt_tokens=config.prompt_tokens,
    )


def secrets_of(config: LlmConfig) -> Secrets:
    """Return the keys and passwords of the environment and of this configuration, which must never be written."""
    parts = [config.options, *(config.members or {}).values()]
    keys = [os.environ.get(str(part.get("key")), "") for part in parts]
    keys += [str(part.get("api_key") or "") for part in parts]
    keys += [os.environ.get(str(name), "") for part in parts for name in part.get("environment") or ()]
    logins = (Path(str(path)).expanduser() for part in parts for path in part.get("login") or ())
    keys += [token for path in logins for token in tokens_in(path)]
    urls = [str(part["base_url"]) for part in parts if part.get("base_url")]
    urls += [value for name, value in os.environ.items() if name.upper().endswith(("_BASE_URL", "_PROXY"))]
    return Secrets.of(os.environ, keys, urls)
