"""What the scorer said of a program: metrics beside the score, scores by case, feedback in words.

Only evaluations that steer the search (purpose ``screen``, on ``val``) are read; what is said of ``select`` and
``holdout`` never reaches a prompt. A scorer's words may quote the candidate, so they are data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from archive.records import CaseScore, Evaluation
from archive.tree import Tree
from operators.rewrite.prompt.truncation import Listing
from operators.sanitize import clean, one_line
from prepare.task import Task

_CASES = 12
"""Cases that are shown, the worst first."""
_METRICS = 12
_FEEDBACK = 800
"""Characters of the feedback on one case; its beginning and its end are kept."""


def screenings(tree: Tree, node_id: str) -> Iterator[Evaluation]:
    """Yield the evaluations that prompts may show: those that steer the search, under its conditions."""
    return (e for e in tree.evaluations[node_id] if e.request.purpose == "screen" and e.conditions == tree.conditions)


def metrics(values: Mapping[str, float], task: Task) -> str:
    """Return metrics in one line, those that the task shows; empty without any."""
    shown = task.prompt_info.metrics
    return _metrics({name: values[name] for name in (sorted(values) if shown is None else shown) if name in values})


def _metrics(values: Mapping[str, float]) -> str:
    listed = [f"{one_line(name, 40)} {_number(value)}" for name, value in values.items()]
    more = [f"{len(listed) - _METRICS} more"] if len(listed) > _METRICS else []
    return ", ".join([*listed[:_METRICS], *more])


def _number(value: float) -> str:
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e12
    return f"{value:,.0f}" if whole else f"{value:.5g}"


def by_case(tree: Tree, node_id: str) -> Listing:
    """Return the last evaluation's scores by case with what the scorer said of them, the worst case first."""
    last = next((e for e in reversed(list(screenings(tree, node_id))) if e.cases), None)
    if last is None:
        return Listing((), "feedback", "")
    sign = 1 if tree.direction == "maximise" else -1
    ordered = sorted(last.cases, key=lambda case: (sign * case.value, case.case))
    told = [case for case in ordered if case.feedback.strip() or case.metrics]
    if len(ordered) == 1 and not told:  # its value is the score
        return Listing((), "feedback", "")
    lines = [_case(case) for case in ordered[:_CASES]]
    rest = len(ordered) - len(lines)
    best = f", {rest} better cases not shown" if rest else ""
    counted = endings(last.cases)
    ended = f"{counted} " if counted else ""
    lead = f"{ended}What the scorer said of the cases it was judged on, the worst first{best}:"
    return Listing(tuple(lines), "feedback", "", keep="head", lead=lead)


def endings(cases: Sequence[CaseScore]) -> str:
    """Return in a sentence how the items of an agent ended, errors apart from wrong answers; empty without items."""
    codes = [case.ending for case in cases if case.ending is not None]
    if not codes:
        return ""
    errors = Counter(code for code in codes if code not in ("right", "wrong"))
    named = ", ".join(f"{count} {code}" for code, count in sorted(errors.items()))
    wrong = f"{codes.count('right')} of {len(codes)} items ended right, {codes.count('wrong')} wrong"
    return f"{wrong}, {sum(errors.values())} in an error{f' ({named})' if named else ''}."


def _case(case: CaseScore) -> str:
    """Return a case in one line, with the scorer's words in indented lines below it."""
    measured = f"; {shown}" if (shown := _metrics(dict(sorted(case.metrics.items())))) else ""
    words = clean(case.feedback).strip()
    if len(words) > _FEEDBACK:
        cut = len(words) - _FEEDBACK
        words = f"{words[: _FEEDBACK // 2]}\n[{cut} characters left out]\n{words[-_FEEDBACK // 2 :]}"
    below = (f"    {line}" for line in words.splitlines())
    ended = f" {case.ending}" if case.ending is not None else ""
    return "\n".join([f"- {one_line(case.case, 80)}: {_number(case.value)}{ended}{measured}", *below])
