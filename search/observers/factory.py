"""Construction of the observers that a configuration names."""

from __future__ import annotations

from operators.llm.meter import Meter
from prepare.config import Part, SettingsError
from prepare.load import TaskError
from search.config import Config
from search.observers.base import Observer
from search.observers.notify import Notifier
from search.observers.overseer import Overseer, Rules
from search.observers.trackers.base import Tracker, Tracking
from search.run.controller import RunController


def observers_of(config: Config, controller: RunController, resumed: bool, meter: Meter | None) -> tuple[Observer, ...]:
    """Return the observers of a session. Raises SettingsError for what cannot be made."""
    found: list[Observer] = []
    if config.notify is not None:
        found.append(Notifier(config.notify, controller, meter))
    if config.tracker is not None:
        name = config.chosen.get("tracker") or config.tracker.target.split(".")[-2]
        found.append(Tracking(name, tracker_of(config.tracker, name), controller, resumed, meter))
    if config.overseer is not None:
        found.append(Overseer(rules_of(config.overseer), controller, meter))
    return tuple(found)


def rules_of(part: Part) -> Rules:
    """Return the rules of an overseer. Raises SettingsError for invalid ones."""
    try:
        made: Rules = part.make()
    except (TypeError, ValueError) as error:
        raise SettingsError(f"overseer cannot be made: {error}") from error
    return made


def tracker_of(part: Part, name: str) -> Tracker:
    """Return a tracker. Raises SettingsError if its library is missing or refuses an option."""
    try:
        made: Tracker = part.make()
    except ImportError as error:
        raise SettingsError(
            f"tracker={name} needs a package that is not installed ({error}): pip install {name}"
        ) from None
    except (TaskError, TypeError, ValueError, OSError) as error:
        raise SettingsError(f"tracker={name} cannot be made: {error}") from error
    return made
