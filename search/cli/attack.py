"""``python -m search attack FOLDER``: run cheats made from a task's seed, and report which of them are rewarded.

Writes no archive and asks no model. The exit status is 1 if a cheat got through, or if the honest seed has no score.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence

from archive.records import Failed
from prepare.load import TaskError
from prepare.output import FAILED
from search.attack.judge import CheatVerdict, all_cheats, attack, honest_scores, target_of
from search.cli.terminal import show, show_error
from search.cli.trials import NO_TRIALS, Trials, open_trials, parser


def attack_task(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0 if the honest seed scores and no cheat got through, else 1. Raises SettingsError."""
    options = _options(arguments)
    try:
        return _attack(open_trials(options), options)
    except NO_TRIALS as error:
        show_error(error)
        return FAILED


def _attack(trials: Trials, options: argparse.Namespace) -> int:
    try:
        honest = honest_scores(trials)
    except TaskError as error:
        honest = None
        show(_line("honest seed", "PROBLEM", str(error)))
    if isinstance(honest, Failed):
        show(_line("honest seed", "PROBLEM", f"{honest.outcome}: {honest.reason}"))
    if honest is None or isinstance(honest, Failed):
        show("\nThe honest seed has no score: python -m search check says more.")
        return 1
    show(_line("honest seed", "scored", ", ".join(f"{score:.6g}" for score in honest.scores)))
    cheats = [each for each in all_cheats(trials.task, trials.files) if options.only in (None, each.name)]
    target = target_of(trials, honest, f"attack-{secrets.token_hex(8)}")
    verdicts = []
    for verdict in attack(trials, cheats, target, honest):
        verdicts.append(verdict)
        if verdict.status != "not applicable":
            show(_line(verdict.cheat.name, verdict.status, f"{verdict.cheat.words}: {verdict.words}"))
    return _end(trials, verdicts)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    words = "Run cheats against a task, made from its seed and in its folder cheats/, and report which are rewarded."
    made = parser("attack", words)
    made.add_argument("--only", metavar="CHEAT", help="run one cheat, by the name in the table")
    return made.parse_intermixed_args(arguments)


def _line(name: str, status: str, words: str) -> str:
    return f"{name:<23} {status:<15} {words}"


def _end(trials: Trials, verdicts: Sequence[CheatVerdict]) -> int:
    """Print the number of cheats by their status, and return the exit status."""
    through = [each.cheat.name for each in verdicts if each.status == "GOT THROUGH"]
    others = [each.cheat.name for each in verdicts if each.status == "not applicable"]
    if others:
        show(_line(f"{len(others)} more", "not applicable", f"other languages, or no noise: {', '.join(others)}"))
    tried = len(verdicts) - len(others)
    if not tried:
        show("\nNo cheat was tried.")
        return 1
    if through:
        show(f"\n{len(through)} of {tried} cheats got through: {', '.join(through)}. See docs/tasks.md#attacks.")
        return 1
    show(f"\n{tried} cheats, none got through. Trust of {trials.task.name}: {trials.task.trust}.")
    return 0
