"""reflexion: a language model proposes a change, and reflects on its novelty and mistakes before it is evaluated.

Each round continues the conversation with the proposal so far. The model answers with another proposal, or with
``KEEP``. What was accepted stands where a round gives nothing that can be used, or the caps allow no further call.

Calls are turns of the same move: the proposal and its repair are turns 0 and 1, those of round n are 2n and 2n + 1. So
the ledger has them all, and an interrupted proposal replays the rounds that were paid for.

Source: ADAS (Hu, Lu, Clune 2025, "Automated design of agentic systems"), with two rounds; Shinn et al. 2023.
"""

from __future__ import annotations

from archive.records import Propose
from operators.base import Context, NoCandidate
from operators.llm.meter import Meter
from operators.rewrite.conversation import TURNS
from operators.rewrite.improve import Improve
from operators.rewrite.operator import Accepted, PromptContext


class Reflexion(Improve):
    """Ask for one change as ``improve`` does, then have the model reflect on it ``rounds`` times."""

    more_templates = (*Improve.more_templates, "reflexion")

    def __init__(self, llm: Meter, name: str = "reflexion", prompts: str | None = None, rounds: int = 2) -> None:
        """Raises ValueError for less than one round or invalid templates."""
        super().__init__(llm, name, prompts)
        if rounds < 1:
            raise ValueError(f"operators.{self.name}.rounds is {rounds}; expected at least 1. Without any, use improve")
        self.rounds = rounds

    def refine(self, made: Accepted, basis: PromptContext, move: Propose, context: Context) -> Accepted:
        """Return the proposal after the rounds, which end early where nothing is to be changed."""
        for number in range(1, self.rounds + 1):
            request = self.templates.render("reflexion", {"round": str(number), "rounds": str(self.rounds)})
            prompt = basis.prompt.followed_by(made.text, request)
            again = self.ask(basis, prompt, TURNS * number, move, context, kept=made)
            if isinstance(again, NoCandidate) or again is made:
                break
            made = again
        return made
