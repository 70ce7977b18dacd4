"""The sections of a paper in plain sentences that hold for any study: what is written without a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from archive.paper.floats import ABLATED, FIGURES
from archive.paper.markup import escape
from archive.paper.numbers import Study

TITLES: Mapping[str, str] = {
    "abstract": "Abstract",
    "introduction": "Introduction",
    "background": "Background",
    "method": "Method",
    "setup": "Experimental set-up",
    "results": "Results",
    "ablations": "Ablations",
    "limitations": "Limitations",
    "related": "Related work",
}
"""Sections in their order -> their headings."""


@dataclass(frozen=True)
class StudyFacts:
    """What decides between sentences."""

    study: Study
    exact: bool
    same_data: bool
    """Whether the claims repeat the screenings, since the task has no other data."""
    ablated: bool

    @property
    def plan(self) -> Mapping[str, Any]:
        return self.study.registered.plan

    @classmethod
    def of(cls, study: Study) -> StudyFacts:
        plan = study.registered.plan
        codes = study.reader.query(
            "SELECT count(*) FROM decisions JOIN study_runs USING (run) WHERE study = ? AND code = 'verified'",
            [study.name],
        ).rows
        exact = bool(plan["identity"]["task"].get("deterministic"))
        ablated = bool(study.reader.query(ABLATED, [study.name]).rows)
        return cls(study, exact, exact and codes[0][0] > 0, ablated)


def sections(study: Study) -> dict[str, str]:
    """Return name -> text of all sections, in order."""
    facts = StudyFacts.of(study)
    return {name: write(facts) + "\n" for name, write in _WRITERS.items()}


def _metric(facts: StudyFacts) -> str:
    return rf"\texttt{{{escape(facts.plan['metric'])}}}"


def _better(facts: StudyFacts) -> str:
    return "larger" if facts.plan["direction"] == "maximise" else "smaller"


_INTERVAL = r"\tw{gain} (\tw{plan.percent}\% interval \tw{gain.low} to \tw{gain.high} over the seeds of the search)"


def _abstract(facts: StudyFacts) -> str:
    return rf"""We test a hypothesis that was registered before the first run:
\emph{{{escape(facts.plan["hypothesis"])}}}
The plan names \tw{{runs}} runs of a program search on the task \texttt{{{escape(facts.plan["task"])}}}, scored by
{_metric(facts)}
({_better(facts)} is better), with at most \tw{{plan.evaluations}} evaluations in all. \tw{{evaluations}}
evaluations were made,
of which \tw{{evaluations.failed}} failed. The mean gain over the baseline is {_INTERVAL}, so the hypothesis is
\tw{{verdict}}. Every number in this paper is the answer of a query on
the archive of the runs, and every registered run is reported."""


def _introduction(facts: StudyFacts) -> str:
    return rf"""Reports of automated search are easily too optimistic. The best of many noisy scores overstates what
was found, results
depend on the seed of the search~\cite{{henderson2018deep}}, and runs that failed tend to be left out. Systems that
write papers
on their own experiments~\cite{{lu2024aiscientist}} add a further risk: a number in the text need not be one that
was measured.

This study avoids these by its procedure. The hypothesis, the metric, the runs, their seeds and budgets, the
stopping rule and the
analysis were registered as one text (its SHA-256 begins with \tw{{plan.digest}}) before the first evaluation. The
hypothesis is:
\emph{{{escape(facts.plan["hypothesis"])}}}

The question is answered with \tw{{runs}} independent searches, and the answer is the interval of their mean gain,
not the
best of them."""


def _background(facts: StudyFacts) -> str:
    return r"""A search grows a tree of program variants. A policy chooses the next parent, here by an upper confidence
bound~\cite{auer2002finite} or what Table~\ref{tab:settings} says in its place, and an operator makes a child of it.
The operator
\texttt{tune} proposes values of the declared constants by expected improvement under a Gaussian
process~\cite{jones1998efficient}, which needs fewer evaluations than random search~\cite{bergstra2012random}. Each
child is evaluated once in a
sandbox; the score is computed where the program cannot reach."""


def _method(facts: StudyFacts) -> str:
    baseline = ", ".join(rf"\texttt{{{escape(path)}}}" for path in facts.plan["baseline"])
    repeats = "once, since the task is deterministic" if facts.exact else "once for each registered seed"
    return rf"""The baseline is the program that comes with the task ({baseline}). Each run has four stages with
budgets of their own.
In the stage \emph{{baseline}} the program is evaluated {repeats}. In \emph{{tuning}} (at most
\tw{{plan.stage@tuning}} evaluations)
only its constants change. In \emph{{research}} (at most \tw{{plan.stage@research}}) all operators of
Table~\ref{{tab:settings}} may act. In
\emph{{ablation}} (at most \tw{{plan.stage@ablation}}) the changes of the best program so far are taken back to the
baseline,
one at a time. A stage begins when all evaluations before it have ended.

At the end of each run its best program is compared with the baseline in a claim: {_claim(facts)}

The gain of a run is the difference of the two in the claim, positive where the final program is better; a run whose
search found
nothing better has a gain of zero. The hypothesis counts as supported if Student's
interval~\cite{{student1908probable}} of the mean gain
over the runs, at \tw{{plan.percent}}\%, lies above zero{_least(facts)}."""


def _claim(facts: StudyFacts) -> str:
    if facts.same_data:
        return (
            "both are evaluated again, and both scores have to come out exactly as before. "
            "The task is one fixed instance, so there are no other data to test on."
        )
    if facts.exact:
        return "both are evaluated on cases that the search has not seen, and compared case by case."
    return "both are evaluated on fresh seeds and on data that the search has not seen."


def _least(facts: StudyFacts) -> str:
    return "" if facts.plan["smallest_gain"] is None else r" and the mean is at least \tw{plan.smallest}"


def _setup(facts: StudyFacts) -> str:
    return r"""Table~\ref{tab:settings} has the registered settings. One evaluation of a program may take
\tw{plan.seconds} seconds. The evaluations, the moves that led to them and the programs are rows of one DuckDB
file~\cite{raasveldt2019duckdb}, from which this paper was made.

\twtable{settings}"""


def _results(facts: StudyFacts) -> str:
    verdict = (
        r"The interval lies above zero: the hypothesis is \tw{verdict}."
        if facts.study.supported
        else r"The hypothesis is \tw{verdict}: the interval holds zero, or the mean is below the plan's smallest gain."
    )
    return rf"""The baseline scores \tw{{baseline}}. Over the runs, the best screening is \tw{{best.mean@tuning}} on
average at the end of
tuning and \tw{{best.mean@research}} at the end of research (Figures~\ref{{fig:progress}} and~\ref{{fig:stages}}).
These are
the best of many scores and serve to steer the search; the claims in Table~\ref{{tab:runs}} are what is reported.

In the claims the mean gain is {_INTERVAL}. {verdict} In \tw{{runs.champion}} of \tw{{runs.made}} runs the final
program passed
its own claim.

\twfigure{{progress}}

\twfigure{{stages}}

\twtable{{runs}}{_with_optional(facts)}"""


_OPTIONAL: Mapping[str, str] = {
    "curves": "has the training curves of the claims.",
    "scaling": "shows the scores of programs of different sizes. Sizes were chosen by the search, so that it shows no "
    "effect of the size alone.",
}
"""Figures that not every study has rows for -> what the text says of them."""


def _with_optional(facts: StudyFacts) -> str:
    there = [name for name in _OPTIONAL if FIGURES[name].rows(facts.study)]
    return "".join(f"\n\nFigure~\\ref{{fig:{name}}} {_OPTIONAL[name]}\n\n\\twfigure{{{name}}}" for name in there)


def _ablations(facts: StudyFacts) -> str:
    if not facts.ablated:
        return "No run found a program that is better than the baseline, so there was nothing to ablate."
    return rf"""For the best program of each run before this stage, Figure~\ref{{fig:ablation}} shows the loss of
{_metric(facts)} when
one of its changes is taken back (the numbers are in Table~\ref{{tab:ablation}}). A loss below zero means that the
program is better without the change.
Changes that act only together hide each other, so the losses do not add up to the gain.

\twfigure{{ablation}}

\twtable{{ablation}}"""


def _limitations(facts: StudyFacts) -> str:
    one = " The task is one instance: a gain on it says nothing of other instances." if facts.same_data else ""
    return rf"""Deviations from the plan, as the archive shows them: \tw{{deviations}}. The interval describes the
spread over \tw{{runs.made}} seeds of the search on one task; it says nothing of
other tasks, budgets or machines.{one} The budget is small, and a longer search may end elsewhere. The text was
written by a program from
the rows of the study: it states what was measured, and offers no explanation of it."""


def _related(facts: StudyFacts) -> str:
    return r"""FunSearch~\cite{romera2024mathematical} searches programs with a language model and a scorer that can be
trusted. The AI Scientist~\cite{lu2024aiscientist} writes papers on experiments of its own. This study differs in that
its plan was registered, its numbers are bound to queries, and its runs are reported without a selection."""


_WRITERS: Mapping[str, Callable[[StudyFacts], str]] = {
    "abstract": _abstract, "introduction": _introduction, "background": _background, "method": _method, "setup": _setup,
    "results": _results, "ablations": _ablations, "limitations": _limitations, "related": _related,
}  # fmt: skip
