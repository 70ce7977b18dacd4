"""No key and no password is written anywhere, whatever a service quotes: archive, screen, exports, report, prompts."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from inside import run, search
from launching import begin
from messages_api import MessagesApi
from model_server import Act, Fail, Raw, Say, an_edit

KEY = "sk-ant-canary-3b9f2c1d"
PASSWORD = "canary%2Dpw%2F77"
PLAIN = "canary-pw/77"
BASIC = base64.b64encode(f"someone:{PLAIN}".encode()).decode()
TOKEN = "ghp-canary-of-another-service"
SECRETS = (KEY, PASSWORD, PLAIN, BASIC, TOKEN)
QUOTED = f"Authorization: Bearer {KEY}; Basic {BASIC}; http://someone:{PASSWORD}@host; {TOKEN}"


def quoting(number: int) -> Act:
    """Every answer and every error quotes all that it was sent, and a token that it cannot know."""
    acts: tuple[Act, ...] = (
        Say(an_edit(number).replace("remember", f"remember {QUOTED}").replace("TRIED_", f"# {QUOTED}\nTRIED_")),
        Say(an_edit(number)),
        Fail(400, "invalid_request_error", QUOTED),
        Say(an_edit(number).replace("= ", f'= "{KEY}" and ', 1)),
        Fail(500, "api_error", QUOTED),
        Say(f"I decline: {QUOTED}", stop="refusal"),
        Raw(f"{{{QUOTED}".encode()),
        Say(f"no edit at all, but {QUOTED}"),
    )
    return acts[number % len(acts)]


def everything(folder: Path) -> str:
    """All bytes of all files, and all that a database holds: its texts are compressed in the file."""
    found = [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    for path in folder.rglob("*.duckdb"):
        with duckdb.connect(str(path), read_only=True) as raw:
            for (table,) in raw.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                found += [repr(row) for row in raw.execute(f"FROM {table}").fetchall()]
    return "\n".join(found)


@pytest.mark.slow
def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    said: list[str] = []
    variables = {"ANTHROPIC_API_KEY": KEY, "SOME_TOKEN": TOKEN}
    with MessagesApi(act=quoting, latency=0.05) as api:
        address = api.url.replace("//", f"//someone:{PASSWORD}@")
        words = ("run=night", "operators=all", "budget.evaluations=40", f"llm.base_url={address}", "llm.retries=1")
        process = begin(tmp_path, *words, "evaluator.delay=0.2", **variables)
        until = time.monotonic() + 200
        while len(api.asked) < 6 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=250)
        assert process.returncode == 130, said
        assert "Resume with:" in said[0]
        done = search(tmp_path, *words, "evaluator.delay=0.05", timeout=120, **variables)
        assert done.returncode == 0, done.stderr
        doctor = search(tmp_path, "doctor", *words[1:2], words[3], **variables)
        api.listing = Fail(401, "authentication_error", QUOTED)
        refused = search(tmp_path, *words, **variables)
        assert refused.returncode == 1
        assert "the key was refused" in refused.stderr
        prompts = repr(api.asked)
    said += [done.stdout, done.stderr, doctor.stdout, doctor.stderr, refused.stdout, refused.stderr]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commands = [[word] for word in ("leaderboard", "FROM llm_calls", "FROM events", "FROM refusals", "FROM ideas")]
    commands += [["export", "--all", "--branch", "best"], ["report", "--out", "night.html"]]
    commands += [["FROM sources", "--parquet", "sources.parquet"]]
    for command in commands:
        printed = run([sys.executable, "-m", "archive", *command], tmp_path, **variables)
        assert printed.returncode == 0, (command, printed.stderr)
        said += [printed.stdout, printed.stderr]
    there = everything(tmp_path)
    assert there.count("[hidden]") > 20, "the service did quote them"
    assert "remember" in there
    assert len(api.asked) >= 16
    for secret in SECRETS:
        assert secret not in there, secret
        assert secret not in "\n".join(said), secret
        assert secret not in prompts, secret
