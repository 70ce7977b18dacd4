"""Typed configuration of operators and language models. Options of a class itself stay a mapping.

An entry of ``conf/operators/*.yaml`` is a name with ``_target_``, the operator's own options, and two further keys:

    weight   how often a policy draws the operator, relative to the others
    llm      without a language model: ``required`` is an error, ``optional`` leaves the operator out, ``helps`` lets
             it work without one
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from operators.llm.meter import DEFAULT_CONCURRENCY, DEFAULT_PROMPT_TOKENS
from prepare.config import Plain, typed

NeedsModel = Literal["required", "optional", "helps"]

_MOST = 10**12
"""Largest cap of a run."""
_TEXTS = {
    "model": "the name of a model",
    "key": "the name of an environment variable",
    "base_url": "an address as http://HOST:PORT/v1",
}
_CLIENTS = {"operators.llm.compatible": "openai", "operators.llm.claude": "anthropic"}
"""Module of a model's class -> the package that it asks with."""


@dataclass(frozen=True)
class OperatorConfig:
    """One operator of a search."""

    options: Plain
    """``_target_`` and the operator's own options."""
    weight: float = 1.0
    llm: NeedsModel | None = None

    @classmethod
    def of(cls, values: object, where: str) -> OperatorConfig:
        """Check and convert an entry of the configuration. Raises ValueError."""
        entry: OperatorConfig = _with_options(cls, values, where)
        if entry.weight < 0:
            raise ValueError(f"{where}.weight is {entry.weight}; expected a number of at least 0")
        return entry


@dataclass(frozen=True)
class LlmConfig:
    """The language model, or several of them, with the limits of a run."""

    options: Plain
    """``_target_`` (null for none) and the options of that class."""
    max_dollars: float = 0.0
    max_total_tokens: int = 0
    concurrency: int = DEFAULT_CONCURRENCY
    prompt_tokens: int = DEFAULT_PROMPT_TOKENS

    @classmethod
    def of(cls, values: object) -> LlmConfig:
        """Check and convert the section ``llm`` of the configuration. Raises ValueError."""
        config: LlmConfig = _with_options(cls, values or {}, "llm")
        for name in ("models", "weights"):
            if not isinstance(known := config.options.get(name), Mapping | None):
                raise ValueError(f"llm.{name} is {known!r}; expected a mapping from names of models")
        members = {f"llm.models.{name}": member for name, member in (config.options.get("models") or {}).items()}
        for where, member in {"llm": config.options, **members}.items():
            _check_member(member, where)
        for name in ("max_dollars", "max_total_tokens"):
            if not 0 <= getattr(config, name) <= _MOST:
                raise ValueError(f"llm.{name} is {getattr(config, name)}; expected a number from 0 to {_MOST:,}")
        return config

    @property
    def is_none(self) -> bool:
        """True if no model is configured: ``llm=none``."""
        return not self.options.get("_target_")

    @property
    def members(self) -> dict[str, Plain] | None:
        """The models of ``llm=several`` that have a weight; None for a single one."""
        if "models" not in self.options:
            return None
        weights = self.options.get("weights") or {}
        models = {name: member for name, member in (self.options["models"] or {}).items() if member}
        return {name: member for name, member in models.items() if weights.get(name, 1) != 0}

    @property
    def missing_key(self) -> str | None:
        """The environment variable that the model needs and that is not set; None if none is missing.

        Of several models one is enough: those without their key are left out.
        """
        if self.members is None:
            return _missing(self.options)
        missing = [_missing(member) for member in self.members.values()]
        return " or ".join(dict.fromkeys(filter(None, missing))) if missing and all(missing) else None

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages of the models' clients, which are imported when a client is made: it takes half a second."""
        members = [self.options] if self.members is None else self.members.values()
        modules = (str(member.get("_target_")).rpartition(".")[0] for member in members if _missing(member) is None)
        return tuple(dict.fromkeys(_CLIENTS[module] for module in modules if module in _CLIENTS))

    @property
    def left_out(self) -> dict[str, str]:
        """Of several models, those whose key is not set: name -> the environment variable."""
        found = {name: _missing(member) for name, member in (self.members or {}).items()}
        return {name: key for name, key in found.items() if key is not None}


def _with_options(kind: Any, values: object, where: str) -> Any:
    """The fields of ``kind`` typed, and all other keys as its ``options``."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}; expected a mapping with _target_")
    own = {part.name for part in fields(kind)} - {"options"}
    options = {str(key): value for key, value in values.items() if key not in own}
    return typed(kind, {**{key: values[key] for key in own if key in values}, "options": options}, where)


def _check_member(options: object, where: str) -> None:
    """Check what is read of a model before its class is known. Raises ValueError."""
    if not isinstance(options, Mapping | None):
        raise ValueError(f"{where} is {options!r}; expected a mapping with _target_, or null")
    for name, wanted in _TEXTS.items():
        text = (options or {}).get(name)
        if text is not None and not (isinstance(text, str) and text.strip()):
            raise ValueError(f"{where}.{name} is {text!r}; expected {wanted}, or null")


def _missing(options: Plain) -> str | None:
    key = options.get("key")
    return str(key) if key and not os.environ.get(str(key)) else None
