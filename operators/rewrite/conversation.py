"""A conversation with a language model: a prompt from templates, an answer that is checked, one repair turn.

The prompt is ordered by how long its parts last, so that providers can cache its beginning: the system text is the same
for a whole search, then comes what belongs to the parent, then what changes from call to call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from operators.base import Context, NoCandidate
from operators.languages.files import Files, editable_files, require_parsable
from operators.languages.syntax import Unparsable
from operators.llm.base import Answer, LlmError, Message, Prompt, Unavailable
from operators.llm.meter import CallId, Meter
from operators.rewrite.answers.search_replace import InvalidAnswer
from operators.rewrite.prompt.about import system_sections
from operators.rewrite.prompt.templates import Templates
from operators.rewrite.prompt.truncation import PromptSections, fit, tokens
from operators.sanitize import one_line, quote, visible

TURNS = 2
_BEGINNING = 400
"""Characters of a cut-off answer that are repeated in the repair turn."""
_MARGIN = 50
"""Tokens that providers add around a message."""

Result = TypeVar("Result")


def build_prompt(
    templates: Templates, name: str, parts: PromptSections, context: Context, limit: int, system_name: str = "system"
) -> Prompt:
    """Return the prompt of a template with its sections, shortened to ``limit`` tokens. Raises TooLong."""
    tree = context.tree
    first = tree[tree.root].candidate.files if len(tree) else {}
    system = templates.render(system_name, system_sections(context.task, first, context.program))
    wanted = templates.placeholders(name)
    used = tokens(system) + tokens(templates.text(name)) + _MARGIN
    texts = fit({key: part for key, part in parts.items() if key in wanted}, used, limit)
    stable, rest = templates.render_halves(name, texts)
    return Prompt(system, (Message("user", rest, stable.strip()),))


def ask_with_repair(
    llm: Meter,
    prompt: Prompt,
    call_id: Callable[[int], CallId],
    templates: Templates,
    read: Callable[[Answer, bool], Result],
) -> Result | NoCandidate:
    """Ask for an answer and return what ``read`` makes of it; ask once more if ``read`` raises ``InvalidAnswer``.

    Args:
        call_id: Identifies the call of a turn (0 or 1).
        read: Gets an answer and whether it is the last one.

    Every call is recorded and paid for, whatever its result.
    """
    reason = ""
    for turn in range(TURNS):
        try:
            answer = llm.complete(prompt, call_id(turn))
        except LlmError as error:
            message = f"no answer: {type(error).__name__}: {one_line(str(error), 500)}"
            return NoCandidate(message, unavailable=isinstance(error, Unavailable))
        try:
            return read(answer, turn == TURNS - 1)
        except InvalidAnswer as error:
            reason = one_line(f"{error}: {error.shown}" if error.shown else str(error), 500)
            prompt = prompt.followed_by(_repeated(answer), _repair_request(templates, error))
    return NoCandidate(f"the answer could not be used, and one repair did not help: {reason}")


def _repair_request(templates: Templates, error: InvalidAnswer) -> str:
    shown = quote(visible(error.shown), "text", keep="head") if error.shown else ""
    return templates.render("repair", {"reason": one_line(str(error), 500), "shown": shown})


def _repeated(answer: Answer) -> str:
    """Return the part of an answer that the repair turn repeats: only the beginning of a cut-off one.

    All of it would cost as much again, and a small model would only copy it.
    """
    return f"{answer.text[:_BEGINNING]}\n[...]" if answer.cut_off else answer.text


def require_complete(answer: Answer) -> None:
    """Raise ``InvalidAnswer`` for an answer that ended at the token limit."""
    if answer.cut_off:
        raise InvalidAnswer(
            "the answer was cut off at the limit of tokens; give a shorter one, with few and small blocks"
        )


def require_well_formed(files: Files, context: Context) -> None:
    """Raise ``InvalidAnswer`` for files that are too long or do not parse."""
    limit = 1000 * context.task.limits.source_kb
    root = context.tree[context.tree.root].candidate.files
    for path in editable_files(context.task.editable, files):
        size = len(files[path].encode("utf-8", "replace"))
        if size > limit:
            raise InvalidAnswer(f"{path} would have {size:,} bytes; {limit:,} are allowed")
        try:
            require_parsable({path: files[path]}, [root])
        except Unparsable as error:
            raise InvalidAnswer("the changed file does not parse", str(error)) from None
