"""Hydra's compositions from memory: a composition takes 0.12 CPU seconds, most of them to read the same files again.

What the chosen files give depends on the folders, the choices and the content of the files; overrides of values are
applied to a copy, as Hydra applies them to what it has just read.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl as Loader
from hydra._internal.defaults_list import DefaultsList, Overrides


@contextmanager
def remembered() -> Iterator[None]:
    """Read the files of each choice once, and again after one of them has changed."""
    made: dict[Hashable, DefaultsList] = {}
    composed: dict[int, Any] = {}
    order, read = config_loader_impl.create_defaults_list, Loader._compose_config_from_defaults_list

    def ordered(*, repo: Any, config_name: str, overrides_list: Sequence[Any], **options: bool) -> DefaultsList:
        own = Overrides(repo=repo, overrides_list=list(overrides_list))
        choices = repr((own.override_choices, own.append_group_defaults, own.deletions))
        key = (config_name, choices, tuple(options.items()), *map(_state, repo.get_sources()))
        if key not in made:
            made[key] = order(repo=repo, config_name=config_name, overrides_list=list(overrides_list), **options)
        return replace(made[key], config_overrides=own.config_overrides)

    def composition(self: Any, defaults: list[Any], repo: Any) -> Any:
        if id(defaults) not in composed:
            composed[id(defaults)] = read(self, defaults=defaults, repo=repo)
        return deepcopy(composed[id(defaults)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_loader_impl, "create_defaults_list", ordered)
        patch.setattr(Loader, "_compose_config_from_defaults_list", composition)
        yield


def _state(source: Any) -> Hashable:
    """Where a source is, and of a folder the names, times and sizes of its YAML files."""
    files = tuple(_files(source.path)) if source.scheme() == "file" else ()
    return source.scheme(), source.path, files


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    for above, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".yaml", ".yml")):
                facts = os.stat(f"{above}/{name}")
                yield f"{above}/{name}", facts.st_mtime_ns, facts.st_size
