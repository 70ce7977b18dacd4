"""The tree: its figures, and that the archive gives it back exactly as the search left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_sample import ELSEWHERE, HERE, Diary, a_curve, a_family, a_run, failed, request_for, scored
from example_counts import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from archive.records import Propose, Replicate
from archive.storage.store import Archive
from archive.tree import Tree


def picture(tree: Tree) -> dict[str, Any]:
    """Everything that a policy or an operator can see, texts and curves included."""
    return {
        "nodes": [(n, dict(n.candidate.files)) for n in tree.nodes],
        "evaluations": {key: [(e, tuple(e.curve)) for e in found] for key, found in tree.evaluations.items()},
        "moves": tree.moves,
        "open": tree.open_moves,
        "row": tree.refused_in_a_row,
        "edges": [(a, list(tree.graph.successors(a)), list(tree.graph.predecessors(a))) for a in tree.graph],
        "means": [repr(x) for x in tree.means],
        "arrays": [list(tree.runs), list(tree.visits), list(tree.places), list(tree.failed())],
        "ranks": [repr(x) for x in tree.ranks()],
        "evaluated": tree.evaluated,
        "leader": tree.leader(),
        "waiting": [tree.waiting(n.node_id) for n in tree.nodes],
    }


class _Walk:
    """A random search: what is drawn decides what happens next, in any order that the loop could bring about."""

    def __init__(self, diary: Diary, data: st.DataObject) -> None:
        self.diary, self.data = diary, data
        self.proposals: list[Any] = []
        self.trainings: list[Any] = []

    def step(self) -> None:
        kinds = [
            "propose",
            "replicate",
            *(["land"] * 2 if self.trainings else []),
            *(["answer"] if self.proposals else []),
        ]
        getattr(self, self.data.draw(st.sampled_from(kinds)))()

    def propose(self) -> None:
        nodes = self.diary.tree.nodes
        parents = self.data.draw(
            st.lists(st.sampled_from(nodes), min_size=1, max_size=min(2, len(nodes)), unique_by=id)
        )
        move = Propose("tune", tuple(parent.node_id for parent in parents))
        self.proposals.append(self.diary.choose(move))

    def replicate(self) -> None:
        node = self.data.draw(st.sampled_from(self.diary.tree.nodes))
        purpose = self.data.draw(st.sampled_from(["screen", "screen", "confirm", "report"]))
        record = self.diary.choose(Replicate(node.node_id, purpose, "why not"))
        self.trainings.append(request_for(node, record.seed, purpose, record.number))

    def answer(self) -> None:
        record = self.proposals.pop(self.data.draw(st.integers(0, len(self.proposals) - 1)))
        if self.data.draw(st.booleans()):
            self.diary.refuse(record)
        else:
            node = self.diary.add(record, self.data.draw(st.sampled_from(["A = 1\n", "A = 2\n", "A = 3\n"])))
            self.trainings.append(request_for(node, record.seed))

    def land(self) -> None:
        request = self.trainings.pop(self.data.draw(st.integers(0, len(self.trainings) - 1)))
        outcome = self.data.draw(st.sampled_from(["scored", "scored", "scored", "crashed", "lost"]))
        conditions = self.data.draw(st.sampled_from([HERE, HERE, ELSEWHERE]))
        curve = a_curve(self.data.draw(st.integers(0, 3)))
        if outcome == "scored":
            score = self.data.draw(st.floats(2, 4, allow_nan=False))
            self.diary.record(scored(request, score, conditions=conditions, curve=curve, log="noise"))
            return
        self.diary.record(failed(request, outcome, conditions=conditions, curve=curve))
        if outcome == "lost":
            self.trainings.append(request)


@pytest.mark.slow
@settings(max_examples=examples(8), derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_archive_gives_back_the_tree_of_the_search(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("walk") / "a.duckdb"
    with Archive.open(path, clock=lambda: 0.0) as archive:  # a clock that stands still: order must not hang on it
        diary = Diary(archive)
        other = Diary(archive, a_run("other"))
        walk = _Walk(diary, data)
        walk.trainings.append(request_for(diary.child(operator="seed"), 1))
        other.screened(other.child(operator="seed"), 1.0)
        for _ in range(data.draw(st.integers(0, 20))):
            walk.step()
        before = picture(diary.tree)
        assert picture(archive.tree(diary.run, HERE)) == before
    with Archive.open(path) as archive:
        assert picture(archive.tree(diary.run, HERE)) == before


def test_a_refusal_after_a_child_counts_and_one_before_it_does_not(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb", clock=lambda: 0.0) as archive:
        diary = Diary(archive)
        root = diary.child(operator="seed")
        first, second = (diary.choose(Propose("tune", (root.node_id,))) for _ in range(2))
        diary.refuse(first)
        diary.add(second, "B = 1\n")
        for expected in (1, 2):
            diary.refuse(diary.choose(Propose("tune", (root.node_id,))))
            assert archive.tree(diary.run, HERE).refused_in_a_row == expected == diary.tree.refused_in_a_row


def test_a_search_goes_on_after_a_resume_as_it_would_have(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, (root, *_, best) = a_family(archive)
    with Archive.open(tmp_path / "a.duckdb") as archive:
        again = archive.tree(diary.run, HERE)
        for tree in (again, diary.tree):
            tree.record(scored(request_for(root, 99), 2.5))
        assert picture(again) == picture(diary.tree)
        with pytest.raises(ValueError, match="evaluated with seed 99"):
            again.record(scored(request_for(root, 99), 2.5))
        assert again.leader() == best.node_id


def test_scores_of_other_conditions_stay_out_of_the_tree_but_in_the_archive(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive)
        root = diary.screened(diary.child(operator="seed"), 3.0, conditions=ELSEWHERE)
        assert np.isnan(archive.tree(diary.run, HERE).means[0])
        assert archive.tree(diary.run, ELSEWHERE).means[0] == 3.0
        assert len(archive.tree(diary.run, HERE).evaluations[root.node_id]) == 1


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_ranks_are_those_of_scipy_after_every_landing(tmp_path: Path, direction: Any) -> None:
    rng = np.random.default_rng(3)
    tree = Tree("night", direction, HERE)
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, _ = a_family(archive, direction)
        tree = diary.tree
        for _ in range(15):
            diary.screened(diary.child(tree.nodes[0]), float(rng.integers(2, 6)))
            valid = tree.eligible()
            signed = -tree.means[valid] if direction == "minimise" else tree.means[valid]
            expected = (rankdata(signed) - 1) / (valid.sum() - 1)
            np.testing.assert_allclose(tree.ranks()[valid], expected)
            assert tree.ranks()[tree.index[str(tree.leader())]] == pytest.approx(expected.max())


def test_kinship(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary, (root, good, bad, broken, best) = a_family(archive)
    tree, ids = diary.tree, [n.node_id for n in (root, good, bad, broken, best)]
    assert tree.lineage(best.node_id) == (ids[0], ids[1], ids[2], ids[4])
    assert tree.common_ancestor(broken.node_id, best.node_id) == good.node_id
    assert tree.common_ancestor(good.node_id, bad.node_id) == root.node_id
    assert set(tree.children(good.node_id)) == {broken.node_id, best.node_id}
    assert list(tree.visits) == [2, 3, 1, 0, 0]  # children and the refused proposal
    assert list(tree.failed()) == [False, False, False, True, False]
    assert tree.leader() == best.node_id
