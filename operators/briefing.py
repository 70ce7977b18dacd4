"""What a model is shown of the tree, as Markdown. Screening scores only: nothing here may read the others.

Each function takes the tree as it is; whoever calls from another thread holds ``tree.lock``. What candidates and
models wrote (sources, logs, ideas) goes through ``operators.untrusted``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from archive.records import CurvePoint, Evaluation, Failed, Propose, Scored
from archive.tree import Tree
from operators.untrusted import one_line, quote
from prepare.task import Task

_ANCESTORS = 10
_SIBLINGS = 16
_IN_FLIGHT = 12
_LOG = 4000
_PROMPTED_FAILURES = ("crashed", "timed_out", "out_of_memory", "invalid", "stopped")


def task(task: Task) -> str:
    """The API's numbers: metric, budget and limits."""
    limits, metric = task.limits, task.metric
    better = "lower is better" if metric.direction == "minimise" else "higher is better"
    unit = f" in {metric.unit}" if metric.unit else ""
    return "\n".join(
        [
            f"- metric: `{metric.name}`{unit}; {better}",
            f"- training: {task.seconds:g} s of wall time after `session.start()`; "
            f"{limits.startup_seconds:g} s before that for imports and building",
            f"- `predict` is called with 1 <= T <= {task.context} and returns logits over {task.vocab} values",
            f"- the state: at most {limits.parameters:,} elements and {limits.state_mb:g} MB",
            f"- memory: {limits.memory_mb} MB; source: {limits.source_kb} KB; "
            f"literals and names: {limits.literal_bytes} bytes in all, compressed",
            f"- files that you may change: {', '.join(f'`{path}`' for path in task.editable)}",
        ]
    )


def sources(tree: Tree, node_id: str, task: Task) -> str:
    """The editable files of a node, each between delimiters."""
    files = tree[node_id].candidate.files
    limit = 1024 * task.limits.source_kb
    return "\n\n".join(
        f"FILE: {path}\n{quote(files[path], 'source', limit, keep='head')}" for path in task.editable if path in files
    )


def result(tree: Tree, node_id: str) -> str:
    """A node's mean score and the shape of its last learning curve."""
    index = tree.index[node_id]
    mean, runs = float(tree.means[index]), int(tree.runs[index])
    if math.isnan(mean):
        return "It has no score."
    scored = [e for e in _screenings(tree, node_id) if isinstance(e, Scored)]
    text = f"Its score is {mean:.5g}" + (f" (mean of {runs} runs)." if runs > 1 else " (one run).")
    if scored:
        last = next((e for e in reversed(scored) if e.curve), scored[-1])
        text += _curve(last.curve)
        if last.resources.steps:
            text += f" It made {last.resources.steps} steps in {last.resources.seconds:.3g} s."
        if "parameters" in last.metrics:
            text += f" It has {last.metrics['parameters']:,.0f} parameters."
    return text


def noise(sigma: float | None) -> str:
    """What difference means nothing."""
    if sigma is None:
        return "How much scores differ by chance is not known yet."
    return (
        f"Equal programs differ by chance with a standard deviation of {sigma:.2g}; less than {2 * sigma:.2g} is noise."
    )


def ancestors(tree: Tree, node_id: str) -> str:
    """How the node came about: each ancestor's idea, oldest first, and what it gained over its parents."""
    line = tree.lineage(node_id)[-_ANCESTORS:]
    return _attempts(f"- {_attempt(tree, member)}" for member in line)


def siblings(tree: Tree, node_id: str) -> str:
    """What was tried on the node already: its children, latest last, failures and pending ones included."""
    children = tree.children(node_id)[-_SIBLINGS:]
    return _attempts(f"- {_attempt(tree, child)}" for child in children) or "- nothing yet"


def best(tree: Tree, count: int = 8) -> str:
    """The best nodes of the tree, for a draft that should be none of them."""
    scored = [node.node_id for node, fit in zip(tree.nodes, tree.eligible(), strict=True) if fit]
    sign = 1 if tree.direction == "minimise" else -1
    scored.sort(key=lambda node: sign * float(tree.means[tree.index[node]]))
    return _attempts(f"- {_attempt(tree, node)}" for node in scored[:count])


def in_flight(tree: Tree, move_number: int) -> str:
    """What others are working on at this moment: moves without a result yet, this one left out."""
    nodes = {node.move: node for node in tree.nodes[-4 * _IN_FLIGHT :]}
    lines = []
    for number, record in list(tree.open_moves.items())[-_IN_FLIGHT:]:
        if number == move_number or not isinstance(record.move, Propose):
            continue
        idea = one_line(nodes[number].candidate.idea) if number in nodes else "not decided yet"
        lines.append(f"- {record.move.operator} of {', '.join(p[:8] for p in record.move.parents)}: {idea}")
    return _attempts(lines) or "- nothing"


def failure(tree: Tree, node_id: str) -> str:
    """Why a node failed: the outcome in our words; the reason, which may hold its last words, and its log as data."""
    failed = [e for e in _screenings(tree, node_id) if isinstance(e, Failed) and e.outcome != "lost"]
    if not failed:
        return "It did not fail."
    last = failed[-1]
    log = quote(last.log, "log", _LOG) if last.log.strip() else "It wrote no log."
    reason = quote(one_line(last.reason, 500), "reason")
    return f"Outcome: {last.outcome} after {last.resources.seconds:.3g} s. The reason:\n\n{reason}\n\n{log}"


def has_failed(tree: Tree, node_id: str) -> bool:
    """Whether the node was trained and gave no score."""
    return math.isnan(tree.means[tree.index[node_id]]) and any(
        e.outcome in _PROMPTED_FAILURES for e in _screenings(tree, node_id)
    )


def _screenings(tree: Tree, node_id: str) -> Iterator[Evaluation]:
    return (e for e in tree.evaluations[node_id] if e.request.purpose == "screen" and e.conditions == tree.conditions)


def _attempts(lines: Iterable[str]) -> str:
    """A list of attempts as data: ideas are a model's words, and the reason of a crash is the program's own."""
    text = "\n".join(lines)
    return quote(text, "attempts", limit=20_000) if text else ""


def _attempt(tree: Tree, node_id: str) -> str:
    """One line: id, operator, idea, and what came of it."""
    node = tree[node_id]
    return f"{node_id[:8]} ({node.candidate.operator}): {one_line(node.candidate.idea)}: {_outcome(tree, node_id)}"


def _outcome(tree: Tree, node_id: str) -> str:
    mean = float(tree.means[tree.index[node_id]])
    if math.isnan(mean):
        failed = [e for e in _screenings(tree, node_id) if isinstance(e, Failed) and e.outcome != "lost"]
        return f"{failed[-1].outcome}, {one_line(failed[-1].reason)}" if failed else "no result yet"
    if suspicion := tree.suspicion(node_id):
        return f"does not count: {one_line(str(suspicion))}"
    before = [float(tree.means[tree.index[parent]]) for parent in tree[node_id].parents]
    before = [score for score in before if not math.isnan(score)]
    if not before:
        return f"{mean:.5g}"
    reference = min(before) if tree.direction == "minimise" else max(before)
    gain = reference - mean if tree.direction == "minimise" else mean - reference
    return f"{mean:.5g}, {'better' if gain > 0 else 'worse'} by {abs(gain):.2g}"


def _curve(curve: Sequence[CurvePoint]) -> str:
    """Five points of a learning curve. The candidate reported them itself."""
    if not curve:
        return ""
    picked = sorted({round(i * (len(curve) - 1) / 4) for i in range(5)})
    points = ", ".join(f"{curve[i].loss:.4g} at {curve[i].elapsed:.3g} s" for i in picked)
    return f" Its training loss by its own report: {points}."
