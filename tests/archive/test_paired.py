"""Comparisons paired by case: the statistics, and what `compare`, `ablate`, `explain` and the report make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_sample import HERE, Diary, a_run, an_ablation, request_for, scored
from growing import Growth
from scipy import stats

from archive.cli.compare import by_key
from archive.difference import Difference, Measurement, compare, paired_sampling, welch
from archive.interval import NoInterval
from archive.query.ablations import ablations
from archive.query.query import open_reader
from archive.records import CaseScore, Node, Propose
from archive.report.facts import gather
from archive.storage.store import Archive
from operators.recombine.ablate import Removal
from search.cli.ablate import AblatedNode, report
from search.cli.explain import by_case
from search.function_task import OwnTask

BEFORE, AFTER = [9.0, 1.0, 5.0, 3.0], [8.7, 0.8, 4.6, 2.9]
"""Scores by case: far apart, with small differences."""


def judged(*values: float) -> Measurement:
    return Measurement(float(np.mean(values)), {f"c{i}": value for i, value in enumerate(values)})


def test_one_seed_a_side_has_the_paired_interval_over_the_cases() -> None:
    found = compare([judged(*BEFORE)], [judged(*AFTER)], "minimise")
    assert isinstance(found, Difference)
    expected = stats.ttest_rel(BEFORE, AFTER).confidence_interval()
    assert (found.gain, found.low, found.high) == pytest.approx((0.25, expected.low, expected.high))
    assert (found.cases, found.significant) == (4, True)
    assert "one seed on a side" in found.note


def test_several_seeds_have_both_parts_of_the_error() -> None:
    before, after = ([judged(*(v + shift for v in side)) for shift in (0.0, 0.1)] for side in (BEFORE, AFTER))
    found = compare(before, after, "minimise")
    cases = [[np.array(list(each.cases.values())) for each in side] for side in (before, after)]
    expected = welch(
        [each.score for each in before], [each.score for each in after], "minimise",
        sampling=paired_sampling(cases[0], cases[1], "cases"),
    )  # fmt: skip
    assert found == expected
    assert isinstance(found, Difference)
    assert found.cases == 4


def test_a_deterministic_difference_is_exact_and_only_common_cases_are_paired() -> None:
    more = Measurement(100.0, {**judged(*AFTER).cases, "only here": 400.0})
    found = compare([judged(*BEFORE)], [more], "maximise", deterministic=True)
    assert isinstance(found, Difference)
    assert (found.gain, found.low, found.high, found.cases) == pytest.approx((-0.25, -0.25, -0.25, 4))
    alone = compare([Measurement(1.0)], [Measurement(3.0)], "maximise", deterministic=True)
    assert isinstance(alone, Difference)
    assert (alone.gain, alone.low, alone.cases) == (2.0, 2.0, 0)
    assert isinstance(compare([Measurement(1.0)], [Measurement(3.0)], "maximise"), NoInterval)


# ---------------------------------------------------------------- the commands


def growth(deterministic: bool) -> Growth:
    """A root and a child on four cases, one evaluation each."""
    grown = Growth()
    grown.tree.deterministic = deterministic
    for operator, values in (("seed", BEFORE), ("tune", AFTER)):
        record = grown.choose(Propose(operator, () if operator == "seed" else (grown.tree.root,)))
        grown.add(record)
        grown.land(record, judged(*values).score, cases=judged(*values).cases)
    return grown


def test_explain_says_the_gain_by_case() -> None:
    tree = growth(deterministic=False).tree
    first, second = by_case(tree, tree.nodes[1].node_id)
    assert "+0.25 (4 cases, paired; 95% interval +0.0" in first
    assert second.strip() == "better on 4 of 4 cases, worse on 0; least c3 +0.1, most c2 +0.4"
    tree = growth(deterministic=True).tree
    assert "(4 cases, paired; exact on these cases)" in by_case(tree, tree.nodes[1].node_id)[0]


def an_archive(path: Path) -> list[Node]:
    """Runs of two policies, the second with a worse leader; an ablation of the first's leader."""
    shifts = {"a": (0.0, "ucb"), "b": (0.01, "ucb"), "c": (0.05, "random"), "d": (0.08, "random")}
    nodes = []
    with Archive.open(path) as archive:
        for name, (shift, policy) in shifts.items():
            diary = Diary(archive, replace(a_run(name), policy=policy))
            root = diary.child(operator="seed")
            node = diary.child(root)
            for each, values in ((root, BEFORE), (node, [value + shift * (1 + i) for i, value in enumerate(AFTER)])):
                by_name = judged(*values)
                cases = tuple(CaseScore(name, value) for name, value in by_name.cases.items())
                diary.record(scored(request_for(each, 0), by_name.score, cases=cases))
            nodes += [root, node]
        subject = nodes[1]
        ablated = an_ablation(archive, subject, [], **{f"_{subject.node_id}": []})
        for node, values in zip(ablated.tree.nodes, (AFTER, BEFORE), strict=True):
            cases = tuple(CaseScore(name, value) for name, value in judged(*values).cases.items())
            ablated.record(scored(request_for(node, 0), judged(*values).score, cases=cases))
    return nodes


@pytest.mark.slow
def test_compare_and_the_report_pair_by_case(tmp_path: Path) -> None:
    nodes = an_archive(tmp_path / "a.duckdb")
    reader = open_reader(tmp_path / "a.duckdb")
    result = by_key(reader, None, ["a", "b", "c", "d"])
    assert result.columns[-4:] == ("behind", "behind_low", "behind_high", "cases")
    best, other = result.rows
    assert (best[0], best[-4:]) == ("ucb", (None, None, None, None))
    assert other[0] == "random"
    assert (other[-4], other[-1]) == (pytest.approx(0.06 * 2.5), 4)
    assert other[-3] < other[-4] < other[-2]
    single = by_key(reader, "run", ["a", "c"]).rows[1]
    expected = stats.ttest_rel([0.05, 0.1, 0.15, 0.2], np.zeros(4)).confidence_interval()
    assert single[-4:-1] == pytest.approx((0.125, expected.low, expected.high))

    (ablation,) = ablations(reader, "a")
    interval = stats.ttest_rel(BEFORE, AFTER).confidence_interval()
    (step,) = ablation["steps"]
    assert (step["worth"], step["low"], step["high"]) == pytest.approx((0.25, interval.low, interval.high))
    assert (step["cases"], step["verdict"]) == (4, "carries gain")

    cases = gather(reader, "a")["cases"]
    assert (cases["count"], cases["better"], cases["worse"]) == (4, 4, 0)
    assert cases["rows"][0] == {"case": "c3", "seed_program": 3.0, "best": 2.9, "gain": pytest.approx(0.1)}
    with Archive.open(tmp_path / "a.duckdb") as archive:
        run = archive.run(f"ablation-{nodes[1].node_id[:8]}")
        assert run is not None
        tree = archive.tree(run, HERE)
        removal = Removal(nodes[1].node_id, "wider", {})
        task = OwnTask(lambda request: 0.0, "", direction="minimise").task
        subject = AblatedNode(run, nodes[1].node_id, {}, (removal,), ())
        said = report(subject, tree, task)
        assert "worse by 0.2500  (+0.0" in said
        assert "Paired by case: 4 cases of val.\nNote: one seed on a side" in said
        tree.deterministic = True
        exact = report(subject, tree, task)
        assert "worse by 0.25 " in exact
        assert exact.endswith("the differences are exact on these cases, and nothing was repeated.")


def test_old_and_new_names_of_a_class_are_one_setting(tmp_path: Path) -> None:
    new = "operators.numeric.tune.Tune"
    configs: dict[str, dict[str, Any]] = {
        "old": {"operators": {"tune": {"_target_": "operators.tune.Tune"}}},
        "new": {"operators": {"tune": {"_target_": new}}},
        "swept": {"sweep": {"id": "1", "values": {"operators.tune._target_": "operators.tune.Tune"}}},
    }
    with Archive.open(tmp_path / "a.duckdb") as archive:
        for name, config in configs.items():
            diary = Diary(archive, replace(a_run(name), config={"task": {"name": "toy"}, **config}))
            diary.screened(diary.child(operator="seed"), 3.0)
    found = by_key(open_reader(tmp_path / "a.duckdb"), "operators.tune._target_", list(configs))
    assert [row[:2] for row in found.rows] == [(new, 3)]
    assert "behind" not in found.columns, "no cases"
