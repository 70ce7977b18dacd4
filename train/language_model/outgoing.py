"""The one place where a candidate's words leave an evaluation: for the archive, the screen, the next prompt.

A program can learn evaluation text where sandboxes are not separate (docs/limits.md), and hand it on by printing or
raising it: into the archive, where anybody looks, and into prompts, from which a later program has it by heart. So
reasons and logs are compared with the evaluation splits, as sources are before a run
(``train.language_model.static_checks``), and withheld if they quote one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from train.language_model.decoded_literals import decoded_output
from train.language_model.program import AmbiguousSource, NormalForm
from train.language_model.static_checks import StaticChecks

WITHHELD = "(withheld: what the program said holds text of an evaluation split, or cannot be compared with it)"


@dataclass(frozen=True)
class OutgoingText:
    """Clears the reason and the log of one evaluation."""

    checks: StaticChecks
    program: Mapping[str, NormalForm]
    """What the sandboxes got of each file; empty if nothing was run."""

    def cleared(self, text: str) -> str:
        """Return a text with the line numbers of the source, or WITHHELD."""
        if self._quotes(text):
            return WITHHELD
        for path, form in self.program.items():
            text = form.in_source(path, text)
        return text

    def _quotes(self, text: str) -> bool:
        try:
            return self.checks.quotes(decoded_output(text))
        except (AmbiguousSource, OSError):  # OSError: the training split, whose text is public, cannot be read
            return True
