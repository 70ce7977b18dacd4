"""A task on tokens that is small enough for a test."""

from __future__ import annotations

import dataclasses
from typing import Any

from prepare.language_model import Corpus, LanguageModelTask
from prepare.task import Metric


def task_on_tokens(corpus: Corpus, **changes: Any) -> LanguageModelTask:
    """Rows of 33 tokens of 300, of which 16 are drawn from an evaluation split."""
    task = LanguageModelTask(
        name="own",
        corpus=corpus,
        metric=Metric("val_bpb", "minimise"),
        seed_file="train/seeds/gpt.py",
        program="train/seeds/gpt.md",
        seconds=1.0,
        context=32,
        vocab=300,
        encoding="tokens",
        rows=16,
    )
    return dataclasses.replace(task, **changes)
