"""Pages hold together: links lead somewhere, code parses and runs, the README stays short."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pages import HOUSE, PAGES, Block, anchors, blocks, links

from prepare.load import task_from
from prepare.program import folder_settings
from search.settings import config_for
from search.study.plan import read_plan

PYTHON = [block for page in PAGES for block in blocks(page, "python")]
YAML = [block for page in PAGES for block in blocks(page, "yaml")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target) if target else page
        assert file.exists(), link
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), link


def test_the_readme_is_short() -> None:
    assert len((HOUSE / "README.md").read_text().splitlines()) <= 200


def name_of(block: Block) -> str:
    return f"{block.page.name}-{block.text.splitlines()[0][:30]}"


@pytest.mark.parametrize("block", PYTHON, ids=name_of)
def test_python_on_a_page_runs_where_it_is_cheap(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Function tasks run to their end; what trains is compiled: tests/docs/test_examples.py runs such a script."""
    code = compile(block.text, str(block.page), "exec")
    if "OwnTask" in block.text:
        exec(code, {})
        assert "evaluations" in (out := capsys.readouterr().out) or "trainings" in out


@pytest.mark.parametrize("block", YAML, ids=name_of)
def test_yaml_on_a_page_composes(block: Block, tmp_path: Path) -> None:
    if "workspace:" in block.text:
        (tmp_path / "task.yaml").write_text(block.text)
        assert task_from(folder_settings(tmp_path)).name == "packing"
        return
    if "hypothesis:" in block.text:
        (tmp_path / "plan.yaml").write_text(block.text)
        assert read_plan(tmp_path / "plan.yaml") == read_plan(HOUSE / "docs" / "studies" / "circles.yaml")
        return
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "notes.yaml").write_text(block.text)
    assert isinstance(yaml.safe_load(block.text), dict)
    task = task_from(config_for(["task=notes"], "cpu", tmp_path).task)
    assert (task.name, task.seconds) == ("notes", 30)
