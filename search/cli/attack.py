"""``python -m search attack FOLDER``: run cheats made from a task's seed, and report which of them are rewarded.

Writes no archive and asks no model. The exit status is 1 if a cheat got through, or if the honest seed has no score.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator, Sequence

from archive.records import Failed
from prepare.load import TaskError
from prepare.output import FAILED
from search.attack.judge import CheatVerdict, Honest, all_cheats, attack, honest_scores, target_of
from search.cli.terminal import show, show_error, show_json
from search.cli.trials import NO_TRIALS, Trials, open_trials, parser


def attack_task(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0 if the honest seed scores and no cheat got through, else 1. Raises SettingsError."""
    options = _options(arguments)
    try:
        return (_attack_as_json if options.json else _attack)(open_trials(options), options)
    except NO_TRIALS as error:
        show_error(error)
        return FAILED


def _attack_as_json(trials: Trials, options: argparse.Namespace) -> int:
    """Print the verdicts as one object. Returns 1 if a cheat got through, or if none was tried."""
    honest, problem = _honest(trials)
    verdicts = [] if honest is None else list(_verdicts(trials, honest, options))
    rows = [{"cheat": v.cheat.name, "status": v.status, "what": v.cheat.words, "reason": v.words} for v in verdicts]
    scores = None if honest is None else list(honest.scores)
    show_json({"honest": scores, "problem": problem or None, "trust": trials.task.trust, "cheats": rows})
    tried = [verdict for verdict in verdicts if verdict.status != "not applicable"]
    return 0 if tried and all(verdict.status != "GOT THROUGH" for verdict in tried) else 1


def _attack(trials: Trials, options: argparse.Namespace) -> int:
    honest, problem = _honest(trials)
    if honest is None:
        show(_line("honest seed", "PROBLEM", problem))
        show("\nThe honest seed has no score: python -m search check says more.")
        return 1
    show(_line("honest seed", "scored", ", ".join(f"{score:.6g}" for score in honest.scores)))
    verdicts = []
    for verdict in _verdicts(trials, honest, options):
        verdicts.append(verdict)
        if verdict.status != "not applicable":
            show(_line(verdict.cheat.name, verdict.status, f"{verdict.cheat.words}: {verdict.words}"))
    return _end(trials, verdicts)


def _honest(trials: Trials) -> tuple[Honest | None, str]:
    """Return the scores of the honest seed, or None and why there are none."""
    try:
        found = honest_scores(trials)
    except TaskError as error:
        return None, str(error)
    return (None, f"{found.outcome}: {found.reason}") if isinstance(found, Failed) else (found, "")


def _verdicts(trials: Trials, honest: Honest, options: argparse.Namespace) -> Iterator[CheatVerdict]:
    cheats = [each for each in all_cheats(trials.task, trials.files) if options.only in (None, each.name)]
    target = target_of(trials, honest, f"attack-{secrets.token_hex(8)}")
    yield from attack(trials, cheats, target, honest)


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
    counted = f"{tried} cheat{'' if tried == 1 else 's'}"
    show(f"\n{counted}, none got through. Trust of {trials.task.name}: {trials.task.trust}.")
    return 0
