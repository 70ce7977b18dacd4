"""``search transfer``: agents of an archive on other domains and models. Sandboxes are launched, as the subject."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archive.bootstrap import Bootstrapped
from operators.seed_agents import SeedAgents
from search.api import Search
from search.cli.transfer import SEED, Cell, facts, table, transfer


def test_the_table_corrects_over_all_comparisons() -> None:
    share = Bootstrapped(0.5, 0.4, 0.6, 100)
    cells = [
        Cell(SEED, "a", share, tokens_per_right=100.0),
        Cell("one", "a", share, gain=0.1, p_value=0.02),
        Cell("two", "a", share, gain=0.2, p_value=0.03),
        Cell("three", "a", None, "invalid"),
    ]
    lines = table(cells).splitlines()
    assert [line.split()[-2:] for line in lines[1:5]] == [["-", "100"], ["0.0400", "-"], ["0.0400", "-"], ["-", "-"]]
    assert "2 comparisons" in lines[-1]
    assert "invalid" in lines[4]
    assert [cell["adjusted_p_value"] for cell in facts(cells)] == [None, 0.04, 0.04, None]
    assert facts(cells)[0]["share"] == {"mean": 0.5, "low": 0.4, "high": 0.6, "items": 100}


@pytest.mark.slow
def test_an_agent_is_judged_on_other_domains_and_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.duckdb"
    with Search(
        "arithmetic", operators=[SeedAgents()], archive=path, run="r", budget=12, claim=False, overrides=["llm=none"]
    ) as search:
        while (request := search.ask()) is not None:
            search.tell(search.evaluate(request))
        names = {node.candidate.idea.partition(":")[0]: node.node_id for node in search.tree.nodes}
    chosen = [names["Self-consistency"], names["Step-back abstraction"]]
    words = [*chosen, "--to", "arithmetic", "extraction", "--models", "answer", "careless", "--runs", "1"]
    assert transfer([*words, f"archive={path}", "llm=none", "executor.slots=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {tuple(line.split()[:2]): re.findall(r"[+-]?\d\.\d+", line) for line in lines[1:13]}
    assert len(found) == 12
    vote, back = (node[:8] for node in chosen)
    share = {key: float(values[0]) for key, values in found.items()}
    assert share[vote, "arithmetic/answer"] > share[back, "arithmetic/answer"]
    assert share[back, "extraction/answer"] > share[vote, "extraction/answer"]
    assert share[SEED, "arithmetic/careless"] < share[SEED, "arithmetic/answer"] - 0.1
    assert float(found[vote, "arithmetic/answer"][-1]) < 0.01


@pytest.mark.slow
def test_a_missing_archive_and_a_task_without_a_model_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer(["abc", "--to", "arithmetic", f"archive={tmp_path / 'none.duckdb'}"]) == 1
    assert "none.duckdb" in capsys.readouterr().err
    path = tmp_path / "a.duckdb"
    with Search("arithmetic", operators="numeric", archive=path, run="r", budget=1, claim=False) as search:
        search.tell(search.evaluate(search.ask()))
        root = search.tree.root
    assert transfer([root, "--to", "circles26", f"archive={path}"]) == 1
    assert "its candidates ask no language model" in capsys.readouterr().err
