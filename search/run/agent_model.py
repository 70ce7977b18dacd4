"""The search's language model as the agents of a task ask it: metered, capped and recorded like the operators' calls.

A call's row in ``llm_calls`` has the operator ``agent`` and the move of the evaluation. When an evaluation is repeated
after an interruption, the answers to the same prompts are replayed: what was paid for is not paid for again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from archive.llm_calls import LlmCall
from archive.records import AGENT, Request
from operators.llm.base import (
    Answer,
    AnswerRefused,
    CallId,
    LlmError,
    Message,
    NoText,
    Prompt,
    RequestRefused,
)
from operators.llm.meter import Meter
from train.program.model import ModelReply, ModelUnavailable, tokens_of

FIRST_TURN = 1000
"""Turn of an evaluation's first call: those of the operator that proposed its node, in the same move, are below."""

Paid = Callable[[str, int], Sequence[LlmCall]]
"""(run, move) -> recorded calls of agents in an evaluation, in their order."""


def nothing_paid(run: str, move: int) -> Sequence[LlmCall]:
    """Return no calls: of an evaluation that is not archived."""
    return ()


class AgentModel:
    """A meter as ``train.program.model.ModelService``. Thread-safe as the meter is."""

    def __init__(self, meter: Meter, name: str, paid: Paid = nothing_paid) -> None:
        self.name = name
        self._meter = meter
        self._paid = paid

    def session(self, request: Request) -> AgentSession:
        """Return what answers the agent of one evaluation."""
        return AgentSession(self._meter, request, self._paid(request.run, request.move))


class AgentSession:
    """Answers the prompts of one evaluation; implements ``train.program.model.ModelSession``."""

    def __init__(self, meter: Meter, request: Request, paid: Sequence[LlmCall]) -> None:
        self._meter = meter
        self._request = request
        self._turn = FIRST_TURN + len(paid)
        self._answers: dict[str, deque[LlmCall]] = defaultdict(deque)
        for call in paid:
            if call.outcome != "failed":
                self._answers[call.prompt].append(call)

    def __call__(self, prompt: str, system: str) -> ModelReply:
        """Return the answer to a prompt. Raises ModelUnavailable for what is not the prompt's fault."""
        asked = Prompt(system, (Message("user", prompt),))
        if waiting := self._answers.get(asked.text):
            call = waiting.popleft()
            refused = call.reason if call.outcome == "refused" else ""
            return _reply(asked, call.answer, (call.tokens_in, call.tokens_out), call.seconds, call.dollars, refused)
        self._turn += 1
        call_id = CallId(self._request.run, self._request.move, self._turn, AGENT)
        try:
            return _answered(asked, self._meter.complete(asked, call_id))
        except NoText as empty:
            return _refused(asked, empty.answer, "")
        except AnswerRefused as refusal:
            return _refused(asked, refusal.answer, str(refusal))
        except RequestRefused as refusal:
            return _refused(asked, None, str(refusal))
        except LlmError as error:
            raise ModelUnavailable(str(error)) from error


def _answered(asked: Prompt, answer: Answer, refused: str = "") -> ModelReply:
    tokens = answer.tokens_in, answer.tokens_out
    return _reply(asked, answer.text, tokens, answer.seconds, answer.dollars, refused)


def _refused(asked: Prompt, answer: Answer | None, reason: str) -> ModelReply:
    return ModelReply("", 0, refused=reason) if answer is None else _answered(asked, answer, reason)


def _reply(
    asked: Prompt,
    text: str,
    tokens: tuple[int | None, int | None],
    seconds: float,
    dollars: float | None,
    refused: str = "",
) -> ModelReply:
    """Return a reply; tokens that were not reported are estimated."""
    sent, got = tokens
    total = (tokens_of(asked.text) if sent is None else sent) + (tokens_of(text) if got is None else got)
    return ModelReply(text, total, seconds, dollars, refused)
