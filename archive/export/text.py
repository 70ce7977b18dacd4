"""Texts of an exported branch: commit messages with trailers, and the README beside train.py.

Ideas, operators and names are untrusted: they become one printable line, and never start a line that git or grep could
take for a trailer.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from archive.query.tables import one_line

_SUBJECT_WIDTH = 100
_IDEA_LIMIT = 2000
_LIKE_A_TRAILER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)+\s*:", re.ASCII)


@dataclass(frozen=True)
class Subject:
    """Facts of the exported run."""

    run: str
    task: str
    metric: str
    direction: str
    unit: str
    folder: str
    """The one folder of the branch."""
    config: Mapping[str, Any]
    """The resolved task."""

    @property
    def runs_alone(self) -> bool:
        """Whether programs of the task run without its folder: those that train a language model."""
        return "workspace" not in self.config


@dataclass(frozen=True)
class Step:
    """One node of the lineage with the facts of its commit; ``files`` maps path to the SHA-256 of the text."""

    node_id: str
    operator: str
    idea: str
    when: int
    parents: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    scores: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()
    """Outcomes of the screenings without a score."""
    models: tuple[str, ...] = ()
    """Language models that were asked for it."""
    verdict: tuple[str, str, Mapping[str, Any]] | None = None
    """(kind, reason, detail) of the last ``champion`` or ``no_champion`` decision about it."""


def commit_message(subject: Subject, step: Step) -> str:
    """Return the idea, score and claim in words, and trailers for programs as the last paragraph."""
    idea = one_line(step.idea, _IDEA_LIMIT) or f"{one_line(step.operator, 40)}, without an idea in words"
    title = one_line(idea, _SUBJECT_WIDTH)
    paragraphs = [f'"{title}"' if _LIKE_A_TRAILER.match(title) else title]
    if title != idea:
        paragraphs.append(_wrapped(idea, "> "))
    paragraphs.append(_wrapped(_score_in_words(subject, step)))
    if step.verdict is not None:
        paragraphs.append("\n".join(_claim(step.verdict)))
    paragraphs.append("\n".join(f"Treewright-{key}: {value}" for key, value in _trailers(subject, step)))
    return "\n\n".join(paragraphs) + "\n"


def _libraries(config: Mapping[str, Any], corpus: str) -> list[str]:
    """Return the packages that a program and ``prepare`` import: the last two only for data that need them."""
    tokens, shards = config.get("encoding") == "tokens", corpus.startswith("prepare.") and corpus.endswith(".ClimbMix")
    return ["torch", "numpy", *(["rustbpe"] if tokens else []), *(["duckdb"] if shards else [])]


def _foreign(target: str) -> list[str]:
    return [
        f"Its data come from the class `{target}`, which is none of ours, and `task.json` may not name it. Take the",
        "task from your own settings instead: `python -m search evaluate . task=NAME --config-dir DIR`.",
    ]


def readme(subject: Subject, step: Step) -> str:
    """Return the README in Markdown: how to run the program, its score, its lineage; untrusted text as code."""
    lines = [
        f"# `{_code(subject.task)}`, node {step.node_id}",
        "",
        _score_in_words(subject, step),
        *(["", *_indented(_claim(step.verdict))] if step.verdict is not None else []),
        "",
        *(_how_to_train(subject) if subject.runs_alone else _how_to_score(step)),
        "",
        "## How it was made",
        "",
        *_indented(
            [
                f"idea      {one_line(step.idea, _IDEA_LIMIT) or '-'}",
                f"operator  {one_line(step.operator, 60)}",
                f"parents   {', '.join(step.parents) or 'none: this is the seed program'}",
                f"run       {one_line(subject.run, 100)}",
            ]
        ),
        "",
        "Every commit of this branch is one node of the search, and `git log --graph` shows how they descend.",
        *(["`prepare/` and `task.json` are copies of what the search used."] if subject.runs_alone else []),
        "Exported by Treewright.",
    ]
    return "\n".join(lines) + "\n"


def _how_to_train(subject: Subject) -> list[str]:
    """Return how a program that trains a language model is run."""
    corpus = subject.config.get("corpus")
    target = str(corpus.get("_target_") or "") if isinstance(corpus, dict) else ""
    return [
        "## Run it",
        "",
        f"    pip install {' '.join(_libraries(subject.config, target))}",
        f"    cd {subject.folder} && python -m prepare && python train.py",
        *([] if target.startswith("prepare.") else ["", *_foreign(_code(target))]),
        "",
        "`train.py` was written by a search. Run like this it has no sandbox around it, so read it first. It prints",
        "its own score, on your machine and with another seed: expect it near the score above, not equal to it.",
    ]


def _how_to_score(step: Step) -> list[str]:
    """Return how a program is scored again with the task's folder, which the branch does not hold."""
    names = ", ".join(f"`{_code(path)}`" for path in sorted(step.files))
    return [
        "## Use it",
        "",
        f"The program: {names}. It was written by a search: read",
        "it before you run it without a sandbox. To score it again, name the task, by its folder or its name:",
        "",
        "    python -m search evaluate . task=FOLDER",
    ]


# ---------------------------------------------------------------- the pieces


def _score_in_words(subject: Subject, step: Step) -> str:
    failures = ", ".join(f"{n} {outcome}" for outcome, n in sorted(Counter(step.failures).items()))
    if not step.scores:
        return f"No screening score on val under the run's present conditions ({failures or 'none was finished'})."
    runs = f"mean of {len(step.scores)} screening runs" if len(step.scores) > 1 else "1 screening run"
    better = "lower" if subject.direction == "minimise" else "higher"
    name, unit = one_line(subject.metric, 40), one_line(subject.unit, 20)
    return (
        f"{name} {fmean(step.scores):.6g}{' ' + unit if unit else ''} ({runs} on val; {better} is better"
        f"{'; failed: ' + failures if failures else ''}). A screening score steers the search and claims nothing."
    )


def _claim(verdict: tuple[str, str, Mapping[str, Any]]) -> list[str]:
    """Return the decision about a node, its reason and its figures, a line each."""
    kind, reason, detail = verdict
    title = "Champion" if kind == "champion" else "No champion"
    figures = [f"  {one_line(str(key), 40)}: {_figure(value)}" for key, value in detail.items()]
    sentence = f"{title}: {one_line(reason, 1000) or 'no reason was given'}"
    return [*textwrap.wrap(sentence, 76, subsequent_indent="  ", break_on_hyphens=False), *figures]


def _figure(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return one_line(", ".join(_figure(item) for item in value), 300)
    return one_line(value if isinstance(value, str) else json.dumps(value), 300)


def _trailers(subject: Subject, step: Step) -> Iterator[tuple[str, str]]:
    yield "Node", step.node_id
    yield "Run", one_line(subject.run, 200)
    yield "Operator", one_line(step.operator, 200)
    if step.scores:
        yield "Score", repr(fmean(step.scores))
    if len(step.scores) > 1:
        from archive.interval import Interval, mean_interval  # scipy takes a tenth of a second to import

        if isinstance(interval := mean_interval(step.scores), Interval):
            yield "Interval", f"{interval.low:.6g} to {interval.high:.6g} (95%, {interval.n} runs)"
    yield "Metric", one_line(subject.metric, 200)
    if step.seeds:
        yield "Seeds", ", ".join(str(seed) for seed in step.seeds)
    for model in step.models:
        yield "Model", one_line(model, 200)
    for parent in step.parents:
        yield "Parent", parent


def _wrapped(text: str, prefix: str = "") -> str:
    return textwrap.fill(
        text, 76, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False, break_on_hyphens=False
    )


def _indented(lines: list[str]) -> list[str]:
    """Return a Markdown code block, in which nothing is markup."""
    return [f"    {line}" for line in lines]


def _code(text: str) -> str:
    return one_line(text, 100).replace("`", "'")
