"""Sections of a prompt on the task and the tree, as Markdown. Only screening scores are shown, never those of claims.

The sections are read from the tree and not by SQL, although the archive's views hold the same (a test compares them):
the tree is made of the archive's rows alone, it does not change while its lock is held, so that all sections of a
prompt show one moment, and reading it takes a hundredth of the time. The tree holds one run; other runs are queried
by ``operators.rewrite.prompt.insights``.

The caller holds ``tree.lock``. Text of candidates and models (sources, logs, ideas) goes through
``operators.sanitize``. A section that may be shortened is a ``Listing``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from difflib import unified_diff

import numpy as np

from archive.noise import SeedDeviation
from archive.records import CurvePoint, Failed, Propose, Scored
from archive.tree import Tree
from operators.languages.files import Editable, editable_files
from operators.numeric.observations import earlier_values, lineage_files
from operators.numeric.search_space import format_range, has_invalid_range, range_of
from operators.rewrite.prompt.change_kinds import gain_of
from operators.rewrite.prompt.feedback import metrics, screenings
from operators.rewrite.prompt.insights import kind_of
from operators.rewrite.prompt.truncation import Listing
from operators.sanitize import clean, escaped_characters, one_line, quote, visible
from prepare.task import BITS_PER_BYTE, Task

_ANCESTORS = 10
_SIBLINGS = 16
_IN_FLIGHT = 12
_LOG = 4000
_LINE = 300
_CHANGE, _CHANGE_LINE = 12, 120
"""Lines of another program's change that are shown, and characters of one."""
_LAST_WORDS, _LAST_LINES = 2, 3
"""Failed children of which the end of the log is shown, the latest ones, and its lines."""
_CHANGED = re.compile(r"(?!---|\+\+\+)[-+]\s*\S")
"""A line of a diff that was removed or added, blank ones and the names of files excepted."""
_SAME = 40
"""Characters that a line of a log shares with a reason that says the same."""
_FRAME = re.compile(r'^  File "([^"]+)", line \d')
_PROGRAM = "/candidate/"
"""Part of the path from which every sandbox imports a program."""
_PROMPTED_FAILURES = ("crashed", "timed_out", "out_of_memory", "invalid", "infeasible", "stopped")


def sources(files: Mapping[str, str], task: Task) -> str:
    """Return the editable files of a program, each between delimiters."""
    limit = 1024 * task.limits.source_kb
    shown = {path: visible(files[path]) for path in editable_files(task.editable, files)}
    texts = [
        f"FILE: {one_line(path)}\n{quote(text, 'source', max(limit, len(text)), keep='head')}"
        for path, text in shown.items()
    ]
    return "\n\n".join([*texts, *_notes(files[path] for path in shown)])


def _notes(texts: Iterable[str]) -> list[str]:
    """Return what the answer has to observe because of unusual characters and lines of a program."""
    texts = tuple(texts)
    lines = {line.strip() for text in texts for line in text.split("\n")}
    notes = []
    if any(map(escaped_characters, texts)):
        notes.append("Characters that cannot be shown stand as escapes: ⟦\\u200b⟧. Copy the escapes as they are.")
    if any(line.startswith(("```", "~~~")) for line in lines):
        notes.append("The program has lines of three backticks: between lines of four, it can be given as a whole.")
    if "=======" in lines:
        notes.append("The program has a line `=======`: search for lines that are not next to it.")
    return notes


def change(tree: Tree, node_id: str, task: Task) -> Listing:
    """Return the change of a node to its first parent, as a unified diff."""
    node = tree[node_id]
    lines: list[str] = []
    if node.parents:
        before = tree[node.parents[0]].candidate.files
        for path in editable_files(task.editable, {**before, **node.candidate.files}):
            old, new = (visible(files.get(path, "")).split("\n") for files in (before, node.candidate.files))
            lines += unified_diff(old, new, f"before/{path}", f"after/{path}", lineterm="", n=2)
    return Listing(tuple(lines), "diff", "Nothing that can be shown.", keep="head")


def parameters(tree: Tree, node_id: str, task: Task) -> Listing:
    """Return the parameters that the numeric search changes, with their ranges and invalid range comments."""
    files, lineage, editable = tree[node_id].candidate.files, lineage_files(tree, node_id), Editable.of(task)
    lines = []
    for path, parameter in editable.parameters(files):
        earlier = earlier_values(lineage, (path, parameter.name), editable.declared)
        if (span := range_of(parameter, earlier)) is None:
            continue
        # Not in the form of a line of the program, which models would copy into search texts.
        line = f"- {one_line(parameter.name, 80)}: {format_range(span)}"
        if has_invalid_range(parameter):
            line += f" (guessed: `tune: {one_line(parameter.tune or '', 60)}` is not of the form shown above)"
        lines.append(line)
    return Listing(tuple(lines), "constants", "It has no constants that the numeric search could change.", "head")


def example(tree: Tree, task: Task) -> str:
    """Return a program that shows how the interface is used: the task's own, else the first program of the search."""
    if (given := task.prompt_info.example) is not None:
        return f"A complete but poor program, which shows how the interface is used:\n\n{given}"
    files = sources(tree[tree.root].candidate.files, task)
    return f"The first program of the search, which shows how the interface is used:\n\n{files}"


def result(tree: Tree, node_id: str, task: Task) -> str:
    """Return a node's mean score, its further metrics, and the shape of its last learning curve if it has one."""
    index = tree.index[node_id]
    mean, runs = float(tree.means[index]), int(tree.runs[index])
    if math.isnan(mean):
        return "It has no score."
    scored = [e for e in screenings(tree, node_id) if isinstance(e, Scored)]
    unit = f" {task.metric.unit}" if task.metric.unit else ""
    text = f"Its score is {mean:.5g}{unit}" + (f" (mean of {runs} runs)." if runs > 1 else " (one run).")
    if scored:
        last = next((e for e in reversed(scored) if e.curve), scored[-1])
        text += _curve(last.curve, task)
        if last.resources.steps:
            text += f" It made {last.resources.steps} steps in {last.resources.seconds:.3g} s."
        if shown := metrics(last.metrics, task):
            text += f" Measured beside it: {shown}."
    return text


def noise(sigma: SeedDeviation | None, task: Task) -> str:
    """Return which difference of scores is noise."""
    if task.deterministic:
        return "A program has the same score in every run, so that every difference of scores is real."
    if sigma is None:
        return "How much scores vary by chance is not known yet."
    return (
        f"Scores of one program vary by chance with a standard deviation of about {sigma.value:.2g} (between "
        f"{sigma.low:.2g} and {sigma.high:.2g}); differences below {2 * sigma.value:.2g} are noise."
    )


def ancestors(tree: Tree, node_id: str, older: Container[str] = ()) -> Listing:
    """Return each ancestor's idea and gain over its parents, oldest first. ``older``: ancestors to leave out."""
    line = [member for member in tree.lineage(node_id) if member not in older][-_ANCESTORS:]
    return Listing(tuple(attempt(tree, member) for member in line), "attempts", "- it is the first program")


def siblings(tree: Tree, node_id: str) -> Listing:
    """Return the children of a node, failed and pending ones included, latest last."""
    children = tree.children(node_id)[-_SIBLINGS:]
    failed = [child for child in children if has_failed(tree, child)][-_LAST_WORDS:]
    lines = (_with_last_words(tree, child) if child in failed else attempt(tree, child) for child in children)
    return Listing(tuple(lines), "attempts", "- nothing yet")


def failed_relatives(tree: Tree, node_id: str) -> Listing:
    """Return the other children of a node's first parent that failed, latest last, with the ends of their logs."""
    parents = tree[node_id].parents
    family = tree.children(parents[0])[-_SIBLINGS:] if parents else ()
    failed = [each for each in family if each != node_id and has_failed(tree, each)][-_LAST_WORDS:]
    return Listing(tuple(_with_last_words(tree, each) for each in failed), "attempts", "- none")


def _with_last_words(tree: Tree, node_id: str) -> str:
    """Return a failed node with the end of its log, as far as its reason does not say the same."""
    line = attempt(tree, node_id)
    words = (clean(text)[:_CHANGE_LINE].rstrip() for text in log(tree, node_id).lines)
    told = [text for text in words if text.strip(" ^~") and text.strip()[:_SAME] not in line]
    return "\n".join([line, *(f"    {text}" for text in told[-_LAST_LINES:])])


def best(tree: Tree, count: int = 8) -> Listing:
    """Return the best nodes of the tree, from which a draft is to differ."""
    lines = tuple(attempt(tree, node_id) for node_id in best_nodes(tree, count))
    return Listing(lines, "attempts", "- none yet", keep="head")


def best_nodes(tree: Tree, count: int) -> list[str]:
    """Return the nodes with the best mean scores, best first."""
    places = np.flatnonzero(tree.eligible())
    badness = tree.means[places] if tree.direction == "minimise" else -tree.means[places]
    return [tree.nodes[place].node_id for place in places[np.argsort(badness, kind="stable")[:count]]]


def leader(tree: Tree, node_id: str, task: Task) -> str:
    """Return the best score so far and how far a node is from it."""
    first = next(iter(best_nodes(tree, 1)), None)
    if first is None or not tree.scored(node_id):
        return ""
    if first == node_id:
        return "It is the best program of the search so far."
    best_score, own = (float(tree.means[tree.index[each]]) for each in (first, node_id))
    unit = f" {task.metric.unit}" if task.metric.unit else ""
    return f"The best program so far, {first[:8]}, has {best_score:.5g}{unit}: better by {abs(best_score - own):.2g}."


def others(tree: Tree, node_id: str, task: Task, count: int = 2) -> Listing:
    """Return the best programs that are neither a node nor its ancestors, with the beginnings of their last changes."""
    line = set(tree.lineage(node_id))
    lines: list[str] = []
    for other in [each for each in best_nodes(tree, count + len(line)) if each not in line][:count]:
        changed = [text for text in change(tree, other, task).lines if _CHANGED.match(text)]
        cut = ["    ..."] if len(changed) > _CHANGE else []
        lines += [attempt(tree, other), *(f"    {text[:_CHANGE_LINE]}" for text in changed[:_CHANGE]), *cut]
    return Listing(tuple(lines), "attempts", "- none yet", keep="head")


def hardware(tree: Tree) -> str:
    """Return the budget and the machine of the scores that are compared."""
    conditions = tree.conditions
    if conditions is None:
        return ""
    return f"Every program has {conditions.budget_seconds:g} s, on {one_line(conditions.hardware, 160)}."


def in_flight(tree: Tree, move_number: int) -> Listing:
    """Return the moves in progress, without this one."""
    nodes = {node.move: node for node in tree.nodes[-4 * _IN_FLIGHT :]}
    lines = []
    for number, record in list(tree.open_moves.items())[-_IN_FLIGHT:]:
        if number == move_number or not isinstance(record.move, Propose):
            continue
        found = nodes.get(number)
        idea = one_line(found.candidate.idea) if found else "not decided yet"
        kind = kind_of(record.move.operator, found.candidate.aim if found else None)
        lines.append(f"- {kind} of {', '.join(p[:8] for p in record.move.parents)}: {idea}")
    return Listing(tuple(lines), "attempts", "- nothing")


def failure(tree: Tree, node_id: str, task: Task) -> str:
    """Return why a node failed: its outcome, and its reason quoted as data, since it may hold the program's text."""
    last = last_failure(tree, node_id)
    if last is None:
        return "It did not fail."
    text = f"Outcome: {last.outcome} after {last.resources.seconds:.3g} s."
    if last.outcome == "infeasible":
        text += " It ran to its end, and broke a constraint of the task."
    if shown := metrics(last.metrics, task):
        text += f" Measured: {shown}."
    return f"{text} The reason:\n\n{quote(one_line(last.reason, 500), 'reason')}"


def log(tree: Tree, node_id: str) -> Listing:
    """Return the end of a failed node's log, without traceback frames of other code."""
    last = last_failure(tree, node_id)
    text = _own_frames(clean(last.log))[-_LOG:].strip() if last else ""
    lines = tuple(line if len(line) <= _LINE else f"{line[: _LINE - 3]}..." for line in text.splitlines())
    return Listing(lines, "log", "It wrote no log.")


def _own_frames(text: str) -> str:
    """Keep only the program's own frames of a traceback: the others are twice as long and say less.

    If no frame belongs to the program, all are kept.
    """
    kept: list[str] = []
    foreign = False
    for line in text.splitlines():
        if frame := _FRAME.match(line):
            foreign = _PROGRAM not in frame[1]
        elif not line.startswith("    "):
            foreign = False
        if not foreign:
            kept.append(line)
    return "\n".join(kept) if any(_PROGRAM in line for line in kept) else text


def last_failure(tree: Tree, node_id: str) -> Failed | None:
    """Return the last screening of a node that failed, or None."""
    failed = [e for e in screenings(tree, node_id) if isinstance(e, Failed) and e.outcome != "lost"]
    return failed[-1] if failed else None


def has_failed(tree: Tree, node_id: str) -> bool:
    """Return whether the node was evaluated without a score."""
    return math.isnan(tree.means[tree.index[node_id]]) and any(
        e.outcome in _PROMPTED_FAILURES for e in screenings(tree, node_id)
    )


def attempt(tree: Tree, node_id: str) -> str:
    """Return a node in one line: id, operator with its kind of change, idea, and result."""
    candidate = tree[node_id].candidate
    kind = one_line(kind_of(candidate.operator, candidate.aim))
    return f"- {node_id[:8]} {kind}: {one_line(candidate.idea)}: {_outcome(tree, node_id)}"


def _outcome(tree: Tree, node_id: str) -> str:
    mean = float(tree.means[tree.index[node_id]])
    if math.isnan(mean):
        last = last_failure(tree, node_id)
        return f"{last.outcome}, {one_line(last.reason)}" if last else "no result yet"
    if suspicion := tree.suspicion(node_id):
        return f"does not count: {one_line(str(suspicion))}"
    gain = gain_of(tree, node_id)
    if gain is None:
        return f"{mean:.5g}"
    if gain == 0:
        return f"{mean:.5g}, no change"
    return f"{mean:.5g}, {'better' if gain > 0 else 'worse'} by {abs(gain):.2g}"


def _curve(curve: Sequence[CurvePoint], task: Task) -> str:
    """Return five points of a learning curve, as reported by the candidate."""
    if not curve:
        return ""
    picked = sorted({round(i * (len(curve) - 1) / 4) for i in range(5)})
    points = ", ".join(f"{curve[i].loss:.4g} at {curve[i].elapsed:.3g} s" for i in picked)
    nats = ", in nats if it is torch's cross-entropy (1 nat is 1.443 bits)" if task.metric.unit == BITS_PER_BYTE else ""
    return f" Its loss by its own report{nats}: {points}."
