"""agent: a coding agent changes the files of a scored program in a sandboxed folder, and may look around and try.

The agent is the command line ``llm.agent`` of ``llm=claude_code`` and its like. What it leaves in the files that may
change is the candidate, which is checked and scored as every other one. There is no repair turn: the command ``check``
of its folder says what would be refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.base import Context, NoCandidate
from operators.languages.files import Files, editable_files
from operators.llm.base import Answer, InvalidSetting, LanguageModel, LlmError, Unavailable
from operators.llm.command.client import CommandModel
from operators.llm.command.workspace import AgentBudget, WorkingCopy
from operators.llm.meter import CallId, Meter
from operators.rewrite.answers.search_replace import InvalidAnswer, idea_of_change
from operators.rewrite.conversation import require_well_formed
from operators.rewrite.improve import sections_of_scored_program
from operators.rewrite.operator import LlmOperator, PromptContext, require_new_program
from operators.rewrite.prompt.context_files import context_files
from operators.rewrite.prompt.truncation import PromptSections, TooLong
from operators.sanitize import one_line
from prepare.language_model import LanguageModelTask
from prepare.source import normalised
from prepare.task import Task

_IDEA = re.compile(r"^\W{0,4}IDEA:\W{0,3}\s*(\S.*)$", re.MULTILINE)
_REHEARSAL_SECONDS = 3.0


class Agent(LlmOperator):
    """Have a coding agent change a scored program."""

    template = "agent"
    common_templates = ("agent_system",)

    def __init__(
        self,
        llm: Meter,
        name: str | None = None,
        prompts: str | None = None,
        turns: int = 30,
        seconds: float = 900.0,
        dollars: float = 1.0,
        tokens: int = 300_000,
        programs: int = 5,
    ) -> None:
        """Set up the operator.

        Args:
            turns, seconds, dollars: Budget of one run; turns and dollars are limits that the agent itself keeps.
            tokens: What the caps count for a run that reports none.
            programs: How many of the best programs the agent may read.

        Raises:
            ValueError: Invalid templates or numbers.
        """
        super().__init__(llm, name, prompts)
        if turns < 1 or seconds <= 0 or dollars <= 0 or tokens < 1 or programs < 0:
            raise ValueError(f"operators.{self.name}: expected turns, seconds, dollars and tokens above 0")
        self._budget = AgentBudget(turns, seconds, dollars, tokens)
        self._programs = programs

    def accepts(self, tree: Tree, node_id: str) -> bool:
        return tree.scored(node_id)

    def prompt_sections(self, node_id: str, context: Context) -> PromptSections:
        found = sections_of_scored_program(node_id, context)
        numbers = {"turns": str(self._budget.turns), "seconds": f"{self._budget.seconds:g}"}
        return {**found, **numbers, "node": f"`{node_id[:8]}`"}

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        try:
            basis = self.prompt_context(move, context)
        except TooLong as error:
            return NoCandidate(str(error))
        workspace = self._workspace(move.parents[0], basis, context)
        call_id = CallId(context.run, context.move_number, 0, self.name, None, basis.template)
        try:
            answer = self.llm.complete(basis.prompt, call_id, lambda model: _at_work(model, workspace))
        except LlmError as error:
            message = f"no answer: {type(error).__name__}: {one_line(str(error), 500)}"
            return NoCandidate(message, unavailable=isinstance(error, Unavailable))
        try:
            idea, files = _left(answer, basis.parent, context)
        except InvalidAnswer as error:
            return NoCandidate(f"what the agent left cannot be used: {one_line(str(error), 500)}")
        return Candidate(files, move.parents, self.name, idea)

    def _workspace(self, node_id: str, basis: PromptContext, context: Context) -> WorkingCopy:
        task, tree = context.task, context.tree
        with tree.lock:
            found = context_files(tree, node_id, task, self._programs)

        def check(files: Files) -> str | None:
            try:
                _require_usable(_whole(files, basis.parent, task), basis.parent, context)
            except InvalidAnswer as error:
                return f"{error}: {error.shown}" if error.shown else str(error)
            return None

        return WorkingCopy(
            files=basis.parent,
            patterns=task.editable,
            budget=self._budget,
            check=check,
            source_bytes=1000 * task.limits.source_kb,
            beside=task.readonly_files(),
            context={path: self.llm.hide(text) for path, text in found.items()},
            rehearsal=_rehearsal(task),
        )


def _at_work(model: LanguageModel, workspace: WorkingCopy) -> LanguageModel:
    """Return a model as an agent in its workspace. Raises InvalidSetting for one that is none."""
    if not isinstance(model, CommandModel):
        raise InvalidSetting(
            f"operators=agent needs a coding agent, and {model.name} is none; choose llm=claude_code, llm=codex, "
            "llm=gemini_cli, or llm=command with llm.agent"
        )
    return model.at_work(workspace)


def _left(answer: Answer, parent: Files, context: Context) -> tuple[str, dict[str, str]]:
    """Return the idea and the files of an agent's answer. Raises InvalidAnswer."""
    found: dict[str, Any] = json.loads(answer.text)  # written by ``Workspace.collected``
    if (reason := found.get("unreadable")) is not None:
        raise InvalidAnswer(str(reason))
    files = _whole(found["files"], parent, context.task)
    _require_usable(files, parent, context)
    said = _IDEA.findall(found["said"])
    return (one_line(said[-1], 400) if said else idea_of_change(parent, files)), files


def _whole(left: Files, parent: Files, task: Task) -> dict[str, str]:
    """Return a program: the editable files that an agent left, and the parent's others."""
    editable = set(editable_files(task.editable, parent))
    kept = {path: text for path, text in parent.items() if path not in editable}
    return {**kept, **{path: normalised(text) for path, text in left.items()}}


def _require_usable(files: Files, parent: Files, context: Context) -> None:
    require_well_formed(files, context)
    require_new_program(files, parent, context)


def _rehearsal(task: Task) -> dict[str, Any] | None:
    """Return the settings of the smoke test of a program that trains a language model; None for any other."""
    if not isinstance(task, LanguageModelTask):
        return None
    return {"vocab": task.vocab, "context": task.context, "seconds": _REHEARSAL_SECONDS, "budget": task.seconds}
