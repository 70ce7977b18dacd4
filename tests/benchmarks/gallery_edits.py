"""Edits that a language model could make of the seeds in conf/task: an idea and a new definition of a function.

They come from what each task's program.md says of good ideas. None holds a solution; those of the kernels are known
algorithms.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import ClassVar

from gallery_steps import STEPS

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.numeric.observations import lineage_files

EDITS: dict[str, list[tuple[str, str]]] = {
    "circles26": [
        (
            "radii by a linear program",
            '''
def radii(centres):
    """Return the best radii for these centres, by a linear program."""
    from scipy.optimize import linprog

    i, j = np.triu_indices(len(centres), 1)
    rows = np.zeros((len(i), len(centres)))
    rows[np.arange(len(i)), i] = rows[np.arange(len(i)), j] = 1
    apart = np.sqrt(((centres[i] - centres[j]) ** 2).sum(1))
    walls = np.minimum(centres, 1 - centres).min(1)
    found = linprog(-np.ones(len(centres)), A_ub=rows, b_ub=apart, bounds=[(0, wall) for wall in walls])
    return found.x.clip(0) * (1 - 1e-9)
''',
        )
    ],
    "sorting": [
        (
            "add comparators together with their mirror images",
            '''
MIRROR = 0.5  # tune: 0..1

def network(n):
    """Return comparators [i, j], i < j, by changes that often come with their mirror image."""
    first = [[i, i | 1 << k] for k in range(LAYERS) for i in range(n) if not i >> k & 1 and i | 1 << k < n]
    bits = outputs(inputs(n), first)
    found, done, rng = pruned(bits, merge_exchange(n)), 0.0, random.Random(1000 * n + START)
    while done < EFFORT:
        changed = [pair for pair in found if rng.random() > LEAVE_OUT]
        for _ in range(rng.randrange(ADD + 1)):
            place, (i, j) = rng.randrange(len(changed) + 1), sorted(rng.sample(range(n), 2))
            both = rng.random() < MIRROR and i + j != n - 1
            changed[place:place] = [[i, j], [n - 1 - j, n - 1 - i]] if both else [[i, j]]
        done += len(changed) * (1 + bits[-1].bit_length() / 1000)
        if (shorter := pruned(bits, changed)) and len(shorter) <= len(found):
            found = shorter
    return first + found
''',
        )
    ],
    "matmul": [
        (
            "draw the pairs from those that share a factor",
            '''
def flip(products, rng):
    """Flip two products that share a factor, drawn from all pairs that do; return whether a factor became zero."""
    shared, groups = rng.randrange(3), {}
    for product in products:
        groups.setdefault(product[shared], []).append(product)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return False
    one, other = rng.sample(rng.choice(several), 2)
    grown, reduced = [k for k in range(3) if k != shared][:: rng.choice((1, -1))]
    total = tuple(x + y for x, y in zip(one[grown], other[grown]))
    rest = tuple(y - x for x, y in zip(one[reduced], other[reduced]))
    if max(map(abs, total + rest)) > LARGEST:
        return False
    one[grown], other[reduced] = total, rest
    return not (any(total) and any(rest))
''',
        )
    ],
    "capset": [
        (
            "priorities by the support, with one random number for each set of places that are not zero",
            '''
WEIGHT_4 = 0.0  # tune: -2..2
WEIGHT_5 = 0.0  # tune: -2..2
WEIGHT_8 = 0.0  # tune: -2..2
MIRRORED = 0.0  # tune: -1..1
PAIRED = 0.0  # tune: -1..1
NOISE = 0.1  # tune: 0.001..1 log

def priority(vectors, rng):
    """Return a number for each vector that depends on the places of its zeros, and a little on its digits."""
    n, digits = vectors.shape[1], (vectors != 0).sum(1)
    by_support = rng.normal(size=2**n)
    support = (vectors != 0) @ (1 << np.arange(n))
    mirrored = (vectors[:, 1 : n // 2] == vectors[:, : n // 2 : -1][:, : n // 2 - 1]).sum(1)
    value = NOISE * by_support[support] + MIRRORED * (mirrored % 2) + PAIRED * mirrored
    for weight, bonus in ((4, WEIGHT_4), (5, WEIGHT_5), (8, WEIGHT_8)):
        value = value + bonus * (digits == weight)
    return value
''',
        )
    ],
    "overlap": [
        (
            "improve the heights by linear programs around them",
            '''
def heights():
    """Return heights that linear programs improve step by step, from a parabola with a wave."""
    from scipy.optimize import linprog

    n, radius = SIZE, 0.1
    h = balanced(1 - CURVE * np.linspace(-1, 1, n) ** 2 + 0.05 * np.cos(np.linspace(0, RATE * 30, n)))
    for _ in range(min(60, STEPS // 10)):
        one = np.eye(n)
        slopes = [np.correlate(e, 1 - h, "full") - np.correlate(h, e, "full") for e in one]
        rows = np.hstack([np.array(slopes).T * 2 / n, -np.ones((2 * n - 1, 1))])
        bounds = [(max(-radius, -x), min(radius, 1 - x)) for x in h] + [(0, 1)]
        found = linprog(np.r_[np.zeros(n), 1], A_ub=rows, b_ub=-overlaps(h), bounds=bounds,
                        A_eq=[np.r_[np.ones(n), 0]], b_eq=[0])
        if found.x is None:
            break
        moved = balanced(h + found.x[:n])
        better = overlaps(moved).max() < overlaps(h).max()
        h, radius = (moved, radius * 1.3) if better else (h, radius / 3)
    return h.tolist()
''',
        )
    ],
    "regression": [
        (
            "fit all numbers of the best few formulas together, also those inside of functions",
            '''
import re

KEPT = 3  # tune: 1..8

def formula(x, y):
    """Return the one of KEPT formulas that predicts the rim best once all of its numbers are fitted."""
    inner = x.max(axis=1) < RIM
    tried = sorted((chosen(*library, x, y, inner) for library in libraries()), key=lambda each: each[0])
    found = []
    for _, above, below in tried[:KEPT]:
        w = weights(columns(above, x[inner]), columns(below, x[inner]), y[inner])
        text = f"({total(w[: len(above)], above)})/(1 + {total(w[len(above) :], below)})"
        parts = re.split(r"(?<=\\()(-?\\d[\\d.e+-]*)(?=\\)?\\*)", text)
        fit = refined(parts, np.array(parts[1::2], dtype=float), x[inner], y[inner])
        off = columns([joined(parts, fit)], x[~inner])[:, 0] - y[~inner]
        found.append((float((off**2).mean()) * (1 + PENALTY * len(w)) ** 2, parts, fit))
    _, parts, fit = min(found, key=lambda each: each[0])
    return joined(parts, refined(parts, fit, x, y))

def joined(parts, numbers):
    """Return the text with other numbers in every second place."""
    made = [*parts]
    made[1::2] = [f"{number:.10g}" for number in numbers]
    return "".join(made)

def refined(parts, numbers, x, y):
    """Return numbers that fit the points better."""
    from scipy.optimize import least_squares

    off = lambda p: np.nan_to_num(columns([joined(parts, p)], x)[:, 0] - y, nan=1e3)
    return least_squares(off, numbers, max_nfev=30).x
''',
        )
    ],
    "autocorrelation": [
        (
            "improve the heights by linear programs around them",
            '''
def heights():
    """Return heights that linear programs improve step by step, from random heights."""
    from scipy.optimize import linprog

    n, radius = min(SIZE, 120), 0.3
    h = scaled(1 - NOISE * np.random.default_rng(START).random(n))
    for _ in range(min(60, STEPS // 10)):
        slopes = [np.convolve(h, one) for one in np.eye(n)]
        rows = np.hstack([np.array(slopes).T * 4 / n, -np.ones((2 * n - 1, 1))])
        found = linprog(np.r_[np.zeros(n), 1], A_ub=rows, b_ub=-peaks(h), A_eq=[np.r_[np.ones(n), 0]], b_eq=[0],
                        bounds=[(max(-radius, -x), radius) for x in h] + [(0, 2)])
        if found.x is None:
            break
        moved = scaled(h + found.x[:n])
        better = peaks(moved).max() < peaks(h).max()
        h, radius = (moved, radius * 1.3) if better else (h, radius / 3)
    return h.tolist()
''',
        )
    ],
    "jobshop": [
        (
            "anneal the orders on the machines: exchange neighbours that follow one another without a pause",
            '''
def schedule(jobs):
    """Return the start of every operation, by simulated annealing over the orders of the jobs on the machines."""
    import math

    rng, noise = random.Random(START), [[0.0] * len(job) for job in jobs]
    starts = best = once(jobs, noise)
    orders, heat = {}, NOISE
    for _, j, k in sorted((s, j, k) for j, row in enumerate(starts) for k, s in enumerate(row)):
        orders.setdefault(jobs[j][k][0], []).append((j, k))
    for _ in range(10 * TRIES):
        heat = max(heat * 0.9995, 0.3)
        tight = [(m, i) for m, order in orders.items() for i, ((j, k), (p, q)) in enumerate(zip(order, order[1:]))
                 if starts[j][k] + jobs[j][k][1] == starts[p][q]]
        machine, i = rng.choice(tight)
        order = list(orders[machine])
        order[i], order[i + 1] = order[i + 1], order[i]
        changed = timed(jobs, {**orders, machine: order})
        if changed and rng.random() < math.exp(min(0, (makespan(jobs, starts) - makespan(jobs, changed)) / heat)):
            starts, orders = changed, {**orders, machine: order}
            best = min(best, starts, key=lambda each: makespan(jobs, each))
    return best


def timed(jobs, orders):
    """Return the earliest starts for these orders, None if they wait for one another."""
    starts, free, at, left = [[] for _ in jobs], dict.fromkeys(orders, 0), dict.fromkeys(orders, 0), True
    while left:
        left = False
        for machine, order in orders.items():
            while at[machine] < len(order) and len(starts[order[at[machine]][0]]) == order[at[machine]][1]:
                j, k = order[at[machine]]
                ready = starts[j][-1] + jobs[j][k - 1][1] if k else 0
                starts[j].append(max(ready, free[machine]))
                free[machine] = starts[j][k] + jobs[j][k][1]
                at[machine] += 1
                left = True
    return starts if all(map(len, starts)) and sum(map(len, starts)) == sum(map(len, jobs)) else None
''',
        )
    ],
} | STEPS
"""Task -> (idea, text); see ``with_edit`` for what the text replaces."""


@dataclass(frozen=True)
class ScriptedEdits:
    """An operator that makes the edits of a task: the next step of a program, any line that a prompt lacks."""

    task: str
    name: str = "edits"
    arity: ClassVar[int] = 1
    needs_llm: ClassVar[bool] = False

    def applies(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """Return the parent with an edit made."""
        path, text = next(iter(lineage_files(context.tree, move.parents[0])[-1].items()))
        made = [with_edit(path, text, edit) == text for _, edit in EDITS[self.task]]
        left = [number for number, done in enumerate(made) if not done]
        if path.endswith(".txt"):
            context.rng.shuffle(left)
        else:
            left = [number for number in left if not any(made[number:])]
        if not left:
            return NoCandidate("all edits are made already")
        idea, edit = EDITS[self.task][left[0]]
        return Candidate({path: with_edit(path, text, edit)}, move.parents, self.name, idea)


def with_edit(path: str, text: str, edit: str) -> str:
    """Return a file with an edit: definitions of Python replaced, a line before a prompt's last one, a whole file."""
    match path.rpartition(".")[2]:
        case "py":
            return replaced(text, edit.strip())
        case "txt":
            lines = text.splitlines()
            return text if edit in lines else "\n".join([*lines[:-1], edit, lines[-1]]) + "\n"
        case _:
            return edit


def replaced(text: str, definitions: str) -> str:
    """Return a program with functions replaced by those of the same names; all that is new is added.

    Constants that are there keep their values.
    """
    for new in ast.parse(definitions).body:
        own = definitions.splitlines()[new.lineno - 1 : new.end_lineno]
        lines, body = text.splitlines(), ast.parse(text).body
        place = [node for node in body if named(node) == named(new)]
        if isinstance(new, ast.FunctionDef):
            for node in place:
                lines[node.lineno - 1 : node.end_lineno] = own
            lines = lines if place else [*lines, "", "", *own]
        elif not place:
            head = body[0].end_lineno or 0  # a module's docstring
            lines[head:head] = ["", *own] if isinstance(new, ast.Import) else []
            first = next(node for node in body if isinstance(node, ast.FunctionDef)).lineno - 1
            lines[first:first] = [] if isinstance(new, ast.Import) else [*own, "", ""]
        text = "\n".join(lines) + "\n"
    return text


def named(node: ast.stmt) -> str:
    """Return what a statement defines: a function's name, a constant's, or the text of an import."""
    match node:
        case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return ast.unparse(node)
