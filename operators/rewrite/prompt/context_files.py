"""Files for a coding agent to read: the best programs of a tree with their changes, failures, and a program's history.

The caller holds ``tree.lock``. Only screenings are shown, as in prompts.
"""

from __future__ import annotations

import math

from archive.tree import Tree
from operators.languages.files import editable_files
from operators.rewrite.prompt import sections
from operators.sanitize import visible
from prepare.task import Task

_FAILURES = 20
_LAST_LINES = 15


def context_files(tree: Tree, node_id: str, task: Task, programs: int) -> dict[str, str]:
    """Return path -> text. ``programs``: how many of the best."""
    files = {"history.md": _history(tree, node_id), "failures.md": _failures(tree)}
    for place, best in enumerate(sections.best_nodes(tree, programs), 1):
        folder = f"best/{place}-{best[:8]}"
        about = [
            sections.attempt(tree, best),
            "",
            "Its history, oldest step first:",
            "",
            *sections.ancestors(tree, best).lines,
        ]
        files[f"{folder}/about.md"] = "\n".join([*about, ""])
        files[f"{folder}/change.diff"] = "\n".join([*sections.change(tree, best, task).lines, ""])
        own = tree[best].candidate.files
        files |= {f"{folder}/program/{path}": visible(own[path]) for path in editable_files(task.editable, own)}
    return files


def _history(tree: Tree, node_id: str) -> str:
    steps = ["# Steps to the program, oldest first", "", *sections.ancestors(tree, node_id).lines]
    return "\n".join([*steps, "", "# Earlier changes of it", "", *sections.siblings(tree, node_id).lines, ""])


def _failures(tree: Tree) -> str:
    """Return the latest failures of the whole tree with the ends of their logs."""
    failed = [n.node_id for n in tree.nodes if math.isnan(tree.means[tree.index[n.node_id]])]
    lines = ["# Programs that failed, the latest last", ""]
    for node_id in failed[-_FAILURES:]:
        if sections.last_failure(tree, node_id) is None:
            continue
        log = (f"    {line}" for line in sections.log(tree, node_id).lines[-_LAST_LINES:])
        lines += [sections.attempt(tree, node_id), *log, ""]
    return "\n".join(lines)
