"""The scorer's process: imports the task's ``score.py`` and judges one candidate after another.

    python -m train.program.scorer_main FD FOLDER SCORER

Trusted, with the hidden data beside it and without the candidate's files. What it needs of the candidate it asks of the
driver, over the socket FD; the driver runs the candidate. See ``train.program.scorer_process`` for the other side.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import math
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from prepare.config import typed
from prepare.items import ERRORS, require_ending
from prepare.model_limits import LlmService
from prepare.scorer import Attempt, Case, Completed, Ending, Invalid, Score, Timing, certificate_text, finite_number
from prepare.values import pack, unpack
from prepare.wire import Channel, Frame
from train.program.model import CountedModel, ModelRefused, ModelReply, ModelSession, Scripted, ScriptedSession

if TYPE_CHECKING:
    import numpy as np

_LONGEST_COMMAND = 50_000
"""Characters of a command's arguments."""
_ERROR_OF: Mapping[str, Ending] = {"timed_out": "time", "invalid": "unparsed"}
"""How an item ends whose call ended with an outcome; ``crashed`` for all others."""
_FIRST = 8
"""An agent whose first items all end in an error is judged on no others: they would cost calls of the model."""


class CandidateEnded(BaseException):
    """The end of the candidate's sandbox; the driver has the reason. A BaseException, which scorers do not catch."""


class OneProcess(Channel):
    """The driver's socket, for one process: a fork of the scorer ends when it uses the socket."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._pid = os.getpid()

    def send(self, message: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        if os.getpid() != self._pid:
            os._exit(0)
        super().send(message, payload)


class Handle:
    """The handle that ``score`` gets; implements ``prepare.scorer.CandidateHandle``."""

    def __init__(self, channel: Channel, llm: ModelClient | None = None) -> None:
        self._channel = channel
        self._llm = llm
        self.model: CountedModel | None = None
        """Of the current evaluation, counted; None before the first case of a task with a model."""

    def call(
        self,
        function: str,
        *args: Any,
        seconds: float | None = None,
        services: Mapping[str, Callable[..., Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        return _untrusted(self._call(function, args, kwargs, seconds, services or {}, item=False).payload, function)

    def attempt(
        self,
        function: str,
        *args: Any,
        seconds: float | None = None,
        services: Mapping[str, Callable[..., Any]] | None = None,
        **kwargs: Any,
    ) -> Attempt:
        frame = self._call(function, args, kwargs, seconds, services or {}, item=True)
        if frame.kind == "failed":
            error = (self.model and self.model.ended) or _ERROR_OF.get(frame.message["outcome"], "crashed")
            return Attempt(None, error, str(frame.message["reason"]))
        try:
            return Attempt(unpack(frame.payload))
        except ValueError as error:
            return Attempt(None, "unparsed", f"{function}: {error}")

    def llm(self, prompt: str, system: str = "") -> str:
        """Ask the model of the task's settings. Raises ValueError for a task without one."""
        if self.model is None:
            raise ValueError("candidate.llm is used, and task.yaml has no llm; expected llm: {scripted: model.py}")
        return self.model(prompt, system)

    def begin(self, split: str, seed: int) -> None:
        """Begin an evaluation: nothing is used of the model yet."""
        self.model = None if self._llm is None else self._llm.counted(self._channel, f"{split}/{seed}")

    def begin_case(self, name: str) -> None:
        if self.model is not None:
            self.model.begin_item(name)

    def _call(
        self,
        function: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        seconds: float | None,
        services: Mapping[str, Callable[..., Any]],
        *,
        item: bool,
    ) -> Frame:
        message = {"type": "call", "function": function, "seconds": seconds, "services": list(services), "item": item}
        return self._ask(message, pack({"args": list(args), "kwargs": dict(kwargs)}), services)

    def run(self, argv: Sequence[str], stdin: bytes | str = b"", seconds: float | None = None) -> Completed:
        if not argv or sum(map(len, argv)) > _LONGEST_COMMAND:
            raise ValueError(f"run has a command of {len(argv)} words; expected at least one, and a short line")
        data = stdin.encode() if isinstance(stdin, str) else bytes(stdin)
        done = unpack(self._ask({"type": "run", "argv": list(argv), "seconds": seconds}, data).payload)
        return Completed(**done)

    def read(self, path: str) -> bytes:
        frame = self._ask({"type": "read", "path": path})
        if frame.message.get("missing"):
            raise Invalid(f"there is no file {path}")
        return frame.payload

    def time(
        self, function: str, inputs: Callable[[int], Sequence[Any]], pairs: int = 5, seconds: float | None = None
    ) -> Timing:
        runs = [self._pair(function, inputs(number), number, seconds) for number in range(pairs)]
        return _timing(runs)

    def _pair(self, function: str, args: Sequence[Any], number: int, seconds: float | None) -> Any:
        """Time one pair: the candidate and the seed on the same arguments, each pair in the other order."""
        message = {"type": "time", "function": function, "seconds": seconds, "candidate_first": number % 2 == 0}
        frame = self._ask(message, pack({"args": list(args), "kwargs": {}}))
        size = int(frame.message["size"])
        own = _untrusted(frame.payload[:size], function)
        return frame.message["seconds"], frame.message["baseline"], own, unpack(frame.payload[size:])

    def restart(self) -> None:
        self._ask({"type": "restart"})

    def _ask(
        self, message: dict[str, Any], payload: bytes = b"", services: Mapping[str, Callable[..., Any]] | None = None
    ) -> Frame:
        """Send a request and return its answer; answer calls of services meanwhile. Raises CandidateEnded."""
        self._channel.send(message, payload)
        while True:
            frame = self._channel.receive()
            if frame.kind == "ended":
                raise CandidateEnded
            if frame.kind != "service":
                return frame
            self._serve(services or {}, frame)

    def _serve(self, services: Mapping[str, Callable[..., Any]], frame: Frame) -> None:
        """Call a service for the candidate. Its ``Invalid`` ends the evaluation; another exception is the task's."""
        name = frame.message["name"]
        if name not in services:
            raise Invalid(f"there is no service {str(name)[:100]!r}; expected one of {', '.join(services) or 'none'}")
        bound = _bound(services[name], name, _untrusted(frame.payload, name))
        try:
            value = services[name](*bound.args, **bound.kwargs)
        except ModelRefused as refusal:
            self._channel.send({"type": "refused", "reason": str(refusal)})
        else:
            self._channel.send({"type": "served"}, pack(value))


class ModelClient:
    """The model that candidates may ask: the driver's (``live``), or a scripted one that runs here."""

    def __init__(self, settings: LlmService, scripted: Scripted | None) -> None:
        """``scripted``: None for the driver's model."""
        self._settings = settings
        self._scripted = scripted

    def counted(self, channel: Channel, key: str) -> CountedModel:
        """Return the model of one evaluation. ``key``: its split and seed, from which a scripted model errs."""
        scripted = self._scripted

        def asked(case: str) -> ModelSession:
            return partial(_live, channel) if scripted is None else ScriptedSession(scripted, f"{key}/{case}")

        return CountedModel(self._settings, asked)


def _live(channel: Channel, prompt: str, system: str) -> ModelReply:
    """Have the driver ask its model."""
    channel.send({"type": "llm"}, pack({"prompt": prompt, "system": system}))
    return ModelReply(**unpack(channel.receive().payload))


def _bound(service: Callable[..., Any], name: str, given: Any) -> inspect.BoundArguments:
    """Return the arguments of a service. Raises Invalid if it does not take them."""
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("args"), list)
        or not isinstance(given.get("kwargs"), dict)
    ):
        raise Invalid(f"{name} was called with malformed arguments")
    try:
        return inspect.signature(service).bind(*given["args"], **given["kwargs"])
    except TypeError as error:
        raise Invalid(f"{name}: {error}") from None


def _untrusted(payload: bytes, function: str) -> Any:
    try:
        return unpack(payload)
    except ValueError as error:
        raise Invalid(f"{function}: {error}") from None


def _timing(runs: Sequence[tuple[float, float, Any, Any]]) -> Timing:
    """Return medians, and the interval of the median ratio from order statistics (a sign test; 95% where possible)."""
    import numpy as np

    ratios = np.sort([baseline / seconds for seconds, baseline, _, _ in runs])
    count = len(ratios)
    outer = max((k for k in range(count // 2 + 1) if _tail(count, k) <= 0.025), default=0)
    return Timing(
        seconds=float(np.median([run[0] for run in runs])),
        baseline_seconds=float(np.median([run[1] for run in runs])),
        ratio=float(np.median(ratios)),
        low=float(ratios[outer]),
        high=float(ratios[count - 1 - outer]),
        value=[run[2] for run in runs],
        baseline_value=[run[3] for run in runs],
    )


def _tail(count: int, k: int) -> float:
    """Return P(X <= k - 1) of a fair coin thrown ``count`` times."""
    return float(sum(math.comb(count, i) for i in range(k)) / 2**count)


# ---------------------------------------------------------------- cases and scores


class Judge:
    """The task's scorer, with the cases of each split.

    sample: how many cases of ``val`` are used, and the seed that chooses them; None: all cases.
    """

    def __init__(self, scorer: Any, sample: tuple[int, str] | None = None) -> None:
        self._scorer = scorer
        self._sample = sample
        self._cases: dict[tuple[str, bytes], list[tuple[str, Any]]] = {}

    def cases(self, split: str, key: bytes = b"") -> list[tuple[str, Any]]:
        """Return (name, data) of each case. Raises ValueError for none, and for two of one name."""
        if (split, key) not in self._cases:
            self._cases[split, key] = self._used(split, key)
        return self._cases[split, key]

    def case_set(self, split: str, key: bytes = b"") -> tuple[str, int]:
        """Return a digest of a split's cases, made anew, and their number: equal in all processes if reproducible."""
        text, used = hashlib.sha256(), self._used(split, key)
        for name, data in used:
            text.update(f"{name}\0".encode("utf-8", "surrogatepass") + _bytes_of(data))
        return text.hexdigest()[:16], len(used)

    def score(
        self, handle: Handle, split: str, seed: int, key: bytes = b"", parent: Mapping[str, float] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the result of each case. Raises Invalid, CandidateEnded, and whatever the scorer raises.

        ``parent``: values by case of the candidate's nearest scored ancestor.
        """
        handle.begin(split, seed)
        errors: list[str] = []
        for number, (name, data) in enumerate(self.cases(split, key)):
            handle.begin_case(name)
            case = Case(name, split, data, seed, (parent or {}).get(name))  # type: ignore[arg-type]
            found = _result(self._scorer.score(handle, case), handle.model)
            yield {"case": name, **found}
            errors += [found["ending"]] if found["ending"] in ERRORS else []
            if number + 1 == len(errors) == _FIRST:
                counted = ", ".join(f"{errors.count(code)} {code}" for code in dict.fromkeys(errors))
                last = f". {found['feedback']}" if split == "val" else ""  # it may quote the hidden item
                raise Invalid(f"its first {_FIRST} items all ended in an error: {counted}{last}")

    def _used(self, split: str, key: bytes) -> list[tuple[str, Any]]:
        """Return the cases that count, made anew. A larger sample contains each smaller one."""
        named = _named(self._made(split, key), split)
        if split != "val" or self._sample is None:
            return named
        count, seed = self._sample
        order = {name: hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogatepass")).digest() for name, _ in named}
        chosen = set(sorted(order, key=order.__getitem__)[:count])
        return [each for each in named if each[0] in chosen]

    def _made(self, split: str, key: bytes) -> list[Any]:
        return list(self._scorer.cases(split, generator_of(split, key))) if hasattr(self._scorer, "cases") else [None]


def generator_of(split: str, key: bytes = b"") -> np.random.Generator:
    """Return the generator from which the cases of a split are drawn: the same in every process.

    ``key``: an archive's secret, without which nobody can draw its cases of ``select`` and ``holdout``. Those of
    ``val`` do not depend on it, so that scores of all archives can be compared.
    """
    import numpy as np  # only scorers with cases are worth its time

    text = f"cases/{split}".encode() + (b"" if split == "val" else key)
    seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "little")
    return np.random.default_rng(seed)


def _named(made: Sequence[Any], split: str) -> list[tuple[str, Any]]:
    if not made:
        raise ValueError(f"cases({split!r}) yields no case; expected at least one")
    named = [
        (str(data["name"]) if isinstance(data, dict) and "name" in data else str(i), data)
        for i, data in enumerate(made)
    ]
    names = [name for name, _ in named]
    if double := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"cases({split!r}) yields two cases named {min(double)!r}; give each a name of its own")
    return named


def _bytes_of(data: Any) -> bytes:
    try:
        return pack(data)
    except ValueError:  # of an object of the scorer's own, whose text may differ between processes
        return type(data).__qualname__.encode()


def _result(returned: Any, model: CountedModel | None = None) -> dict[str, Any]:
    """Return what ``score`` returned as plain values, an item's with its use of the model.

    Raises ValueError for what is no score.
    """
    score = returned if isinstance(returned, Score) else Score(returned)
    require_ending(score.ending)
    used = model.metrics() if model is not None and score.ending is not None else {}
    metrics = {str(name): _number(value, f"metric {name!r}") for name, value in {**used, **score.metrics}.items()}
    return {
        "ending": score.ending,
        "value": _number(score.value, "score()"),
        "metrics": metrics,
        "feedback": str(score.feedback),
        "certificate": certificate_text(score.certificate),
    }


def _number(value: Any, what: str) -> float:
    """Return a finite number. Raises ValueError for truth values, texts, nan and everything else."""
    if (number := finite_number(value)) is None:
        raise ValueError(
            f"{what} returned {repr(value)[:100]} ({type(value).__name__}); expected a finite number or prepare.Score. "
            "Raise prepare.Invalid for a candidate without a score"
        )
    return number


# ---------------------------------------------------------------- the process


def main(arguments: Sequence[str]) -> None:
    """Serve requests until the driver closes the socket."""
    channel = OneProcess(socket.socket(fileno=int(arguments[0])))
    sys.path.insert(0, arguments[1])
    os.chdir(arguments[1])
    settings = json.loads(arguments[2])
    judge: Judge | None = None
    llm: ModelClient | None = None
    while True:
        try:
            request = channel.receive()
        except EOFError:
            return
        try:
            judge = judge or _judge(settings)
            llm = llm or _agent_model(settings)
            _answer(channel, judge, request, llm)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the task's own fault: it ends the search with this text
            said = {"error": f"{type(error).__name__}: {error}", "traceback": _traceback(error)}
            channel.send({"type": "error"}, pack(said))


def _answer(channel: Channel, judge: Judge, request: Frame, llm: ModelClient | None) -> None:
    split = request.message["split"]
    if request.kind == "cases":
        channel.send({"type": "cases"}, pack(list(judge.case_set(split, request.payload))))
        return
    try:
        for result in judge.score(Handle(channel, llm), split, request.message["seed"], *unpack(request.payload)):
            channel.send({"type": "case"}, pack(result))
        channel.send({"type": "done"})
    except Invalid as invalid:
        channel.send({"type": "invalid"}, pack(str(invalid)))
    except CandidateEnded:
        channel.send({"type": "aborted"})


def _traceback(error: BaseException) -> str:
    """Return an exception's traceback without this module's lines, shortened to its end."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))[-16_000:]


def _judge(settings: Mapping[str, Any]) -> Judge:
    sample = settings["sample"]
    return Judge(_scorer(settings), None if sample is None else (sample[0], sample[1]))


def _scorer(settings: Mapping[str, Any]) -> Any:
    """Return the module of ``score.py``, or the scorer of a command's output."""
    if settings["scorer"] is None:
        from train.program.command import command_score

        asked = settings["command"], settings["checks"], settings["metric"]
        return SimpleNamespace(score=lambda candidate, case: command_score(candidate, *asked))
    module = _module("score", settings["scorer"], "task.scorer")
    if not callable(getattr(module, "score", None)):
        raise AttributeError(f"{settings['scorer']} defines no function score; expected score(candidate, case)")
    return module


def _agent_model(settings: Mapping[str, Any]) -> ModelClient | None:
    """Return the model of the settings; None for a task without one."""
    if settings["llm"] is None:
        return None
    service = typed(LlmService, settings["llm"], "task.llm")
    if settings["live"] or service.file is None:
        return ModelClient(service, None)
    answer = getattr(_module("scripted_model", service.file, "task.llm.scripted"), service.function, None)
    if not callable(answer):
        raise AttributeError(f"{service.file} defines no function {service.function}(prompt, rng), which is asked")
    return ModelClient(service, answer)


def _module(name: str, file: str, key: str) -> Any:
    """Import a file of the task's folder, by its path alone."""
    spec = importlib.util.spec_from_file_location(name, Path(file).resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"{key} is {file!r}; expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[1:])
