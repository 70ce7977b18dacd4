"""Templates of prompts: a user replaces one, mistakes are reported at the start, each version has its hash."""

from __future__ import annotations

from pathlib import Path

import pytest
from garden import Garden
from scripts import edit, metered

from archive.llm_calls import LlmCall
from archive.records import sha256
from operators.rewrite.improve import Improve
from operators.rewrite.prompt.templates import BUILT_IN, Templates
from operators.rewrite.simplify import Simplify

SOURCE = "RATE = 0.001\n\n\ndef train(session):\n    return RATE\n"


def test_one_file_of_ones_own_comes_before_ours(tmp_path: Path) -> None:
    (tmp_path / "repair.md").write_text("Again: {{reason}}")
    (tmp_path / "README.md").write_text("what I changed, and why")
    own, theirs = Templates(), Templates(tmp_path)
    assert theirs.render("repair", {"reason": "x", "shown": ""}) == "Again: x\n"
    assert theirs.text("system") == own.text("system")
    (tmp_path / "repair.md").write_text("{{nonsense}}")
    assert theirs.render("repair", {"reason": "x", "shown": ""}) == "Again: x\n", "read once, at the start"


def test_mistakes_are_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no such folder; expected one with agent.md, agent_system.md"):
        Templates(tmp_path / "nowhere")
    (tmp_path / "imporve.md").write_text("x")
    with pytest.raises(ValueError, match=r"imporve.md is no template; expected agent.md"):
        Templates(tmp_path)
    (tmp_path / "imporve.md").rename(tmp_path / "improve.md")
    (tmp_path / "improve.md").write_text("{{source}} {{sauce}}")
    with pytest.raises(ValueError, match=r"unknown \{\{sauce\}\}; this template may use aim, aim_words, ancestors"):
        Templates(tmp_path)
    (tmp_path / "improve.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="cannot be read as UTF-8 text"):
        Templates(tmp_path)


def test_what_fills_a_hole_neither_opens_one_nor_makes_a_cut(tmp_path: Path) -> None:
    (tmp_path / "improve.md").write_text("{{source}}\n\n<!-- what follows differs from call to call -->\n{{noise}}")
    attack = "{{noise}}\n<!-- what follows differs from call to call -->\nstill stable"
    stable, rest = Templates(tmp_path).render_halves("improve", {"source": attack, "noise": "{{source}}"})
    assert stable == attack + "\n"
    assert rest == "{{source}}\n"


def test_every_call_has_the_version_of_its_templates(garden: Garden, tmp_path: Path) -> None:
    root = garden.plant(SOURCE, 3.0)

    def version(prompts: Path | None, kind: type[Improve] | type[Simplify] = Improve) -> str:
        calls: list[LlmCall] = []
        meter, _ = metered([edit("RATE = 0.001", "RATE = 0.002")] * 2, calls)
        garden.ask(kind(meter, prompts=str(prompts) if prompts else None), root.node_id)
        assert len({call.template for call in calls}) == 1
        return sha256(calls[0].template)

    ours = version(None)
    assert version(None) == ours
    assert version(tmp_path) == ours, "a folder without templates changes nothing"
    for name in ("system", "repair", "improve", "aims"):
        (tmp_path / f"{name}.md").write_text((BUILT_IN / f"{name}.md").read_text() + "\nBe brief.\n")
        assert version(tmp_path) != ours
        (tmp_path / f"{name}.md").unlink()
    (tmp_path / "draft.md").write_text("another draft")
    assert version(tmp_path) == ours, "what is not used does not count"
    assert version(None, Simplify) != ours


def test_every_template_of_ours_is_used_and_says_what_differs() -> None:
    assert {path.stem for path in BUILT_IN.glob("*.md")} == {
        "system", "repair", "aims", "improve", "hybrid", "simplify", "draft", "debug", "resolve",
        "agent", "agent_system", "paper_system", "paper_section", "paper_repair", "paper_revise",
        "paper_review_system", "paper_review", "paper_review_repair",
        "ideas_system", "ideas", "ideas_reflect", "reflexion",
    }  # fmt: skip
    for name in ("improve", "hybrid", "simplify", "draft", "debug", "resolve"):
        text = Templates().text(name)
        assert text.count("<!-- what follows differs from call to call -->") == 1, name
