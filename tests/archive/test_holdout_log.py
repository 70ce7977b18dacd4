"""The log of the holdout: each claim that opens it for an agent is an event, with the number of earlier looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archive_sample import Diary, a_run

from archive.records import Purpose, Replicate
from archive.storage.store import Archive
from prepare.model_limits import LlmService
from prepare.program import ProgramTask, Workspace
from prepare.task import Metric
from search.run.journal import RunJournal

AGENTS = ProgramTask(
    "t", "/t", Metric("right", "maximise"), Workspace(["a.py"]), 1.0, scorer="score.py", llm=LlmService()
)


def test_a_second_look_at_the_holdout_is_logged_with_the_number_of_looks(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive, a_run(direction="maximise"))
        root = diary.screened(diary.child(operator="seed"), 0.5)
        policy: Any = None
        journal = RunJournal(archive, diary.run, diary.tree, policy, lambda: 0.0)

        def claimed(node_id: str, purpose: Purpose = "report") -> None:
            move = Replicate(node_id, purpose)
            journal.record_holdout(move, AGENTS)
            diary.choose(move)

        for claim in range(2):
            agent = diary.screened(diary.child(root), 0.7 + claim / 10)
            claimed(agent.node_id, "confirm")
            claimed(root.node_id)
            for _ in range(2):
                claimed(agent.node_id)
        rows = archive.query(
            "SELECT code, node_id, detail->'looks' FROM events WHERE kind = 'holdout' ORDER BY arrival"
        )
        first, second = (node.node_id for node in diary.tree.nodes[1:])
        assert rows == [("opened", first, "1"), ("opened_again", second, "2")]
