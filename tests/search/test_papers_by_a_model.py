"""``search write``, ``review`` and ``revise`` from the command line; a local server takes the part of the model."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from inside import archive as ask
from inside import run
from launching import environment
from launching import run as launched
from model_server import Act, Hang, Say
from openai_api import OpenAiApi

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))
from study_sample import a_study

from archive.paper import build
from archive.query.query import open_reader

FORM: dict[str, Any] = {
    "summary": "A toy.", "strengths": ["It was registered."], "weaknesses": ["Why a toy is not said."], "questions": [],
    "limitations": [], "originality": 2, "quality": 3, "clarity": 3, "significance": 1, "soundness": 3,
    "presentation": 3, "contribution": 2, "overall": 5, "confidence": 4, "ethical_concerns": False,
    "decision": "accept", "flaws": [],
}  # fmt: skip

pytestmark = pytest.mark.slow


@contextmanager
def model(answer: Callable[[str, int], str]) -> Iterator[OpenAiApi]:
    """A service that answers the whole conversation, as text, and the number of its messages."""
    api = OpenAiApi(act=lambda number: Say(_answered(api.asked[number - 1])))

    def _answered(body: dict[str, Any]) -> str:
        text = "\n".join(_text(each["content"]) for each in body["messages"])
        return answer(text, len(body["messages"]))

    with api:
        yield api


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def section(text: str) -> str:
    """The section that a prompt shows."""
    found = re.search(r"in the section:\n\n(.*?)\n\nAnswer with", text, re.DOTALL)
    assert found is not None, text
    return found[1]


def written(text: str, turns: int) -> str:
    """An invented number in the results at first; all else as it is."""
    own = section(text)
    return own.replace("\\tw{baseline}", "0.93") if 'section "Results"' in text and turns == 2 else own


def words(api: OpenAiApi, *more: str) -> list[str]:
    return [sys.executable, "-m", "search", *more, "llm=local", f"llm.base_url={api.url}/v1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive and a paper that a model has written; pdfLaTeX, where it is, makes its PDF."""
    folder = tmp_path_factory.mktemp("papers")
    a_study(folder / "treewright.duckdb")
    with model(written) as api:
        done = run(words(api, "write", "small", "--out", "papers"), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": written") == 9
    assert len(api.asked) == 10, "the results went back once"
    repair = _text(api.asked[-1]["messages"][-1]["content"]) if "0.93" in str(api.asked[-1]) else ""
    sent = [_text(body["messages"][-1]["content"]) for body in api.asked if len(body["messages"]) > 2]
    assert repair in ("", *sent)
    assert "0.93 is neither bound to a query" in sent[0]
    assert "in the same small part of LaTeX" in sent[0], "the repair of a paper speaks of a section"
    assert "program" not in sent[0]
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; further papers have no PDF, which takes seconds."""
    monkeypatch.setattr(build, "LATEX", "no-such-latex")
    return Path(shutil.copytree(made, tmp_path / "here"))


def spent(folder: Path, step: str) -> int:
    sql = "SELECT count(*) FROM llm_calls WHERE operator = ?"
    return int(open_reader(folder / "treewright.duckdb").query(sql, [step]).rows[0][0])


def test_a_paper_of_a_model_passes_its_audit(made: Path) -> None:
    assert ask(made, "audit", "papers/small-1").returncode == 0
    assert spent(made, "write") == 10
    assert ask(made, "check").returncode == 0


def test_a_second_attempt_asks_again_and_leaves_the_first(folder: Path) -> None:
    before = (folder / "papers" / "small-1" / "paper.tex").read_bytes()
    with model(written) as api:
        done = run(words(api, "write", "small", "--out", "papers", "--repairs", "0", "--json"), folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folder"] == "papers/small-2"
    assert len(api.asked) == 9
    assert (folder / "papers" / "small-1" / "paper.tex").read_bytes() == before
    assert "0.93" not in (folder / "papers" / "small-2" / "paper.tex").read_text()


def test_reviews_are_in_the_ledger_and_paid_once(folder: Path) -> None:
    """``archive review`` starts the process that asks the model."""
    with model(lambda text, turns: json.dumps(FORM)) as api:
        typed = [sys.executable, "-m", "archive", "review", "papers/small-1", "--reviewers", "2", "--json"]
        model_words = ["llm=local", f"llm.base_url={api.url}/v1"]
        first, second = (launched([*typed, *model_words], folder) for _ in range(2))
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert [each["reviewer"] for each in found["reviews"]] == [1, 2]
    assert found["ratings"]["overall"] == {"median": 5.0, "lowest": 5, "highest": 5}
    assert (found["checks"]["decision"], found["decision"]) == ("undecided", "accept")
    assert json.loads(second.stdout) == found
    assert (len(api.asked), spent(folder, "review")) == (2, 2)


def test_a_fault_outweighs_the_reviewers(folder: Path) -> None:
    tex = folder / "papers" / "small-1" / "paper.tex"
    tex.write_text(tex.read_text().replace("\\twdef{gain}{$0.5500$}", "\\twdef{gain}{$0.9500$}"))
    with model(lambda text, turns: json.dumps(FORM)) as api:
        done = run(words(api, "review", "papers/small-1", "--reviewers", "1"), folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("Decision: reject\n")
    assert "Overall: 5 of 10 (5 to 5)" in done.stdout


def test_reviewers_are_calibrated(folder: Path) -> None:
    def answer(text: str, turns: int) -> str:
        return json.dumps({**FORM, "flaws": ["leaked_test"] if "data that the search has seen.\n" in text else []})

    with model(answer) as api:
        done = run(words(api, "review", "papers/small-1", "--reviewers", "2", "--calibrate"), folder)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^leaked test +2 of 2 +2 of 2$", done.stdout, re.MULTILINE)
    assert re.search(r"^false alarms +0 of 10 +0 of 2$", done.stdout, re.MULTILINE)
    assert spent(folder, "calibrate") == 10


def revising(text: str, turns: int) -> str:
    """Reviewers have one opinion; the writer breaks the results, drops a table, and says more in the introduction."""
    if "JSON object alone" in text:
        return json.dumps(FORM)
    own = section(text)
    if 'section "Results"' in text:
        return own.replace("\\tw{baseline}", "0.93")
    if 'section "Background"' in text:
        return own.replace("~\\cite{bergstra2012random}", "")
    return f"{own} A toy is small." if 'section "Introduction"' in text else own


def test_a_revision_is_accepted_where_no_check_regresses(folder: Path) -> None:
    with model(revising) as api:
        done = run(words(api, "revise", "papers/small-1", "--reviewers", "2", "--repairs", "0"), folder)
        asked = len(api.asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "  introduction: revised\n" in done.stdout
    assert "  results: refused: results line" in done.stdout
    assert "  background: refused: \\cite{bergstra2012random} was in the paper" in done.stdout
    before, after = folder / "papers" / "small-1", folder / "papers" / "small-2"
    assert ask(folder, "audit", "papers/small-2").returncode == 0
    for name in ("results", "background"):
        assert (after / "sections" / f"{name}.tex").read_text() == (before / "sections" / f"{name}.tex").read_text()
    added = [line for line in (after / "revision.diff").read_text().splitlines() if line.startswith("+")]
    assert added[0] == "+++ after/sections/introduction.tex"
    assert len(added) == 2
    facts = json.loads((after / "revision.json").read_text())
    assert facts["ratings"]["after"]["overall"] == {"median": 5.0, "lowest": 5, "highest": 5}
    steps = [spent(folder, step) for step in ("review_to_revise", "revise", "review_to_report")]
    assert steps == [2, 9, 4], "those that drive the revision are not those that report on it"
    assert sum(steps) == asked


def test_reviewers_that_report_may_be_another_model_whom_the_writer_never_sees(folder: Path) -> None:
    seen: list[str] = []

    def writer(text: str, turns: int) -> str:
        seen.append(text)
        return revising(text, turns).replace("Why a toy is not said.", "Said by the driver.")

    with model(writer) as api, model(lambda text, turns: json.dumps({**FORM, "overall": 7})) as judge:
        (folder / "conf" / "llm").mkdir(parents=True)
        settings = f"defaults: [local, _self_]\nmodel: judge\nbase_url: {judge.url}/v1\n"
        (folder / "conf" / "llm" / "judge.yaml").write_text(settings)
        judge.model = "judge"
        more = ["--reviewers", "1", "--repairs", "0", "--judge", "judge", "--config-dir", "conf"]
        done = run(words(api, "revise", "papers/small-1", *more, "--json"), folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["folder"].endswith("small-2")
    assert (len(api.asked), len(judge.asked)) == (1 + 9, 2)
    assert all("Said by the driver." in text for text in seen[1:])
    assert not any("Why a toy is not said." in text for text in seen)
    assert "Said by the driver." not in json.dumps(judge.asked)
    assert done.stderr.count("Overall: 7 of 10 (7 to 7)") == 2


def test_a_paper_that_was_killed_is_written_on_without_paying_twice(tmp_path: Path) -> None:
    """A process, since a kill is what is tested: it waits for its fifth answer when it is killed."""
    a_study(tmp_path / "treewright.duckdb")
    with model(written) as api:
        answer, fifth = api.act, threading.Event()

        def hang(number: int) -> Act:
            if number < 5:
                return answer(number)
            fifth.set()
            return Hang()

        api.act = hang
        typed = words(api, "write", "small", "--out", "papers")
        process = subprocess.Popen(typed, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
        try:
            assert fifth.wait(240)
        finally:
            process.kill()
            process.wait()
        api.act = answer
        assert run(typed, tmp_path).returncode == 0
    assert len(api.asked) == 11, "only the call that was in flight is sent again"
    assert spent(tmp_path, "write") == 10
    assert ask(tmp_path, "audit", "papers/small-1").returncode == 0
