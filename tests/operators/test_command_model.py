"""Programs of the command line as language models, with stand-ins that behave as the known ones do, and worse.

Every test starts a process, since what a process can reach, and how it ends, is what is tested.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from stand_ins import CLAUDE, CODEX, lines, saying, script

from operators.base import NoCandidate
from operators.llm.base import (
    Answer,
    AnswerRefused,
    Cost,
    Interrupted,
    InvalidSetting,
    KeyRefused,
    LlmError,
    Message,
    NoText,
    Overloaded,
    Prompt,
    QuotaExhausted,
    RefusedAgain,
    UnknownModel,
)
from operators.llm.command import process
from operators.llm.command.client import CommandModel
from operators.llm.meter import CallId, Meter
from operators.llm.secrets import tokens_in
from operators.rewrite.answers.search_replace import InvalidAnswer
from operators.rewrite.conversation import ask_with_repair
from operators.rewrite.prompt.templates import Templates

PROMPT = Prompt("you improve programs", (Message("user", "new", stable="parent"),))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def client(command: str, **more: Any) -> CommandModel:
    return CommandModel(**{"command": command, "timeout": 20.0, **more})


def error_of(command: str, **more: Any) -> LlmError:
    with pytest.raises(LlmError) as caught:
        client(command, **more).complete(PROMPT)
    return caught.value


# ---------------------------------------------------------------- answers and costs


def test_the_prompt_goes_in_and_the_answer_comes_out(tmp_path: Path) -> None:
    found = client(script(tmp_path, "cat prompt")).complete(PROMPT)
    assert found.text == "[system]\nyou improve programs\n\n[user]\nparent\n\nnew"
    assert (found.model, found.tokens_in, found.tokens_out, found.dollars) == ("tool", None, None, None)


def test_costs_that_are_told(tmp_path: Path) -> None:
    told = client(f"{saying(tmp_path, lines(CLAUDE))} --output-format stream-json").complete(PROMPT)
    assert (told.text, told.tokens_in, told.tokens_out, told.dollars) == ("IDEA: double", 1307, 21, 0.0125)
    priced = client(f"{saying(tmp_path, lines(CODEX))} exec --json", model="gpt-6.1-terra").complete(PROMPT)
    assert priced.dollars == pytest.approx((300 * 1.0 + 1000 * 0.05 + 21 * 5.0) / 1e6)


def test_unknown_costs_count_against_the_caps_at_the_most(tmp_path: Path) -> None:
    model = client(saying(tmp_path, "IDEA: x"), call_tokens=500, call_dollars=0.25)
    most = model.max_cost(PROMPT)
    assert most == Cost(most.tokens, 0.25)
    meter = Meter(model, max_dollars=1, max_tokens=10_000, record=lambda call: None)
    meter.complete(PROMPT, CallId("run", 0, 0, "improve"))
    spent = meter.spending
    assert (spent.tokens, spent.charged_tokens, spent.charged_dollars) == (0, most.tokens, 0.25)


def test_placeholders_of_the_command_line(tmp_path: Path) -> None:
    path = script(tmp_path, 'echo "$@"')
    assert (
        client(f"{path} --model {{model}} -m {{dollars}}", model="m", call_dollars=0.5).complete(PROMPT).text
        == "--model m -m 0.5\n"
    )
    with pytest.raises(InvalidSetting, match=r"\{model\}, and llm.model is not set"):
        client([path, "{model}"]).check()  # type: ignore[arg-type]


# ---------------------------------------------------------------- what goes wrong

QUOTED = """echo 'API Error: {"type": "error", "error": {"type": "%s", "message": "%s"}}' >&2; exit 1"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("echo 'Not logged in' >&2; exit 1", Interrupted, "failed with exit status 1: Not logged in."),
        ("printf 'Sign in at https://x: '; sleep 60", Interrupted, "Sign in at"),
        ("echo 'fatal: disk' >&2; exit 3", Interrupted, "failed with exit status 3: fatal: disk"),
        ("kill -SEGV $$", Interrupted, "failed with exit status"),
        ("exit 0", NoText, "ended without an answer"),
        ("sleep 60", Interrupted, "did not answer in time"),
        ("sleep 60 & exec >&- 2>&-; sleep 60", Interrupted, "did not answer in time"),
        ("echo 'API Error: 401 Unauthorized'; exit 1", Interrupted, "401 Unauthorized"),  # words alone decide nothing
        (QUOTED % ("rate_limit_error", "slow down"), Overloaded, "slow down"),
        (QUOTED % ("billing_error", "no credit"), QuotaExhausted, "no credit"),
    ],
)
def test_failures(tmp_path: Path, body: str, kind: type[LlmError], words: str) -> None:
    error = error_of(script(tmp_path, body), timeout=1.5, environment=["TOOL_KEY"])
    assert type(error) is kind, error
    assert words in str(error)
    if isinstance(error, Interrupted) and error.settled:
        assert "Does it ask for a login? Log in with tool itself, or set TOOL_KEY." in str(error)


def test_the_second_equal_failure_closes_the_model(tmp_path: Path) -> None:
    """Whatever its words are: what a program says decides nothing."""
    path = script(tmp_path, "echo 'Bitte anmelden' >&2; exit 1")
    meter = Meter(
        client(path, sandbox="none", retries=0),
        max_dollars=10,
        max_tokens=10**7,
        record=lambda call: None,
        sleep=lambda s: None,
    )
    for kind in (Interrupted, RefusedAgain):
        with pytest.raises(kind, match="Bitte anmelden"):
            meter.complete(PROMPT, CallId("run", 0, 0, "improve"))
    assert "Bitte anmelden" in str(meter.closed)


def asked(answers: str, tmp_path: Path, read: Callable[[Answer, bool], str]) -> tuple[str | NoCandidate, Meter]:
    """What a conversation with one request for a correction gives, and the meter."""
    meter = Meter(client(script(tmp_path, answers)), max_dollars=10, max_tokens=10**7, record=lambda call: None)
    found = ask_with_repair(meter, PROMPT, lambda turn: CallId("run", 0, turn, "improve"), Templates(None), read)
    return found, meter


def test_words_that_come_again_when_they_are_to_be_corrected_close_the_model(tmp_path: Path) -> None:
    def refuse(answer: Answer, last: bool) -> str:
        raise InvalidAnswer("no block")

    found, meter = asked("echo 'Please run /login'", tmp_path, refuse)
    assert isinstance(found, NoCandidate)
    assert "Please run /login. Does it ask for a login? Log in with tool itself." in str(meter.closed)
    _, meter = asked("echo 'IDEA: less'", tmp_path, refuse)
    assert meter.closed is None, "it has the form of an answer"
    _, meter = asked("date +%N", tmp_path, refuse)
    assert meter.closed is None, "other words"


def test_failures_that_the_output_names(tmp_path: Path) -> None:
    def claude(**fields: object) -> str:
        return f"{saying(tmp_path, json.dumps({**CLAUDE[-1], **fields}), 'exit 1')} --output-format json"

    assert isinstance(error_of(claude(is_error=True, result="no", api_error_status=401)), KeyRefused)
    assert isinstance(error_of(claude(is_error=True, result="busy", api_error_status=529)), Overloaded)
    assert isinstance(error_of(claude(subtype="error_max_budget_usd", result=None)), Interrupted)
    declined = saying(tmp_path, json.dumps({**CLAUDE[-1], "stop_reason": "refusal"}))
    error = error_of(f"{declined} --output-format json")
    assert isinstance(error, AnswerRefused)
    assert error.answer is not None
    assert error.answer.dollars == 0.0125


def test_endless_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LONGEST_ANSWER", 100_000)
    error = error_of(script(tmp_path, "yes IDEA: more"))
    assert isinstance(error, Interrupted)
    assert "it wrote more than 100,000 bytes" in str(error)


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="there is no program 'no-such-tool'"):
        client("no-such-tool -p").check()
    needs = tmp_path / "tool"
    needs.write_text("#!/bin/sh\nexec /opt/elsewhere/tool\n")
    needs.chmod(0o755)
    assert isinstance(error_of(str(needs)), UnknownModel)
    with pytest.raises(ValueError, match="command is empty"):
        client("")


def test_a_login_is_looked_for_before_anything_is_spent(tmp_path: Path, home: Path) -> None:
    model = client(saying(tmp_path, "IDEA: x"), environment=["TOOL_KEY", "QUIET=1"], login=["~/.tool/login.json"])
    with pytest.raises(KeyRefused, match=r"set TOOL_KEY, or log in with the program itself.*~/.tool/login.json"):
        model.check()
    (home / ".tool").mkdir()
    (home / ".tool/login.json").write_text("{}")
    assert "first call will show" in (model.check() or "")


# ---------------------------------------------------------------- what it can reach


def test_it_sees_its_login_and_nothing_else_of_the_user(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOL_KEY", "of-the-tool")
    monkeypatch.setenv("OTHER_API_KEY", "of-somebody-else")
    (home / ".tool").mkdir()
    (home / ".tool/login.json").write_text('{"token": "abcdefghijklmnopqrstuvwxyz"}')
    (home / "diary").write_text("secret")
    archive = tmp_path / "treewright.duckdb"
    archive.write_text("rows")
    body = (
        f"cat ~/.tool/login.json; echo spoilt > ~/.tool/login.json; env; cat {home}/diary {archive} 2>&1; echo IDEA: x"
    )
    found = client(script(tmp_path, body), environment=["TOOL_KEY", "QUIET=1"], login=["~/.tool/login.json"])
    text = found.complete(PROMPT).text
    assert all(word in text for word in ("abcdefghijklmnopqrstuvwxyz", "TOOL_KEY=of-the-tool", "QUIET=1"))
    assert not any(word in text for word in ("of-somebody-else", "secret", "rows"))
    assert text.count("No such file") == 2
    assert "abcdefghijklmnopqrstuvwxyz" in (home / ".tool/login.json").read_text(), "it writes to a copy"
    assert "abcdefghijklmnopqrstuvwxyz" in tokens_in(home / ".tool/login.json"), "hidden in every record"


def test_a_program_of_npm_sees_the_packages_beside_it(tmp_path: Path) -> None:
    packages = tmp_path / "node_modules"
    for name in ("@a/tool", "@a/tool-linux", ".bin"):
        (packages / name).mkdir(parents=True)
    script(packages / "@a/tool", f"cat {packages}/@a/tool-linux/data")
    (packages / "@a/tool-linux/data").write_text("IDEA: beside")
    (packages / ".bin/tool").symlink_to("../@a/tool/tool")
    assert client(str(packages / ".bin/tool")).complete(PROMPT).text == "IDEA: beside"


def test_it_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    body = f"echo x > {outside}/file; echo x > /usr/file; echo x > inside; ls; true"
    assert "inside" in client(script(tmp_path, body)).complete(PROMPT).text
    assert not list(outside.iterdir())
    assert not Path("/usr/file").exists()


@pytest.fixture
def listening() -> Iterator[int]:
    """A server that greets everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"welcome\n")

        threading.Thread(target=greet, daemon=True).start()
        yield server.getsockname()[1]


DIRECT = "(exec 3<>/dev/tcp/127.0.0.1/%d && cat <&3) 2>&1; echo"
PROXIED = """
port=${HTTPS_PROXY##*:}
exec 3<>/dev/tcp/127.0.0.1/$port
printf 'CONNECT 127.0.0.1:%d HTTP/1.1\\r\\n\\r\\n' >&3
cat <&3
"""


@pytest.mark.parametrize(
    ("body", "hosts", "reached"),
    [
        (DIRECT, [], False),
        (DIRECT, ["127.0.0.1:PORT"], False),
        (DIRECT, None, True),
        (PROXIED, ["127.0.0.1:PORT"], True),
        (PROXIED, ["api.example.com"], False),
    ],
)
def test_it_reaches_the_listed_hosts_alone(
    tmp_path: Path, listening: int, body: str, hosts: list[str] | None, reached: bool
) -> None:
    names = None if hosts is None else [host.replace("PORT", str(listening)) for host in hosts]
    text = client(script(tmp_path, body % listening, shell="/bin/bash"), hosts=names).complete(PROMPT).text
    assert ("welcome" in text) == reached, text
    if body == PROXIED and not reached:
        assert "403 Not among llm.hosts" in text


def test_a_refused_host_is_named(tmp_path: Path, listening: int) -> None:
    path = script(tmp_path, f"{PROXIED % listening}\nexit 1", shell="/bin/bash")
    assert f"127.0.0.1:{listening}: not among llm.hosts" in str(error_of(path, hosts=["api.example.com"]))
    with pytest.raises(ValueError, match="is no host"):
        client(path, hosts=["https://x.com"])


# ---------------------------------------------------------------- its end


def _alive(mark: str) -> list[psutil.Process]:
    """Return the processes that sleep for a time that is theirs alone."""
    return [each for each in psutil.process_iter() if _words(each) == ["sleep", mark]]


def _words(each: psutil.Process) -> list[str]:
    try:
        return list(each.cmdline())
    except psutil.Error:
        return []


@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
def test_all_of_its_processes_end_with_a_call(tmp_path: Path, sandbox: str) -> None:
    mark = f"86{os.getpid()}{int(time.time())}"
    path = script(tmp_path, f"sleep {mark} & (sleep {mark} &) ; setsid sleep {mark} & sleep {mark}")
    assert isinstance(error_of(path, timeout=1.0, sandbox=sandbox), Interrupted)
    assert not _alive(mark)


@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
def test_it_dies_with_the_search(tmp_path: Path, sandbox: str) -> None:
    """Killed, not stopped. Without a sandbox that holds for its first process alone."""
    mark = f"85{os.getpid()}{int(time.time())}"
    path = script(tmp_path, f"exec sleep {mark}")
    search = subprocess.Popen([sys.executable, "-c", SEARCH, path, sandbox], cwd=HOUSE)
    try:
        _until(lambda: len(_alive(mark)) >= 1)
    finally:
        search.kill()
        search.wait()
    _until(lambda: not _alive(mark))


SEARCH = """
import sys
from operators.llm.base import Prompt
from operators.llm.command.client import CommandModel
CommandModel(sys.argv[1], sandbox=sys.argv[2]).complete(Prompt("", ()))
"""
HOUSE = Path(__file__).resolve().parents[2]


def _until(done: Callable[[], bool]) -> None:
    """Wait for what must come; a test that waits in vain ends at its time limit."""
    while not done():
        time.sleep(0.05)
