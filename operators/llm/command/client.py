"""A program of the command line as a language model: a coding agent in text mode, or anything that reads a prompt on
standard input and writes its answer to standard output.

Each call is one process, in a sandbox (``sandbox.py``) with an empty folder and the network of its own service alone
(``network.py``). Its words are the ones of the configuration; ``{model}`` and ``{dollars}`` in them stand for
``llm.model`` and ``llm.call_dollars``. What it does not report (tokens, dollars) is unknown, so that the caps count the
maximum. A call is made once; retries are left to the meter.

What a program writes in words decides nothing: a failure is an exit status, a reported error or a time-out, and its
message ends with the program's last words. If these quote the response of a service (JSON with an error's type or
code), its fields are the cause. Two failures of one cause in a row close the model; so does a text without the form of
an answer that comes again when the program is asked to correct it (a request for a login is one).
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.llm.base import (
    Answer,
    AnswerRefused,
    Cost,
    Interrupted,
    InvalidSetting,
    KeyRefused,
    LlmError,
    NoText,
    Prompt,
    SameWords,
    UnknownModel,
)
from operators.llm.command import sandbox
from operators.llm.command.network import Proxy, check_hosts
from operators.llm.command.output import Reply, is_structured, read
from operators.llm.command.process import Finished, run
from operators.llm.command.workspace import WorkingCopy
from operators.llm.connection import require_numbers
from operators.llm.prices import price_from, price_of
from operators.llm.refusals import ServiceRefusal, short
from operators.llm.wire import Deadline, tokens_at_most

_MOST_FOLDER_MB = 1000
_FOLDER_SECONDS = 2.0
"""Seconds between two looks at the size of a call's folder."""
_LAST = 280
"""Characters of a program that was ended that its message shows."""
_PLACEHOLDER = re.compile(r"\{(model|dollars|turns)\}")
_ANSWERS = re.compile(r"IDEA:|<<<<|```|PLACE \d|\A\s*[{\[]")
"""Marks of the forms in which answers are asked for."""
_STATUS_OF = {
    # Claude Code, and the Messages API
    "authentication_failed": 401,
    "authentication_error": 401,
    "oauth_org_not_allowed": 403,
    "permission_error": 403,
    "billing_error": 402,
    "rate_limit": 429,
    "rate_limit_error": 429,
    "overloaded": 529,
    "overloaded_error": 529,
    "server_error": 500,
    "api_error": 500,
    "invalid_request": 400,
    "invalid_request_error": 400,
    "not_found_error": 404,
    # OpenAI
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "model_not_found": 404,
    "context_length_exceeded": 400,
    # Gemini
    "FatalAuthenticationError": 401,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}
"""Names that programs and services give to failures, and the HTTP status with the same meaning."""


class CommandModel:
    """One program. Thread-safe: every call has a process and a folder of its own."""

    def __init__(
        self,
        command: str | Sequence[str],
        agent: str | Sequence[str] | None = None,
        model: str | None = None,
        call_tokens: int = 40_000,
        call_dollars: float | None = None,
        timeout: float = 600.0,
        retries: int = 1,
        environment: Sequence[str] = (),
        login: Sequence[str] = (),
        reads: Sequence[str] = (),
        hosts: Sequence[str] | None = (),
        sandbox: sandbox.Kind = "bwrap",
        price: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the program.

        Args:
            command: Its command line, as one text or as words.
            agent: The one with which it may look around and change files; None: ``operators=agent`` cannot use it.
            model: Name for records, prices and ``{model}``; None for the program's own.
            call_tokens: Most tokens of one call beside those of the prompt: the answer, and what the program adds.
            call_dollars: Most dollars of one call, if the program keeps such a limit; None: not limited.
            timeout: Seconds of one call.
            environment: Variables that are passed on if they are set, and ``NAME=VALUE`` for those that always are.
            login: Files below the home folder that are copied into the program's home.
            reads: Further files and folders that the program may read.
            hosts: Hosts that it may reach, as ``name`` or ``name:port``; none without any; None: the whole network.
            sandbox: ``none`` runs it as the user, with the user's files and network.
            price: In place of the one in ``prices.yaml``, where the program reports tokens alone.

        Raises:
            ValueError: Invalid settings.
        """
        require_numbers(timeout, call_tokens, retries)
        if call_dollars is not None and not 0 < call_dollars < 10**6:
            raise ValueError(f"llm.call_dollars is {call_dollars}; expected dollars above 0, or null for no limit")
        self._command = _words(command)
        self._agent = None if agent is None else _words(agent, "llm.agent")
        if sandbox not in ("bwrap", "none"):
            raise ValueError(f"llm.sandbox is {sandbox!r}; expected bwrap or none")
        self.name = model or Path(self._command[0]).name
        self.attempts = 1 + retries
        self.price = price_from(price) if price is not None else price_of(self.name)
        self._values = {"model": model, "dollars": call_dollars}
        self._call_tokens, self._call_dollars = call_tokens, call_dollars
        self._timeout = timeout
        self._environment = tuple(environment)
        self._login = tuple(map(_below_home, login))
        self._reads = tuple(Path(path).expanduser().absolute() for path in reads)
        self._hosts = None if hosts is None else tuple(check_hosts(hosts))
        self._sandbox = sandbox
        self._deadline = Deadline(timeout, clock)

    def complete(self, prompt: Prompt) -> Answer:
        """Run the program once. Raises the ``LlmError`` classes of ``operators.llm.base``."""
        return self._ask(self._filled(self._command), prompt, self._deadline)

    def at_work(self, workspace: WorkingCopy) -> AgentAtWork:
        """Return the program as an agent that changes files. Raises InvalidSetting without ``agent``."""
        if self._agent is None:
            raise InvalidSetting(f"{self.name} has no llm.agent: the command line with which it may change files")
        return AgentAtWork(self, self._agent, workspace)

    def _ask(
        self, command: Sequence[str], prompt: Prompt, deadline: Deadline, workspace: WorkingCopy | None = None
    ) -> Answer:
        began = deadline.begin()
        with self._folder() as folder:
            try:
                if workspace is not None:
                    workspace.lay_out(folder)
                finished, refused = self._run(command, prompt.text, folder, deadline, workspace)
            except OSError as error:
                raise InvalidSetting(f"{self.name} cannot be run: {short(str(error))}") from None
            finally:
                deadline.end()
            reply = read(finished.output, prompt, structured=is_structured(command))
            if workspace is not None:
                finished, reply = workspace.collected(folder, finished, reply)
        return self._answer(prompt, finished, reply, refused, deadline.elapsed(began))

    def answering(self) -> int:
        """Count the calls whose answer is arriving."""
        return self._deadline.answering()

    def max_cost(self, prompt: Prompt) -> Cost:
        tokens_in = tokens_at_most(prompt)
        dollars = self._call_dollars
        if dollars is None and self.price is not None:
            dollars = self.price.at_most(tokens_in, self._call_tokens)
        return Cost(tokens_in + self._call_tokens, dollars)

    def check(self) -> str | None:
        """Raise ``LlmError`` if the program, its sandbox or its login is missing; only a call can tell the rest."""
        sandbox.Installation.of(self._command[0])
        self._filled(self._command)
        if self._sandbox == "bwrap":
            sandbox.find_bubblewrap()
        names = [name for name in self._environment if "=" not in name]
        found = any(os.environ.get(name) for name in names) or any(path.is_file() for path in self._login)
        if (names or self._login) and not found:
            files = [f"~/{path.relative_to(Path.home())}" for path in self._login]
            raise KeyRefused(
                f"{self._command[0]} has no login: set {' or '.join(names) or 'its key'}"
                + (f", or log in with the program itself, which writes {' or '.join(files)}." if files else ".")
            )
        return f"{self._command[0]} was found; its first call will show whether it can answer."

    # ------------------------------------------------------------ one run

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        try:
            with tempfile.TemporaryDirectory(prefix="treewright-llm-", ignore_cleanup_errors=True) as name:
                sandbox.prepare(Path(name), self._login)
                yield Path(name)
        except OSError as error:
            raise InvalidSetting(f"no folder can be made for {self.name}: {short(str(error))}") from None

    def _run(
        self, command: Sequence[str], text: str, folder: Path, deadline: Deadline, workspace: WorkingCopy | None
    ) -> tuple[Finished, Sequence[str]]:
        """Run the program; return what it wrote, and the hosts that it was refused."""
        installed = sandbox.Installation.of(command[0])
        look = _Look(folder, workspace)
        if self._sandbox == "none" and workspace is None:
            environment = self._variables(str(Path.home()), os.environ.get("PATH", os.defpath))
            words = [str(installed.found), *command[1:]]
            return run(words, environment, folder / "work", text, deadline, look), ()
        checks = [] if workspace is None else ["/check"]
        path = os.pathsep.join(dict.fromkeys([*checks, *installed.folders, "/usr/local/bin", "/usr/bin", "/bin"]))
        call = sandbox.Call(
            folder,
            self._variables(sandbox.HOME, path),
            self._reads,
            binds=() if workspace is None else workspace.mounts(folder),
            writes=() if workspace is None else (folder / "check",),
            network="all" if self._hosts is None else "hosts" if self._hosts else "none",
        )
        words = sandbox.wrapped(sandbox.find_bubblewrap(), command, installed, call)
        if not self._hosts:
            return run(words, {}, folder, text, deadline, look), ()
        with Proxy(call.socket, self._hosts) as proxy:
            return run(words, {}, folder, text, deadline, look), proxy.refused

    def _variables(self, home: str, path: str) -> dict[str, str]:
        """Return the complete environment of the program."""
        ours = {"PATH": path, "HOME": home, "USER": "agent", "LANG": "C.UTF-8", "TERM": "dumb", "NO_COLOR": "1"}
        for entry in self._environment:
            name, assigned, value = entry.partition("=")
            if assigned or name in os.environ:
                ours[name] = value if assigned else os.environ[name]
        return ours

    def _filled(self, command: Sequence[str], **more: object) -> list[str]:
        """Return a command line with its placeholders filled. Raises InvalidSetting for one without a value."""

        def value(match: re.Match[str]) -> str:
            found = {**self._values, **more}.get(match[1])
            if found is None:
                setting = {"model": "llm.model", "dollars": "llm.call_dollars"}.get(match[1], match[1])
                raise InvalidSetting(f"llm.command has {match[0]}, and {setting} is not set")
            return str(found)

        return [_PLACEHOLDER.sub(value, word) for word in command]

    # ------------------------------------------------------------ what came of it

    def _answer(
        self, prompt: Prompt, finished: Finished, reply: Reply, refused: Sequence[str], seconds: float
    ) -> Answer:
        """Return the answer of a run. Raises ``LlmError`` for a failure."""
        if finished.ended is not None or finished.status != 0 or reply.error is not None:
            raise self._failed(finished, reply, refused)
        answer = reply.usage.answer(reply.text, reply.model or self.name, self.price, seconds, reply.cut_off)
        if reply.declined:
            raise AnswerRefused(f"{self.name} declined to answer", answer)
        if not reply.text.strip():
            raise NoText(f"{self.name} ended without an answer", answer)
        if _said_before(prompt, reply.text):
            raise SameWords(
                f"{self.name} says the same when it is asked to correct it, and it is no answer: {short(reply.text)}."
                + self._hint(),
                answer,
            )
        return answer

    def _failed(self, finished: Finished, reply: Reply, refused: Sequence[str]) -> LlmError:
        """Return the error of a failed run. It may have been billed, except for what the service refused."""
        reply = reply.with_quoted(finished.words)
        said = short(reply.error or (finished.words if finished.ended is None else finished.words[-_LAST:]))
        words = said or f"exit status {finished.status}"
        if refused:
            words += f" (it asked for {', '.join(refused[:3])}: not among llm.hosts)"
        if finished.ended is not None:
            late = f"{self.name}: {finished.ended} (llm.timeout={self._timeout:g} s): {words}"
            return Interrupted(f"{late}.{self._hint()}" if said else late, unreadable=bool(said))
        if finished.status == 127:
            return UnknownModel(f"{self.name} cannot be run in its sandbox: {words}. Name what it needs in llm.reads.")
        if (status := _status(reply)) is not None:
            refusal = ServiceRefusal(status, reply.kinds, words, {})
            return refusal.error(self.name, self._login_words())
        failed = Interrupted(
            f"{self.name} failed with exit status {finished.status}: {words}.{self._hint()}", unreadable=True
        )
        failed.cause = " ".join((str(finished.status), *reply.kinds))
        return failed

    def _hint(self) -> str:
        return f" Does it ask for a login? {self._login_words()}"

    def _login_words(self) -> str:
        names = [name for name in self._environment if "=" not in name]
        return f"Log in with {Path(self._command[0]).name} itself" + (
            f", or set {' or '.join(names)}." if names else "."
        )


class AgentAtWork:
    """A program that changes the files of a workspace: a language model for one call.

    Its answer is what it has left: JSON with its last words and its files, so that a recorded call can be replayed.
    """

    def __init__(self, model: CommandModel, command: Sequence[str], workspace: WorkingCopy) -> None:
        self.name = model.name
        self.price = model.price
        self.attempts = model.attempts
        self._model = model
        self._command = command
        self._workspace = workspace
        self._deadline = Deadline(workspace.budget.seconds, time.monotonic)

    def complete(self, prompt: Prompt) -> Answer:
        """Let the agent work. Raises the ``LlmError`` classes of ``operators.llm.base``."""
        budget = self._workspace.budget
        command = self._model._filled(self._command, turns=budget.turns, dollars=budget.dollars)
        return self._model._ask(command, prompt, self._deadline, self._workspace)

    def max_cost(self, prompt: Prompt) -> Cost:
        budget = self._workspace.budget
        known = self._model.max_cost(prompt).dollars is not None
        return Cost(tokens_at_most(prompt) + budget.tokens, budget.dollars if known else None)

    def check(self) -> str | None:
        return self._model.check()


class _Look:
    """Looks at a call's folder now and then: at its size, and at requests of an agent's ``check``."""

    def __init__(self, folder: Path, workspace: WorkingCopy | None) -> None:
        self._folder = folder
        self._workspace = workspace
        self._next = 0.0

    def __call__(self) -> str | None:
        if self._workspace is not None:
            self._workspace.answer_check(self._folder)
        if (now := time.monotonic()) < self._next:
            return None
        self._next = now + _FOLDER_SECONDS
        size = 0
        for place, _, names in os.walk(self._folder):
            for name in names:
                with contextlib.suppress(OSError):
                    size += os.lstat(os.path.join(place, name)).st_blocks * 512
        return f"its files have more than {_MOST_FOLDER_MB:,} MB" if size > _MOST_FOLDER_MB * 1e6 else None


def _words(command: object, setting: str = "llm.command") -> tuple[str, ...]:
    """Return the words of a command line. Raises ValueError."""
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command or ()]  # type: ignore[attr-defined]
    if not words:
        raise ValueError(f"{setting} is empty; expected a command line, such as {setting}='claude -p'")
    return tuple(words)


def _below_home(path: str) -> Path:
    found = Path(path).expanduser().absolute()
    if not found.is_relative_to(Path.home()):
        raise ValueError(f"llm.login has {path!r}; expected files below the home folder, such as ~/.tool/login.json")
    return found


def _said_before(prompt: Prompt, text: str) -> bool:
    """Return whether a text without the form of an answer is what a request to correct it quotes."""
    said = next((turn.text for turn in reversed(prompt.messages) if turn.role == "assistant"), None)
    return said is not None and said.strip() == text.strip() and not _ANSWERS.search(text)


def _status(reply: Reply) -> int | None:
    """Return the HTTP status of a failure: reported, or that of the first known name."""
    if reply.status is not None and 400 <= reply.status < 600:
        return reply.status
    return next((_STATUS_OF[kind] for kind in reply.kinds if kind in _STATUS_OF), None)
