"""Edits that a language model could make of the seeds in conf/task: an idea and a new definition of a function.

They come from what each task's program.md says of good ideas. None holds a solution.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import ClassVar

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
            "begin with comparators between channels whose numbers differ in one bit",
            '''
def merge_exchange(n):
    """Return layers along the bits of the channels' numbers, then every comparator of a transposition sort."""
    cube = [[i, i | 1 << k] for k in range(4) for i in range(n) if not i >> k & 1 and i | 1 << k < n]
    return cube + [[i, j] for apart in (7, 5, 3, 2, 1) for i in range(n) if (j := i + apart) < n] + [
        [i, i + 1] for turn in range(n) for i in range(turn % 2, n - 1, 2)
    ]
''',
        )
    ],
    "matmul": [
        (
            "draw the pairs from those that share a factor",
            '''
def flip(products, rng):
    """Flip two products that share a factor, drawn from all pairs that do."""
    shared, groups = rng.randrange(3), {}
    for product in products:
        groups.setdefault(product[shared], []).append(product)
    several = [group for group in groups.values() if len(group) > 1]
    if several:
        one, other = rng.sample(rng.choice(several), 2)
        grown, reduced = [k for k in range(3) if k != shared][:: rng.choice((1, -1))]
        total = tuple(x + y for x, y in zip(one[grown], other[grown]))
        rest = tuple(y - x for x, y in zip(one[reduced], other[reduced]))
        if max(map(abs, total + rest)) <= LARGEST:
            one[grown], other[reduced] = total, rest
''',
        )
    ],
    "capset": [
        (
            "priorities by the support, with one random number for each set of places that are not zero",
            '''
def priority(vectors):
    """Return a number for each vector that depends on the places of its zeros, and a little on its digits."""
    n, digits = vectors.shape[1], (vectors != 0).sum(1)
    by_support = np.random.default_rng(START).normal(size=2**n)
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
            "choose among small formulas by the error at the rim, with coefficients by least squares",
            '''
def formula(x, y):
    """Return the formula of a few kinds that is best at the rim of the data when fitted to the rest."""
    from scipy.optimize import least_squares

    a, b = x.T
    kinds = [
        "{0}*sin({1}*a) + {2}*b", "{0}*sin({1}*b) + {2}*a", "{0}*a*b + {1}*a**2 + {2}", "{0}*a*b + {1}*b**2 + {2}",
        "{0}*exp({1}*a)*cos(b) + {2}", "{0}*exp({1}*b)*sin(a) + {2}", "{0}*a/(1 + {1}*b**2) + {2}",
        "{0}*a**3 + {1}*a*b + {2}*b", "{0}*a**3 + {1}*b**2 + {2}",
    ]
    inner, tried = np.maximum(a, b) < 1.7, []
    for kind in kinds:
        def off(p, kind=kind, part=slice(None)):
            return value(kind.format(*[f"({float(q)!r})" for q in p]), a, b)[part] - y[part]

        fits = [least_squares(lambda p: off(p, part=inner), s, max_nfev=60) for s in ([1, 1, 1], [1, -1, 0.5])]
        best = min(fits, key=lambda fit: fit.cost)
        whole = least_squares(off, best.x, max_nfev=60)
        tried.append((float((off(best.x, part=~inner) ** 2).mean()), kind.format(*[f"({q:.10g})" for q in whole.x])))
    return min(tried)[1]
''',
        )
    ],
    "jobshop": [
        (
            "change the random numbers of the best schedule instead of drawing all of them anew",
            '''
def schedule(jobs):
    """Return the start of every operation: the best of TRIES changes of the priorities."""
    rng = random.Random(START)
    best = once(jobs, random.Random(0), 0.0)
    keys = [0.0] * sum(map(len, jobs))
    for _ in range(10 * TRIES):
        changed = [k if rng.random() > 0.05 else NOISE * rng.gauss(0, 1) for k in keys]
        drawn = iter(changed * len(jobs))

        class Drawn:
            def random(self):
                return next(drawn, 0.0)

        starts = once(jobs, Drawn(), 1.0)
        if makespan(jobs, starts) <= makespan(jobs, best):
            best, keys = starts, changed
    return best
''',
        )
    ],
}
"""Task -> (idea, definition that replaces the one of its name)."""


@dataclass(frozen=True)
class ScriptedEdits:
    """An operator that makes the edits of a task, each where it is not made yet."""

    task: str
    name: str = "edits"
    arity: ClassVar[int] = 1
    needs_llm: ClassVar[bool] = False

    def applies(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """Return the parent with a definition replaced."""
        path, text = next(iter(lineage_files(context.tree, move.parents[0])[-1].items()))
        for idea, definition in EDITS[self.task]:
            if (changed := replaced(text, definition.strip())) != text:
                return Candidate({path: changed}, move.parents, self.name, idea)
        return NoCandidate("all edits are made already")


def replaced(text: str, definition: str) -> str:
    """Return a program with the function of the definition's name replaced."""
    (new,) = ast.parse(definition).body
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and isinstance(new, ast.FunctionDef) and node.name == new.name:
            lines[node.lineno - 1 : node.end_lineno] = definition.splitlines()
    return "\n".join(lines) + "\n"
