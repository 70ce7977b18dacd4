"""The audited evaluator with a diary: a line for each evaluation that has ended, before the search hears of it."""

from __future__ import annotations

import threading

from archive.records import Landed, Request, Trained
from prepare.language_model import LanguageModelTask
from train.hardware.slots import Slot
from train.language_model.evaluator import AuditedEvaluator
from train.progress import ProgressCallback
from train.sandbox.base import Sandbox


class DiaryEvaluator(AuditedEvaluator):
    """Real sandboxes; what the archive says afterwards can be held against ``diary``."""

    def __init__(self, task: LanguageModelTask, sandbox: Sandbox, diary: str) -> None:
        super().__init__(task, sandbox)
        self._diary = diary

    def evaluate(self, request: Request, slot: Slot, cancelled: threading.Event, watch: ProgressCallback) -> Landed:
        done = super().evaluate(request, slot, cancelled, watch)
        if done.outcome != "lost" and not isinstance(done, Trained):
            with open(self._diary, "a") as diary:
                diary.write(f"{request.node_id} {request.seed} {request.purpose}\n")
        return done
