"""The overseer: it tells before it ends a search, and each of its decisions is an event."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from test_observers import SEED, run, toy

import search
from prepare.config import SettingsError
from search.observers.overseer import Overseer, Rules

RULES = ("overseer=rules", "policy.widening.stop_after=100")


def decisions(events: list[Any]) -> list[str]:
    return [message.partition(":")[0] for kind, message, _ in events if kind == "overseer"]


def test_no_gain_is_told_and_then_ends_the_search_with_its_claim() -> None:
    flat = search.OwnTask(lambda request: 1.0, SEED, direction="minimise", name="flat")
    events = run(flat, *RULES, "overseer.no_gain=5", "overseer.grace=4", budget=60)
    assert decisions(events) == ["notify, no_gain", "cancel, no_gain"]
    assert next(m for kind, m, _ in events if kind == "searched") == (
        "The search stopped: the overseer ended it: 9 screenings without a new leader"
    )


def test_repeated_failures_are_told_and_cleared_where_they_end() -> None:
    told = decisions(run(toy(fails_after=4), *RULES, "overseer.repeated=3", "overseer.grace=3", budget=40))
    assert told == ["notify, repeated", "cancel, repeated"]


@pytest.mark.slow
def test_a_search_that_gains_is_left_alone() -> None:
    assert decisions(run(toy(), *RULES)) == []
    assert decisions(run(toy(better=False))) == [], "there is none without asking"


@pytest.mark.parametrize("setting", ["overseer.grace=0", "overseer.no_gain=-1", "overseer.hours=true"])
def test_wrong_rules_are_refused(setting: str) -> None:
    with pytest.raises(SettingsError, match="expected a number above 0, or null"):
        run(toy(), "overseer=rules", setting)


# ---------------------------------------------------------------- money and time, with a clock of one's own


class World:
    """A controller, a meter and a clock as far as the overseer looks at them."""

    def __init__(self, rules: Rules) -> None:
        self.now, self.said = 0.0, []  # type: ignore[var-annotated]
        self.spending = SimpleNamespace(charged_dollars=0.0)
        node = SimpleNamespace(candidate=SimpleNamespace(operator="tune"))
        tree = type("Tree", (dict,), {"leader": lambda self: "a"})(a=node)
        self.engine = SimpleNamespace(tree=tree, journal=self, stopped=None)
        meter: Any = SimpleNamespace(spending=self.spending, priced=True)
        self.overseer = Overseer(rules, self, meter, lambda: self.now)  # type: ignore[arg-type]

    def note(self, kind: str, message: str, detail: Any) -> None:
        self.said.append((detail["rule"], detail["action"]))
        json.dumps(detail)

    def land(self, seconds: float, dollars: float = 0.0) -> None:
        self.now += seconds
        self.spending.charged_dollars += dollars
        request = SimpleNamespace(purpose="screen", node_id="a")
        self.overseer.landed(self, SimpleNamespace(request=request, outcome="scored"))  # type: ignore[arg-type]


def test_a_spend_rate_is_told_and_cleared_when_it_falls() -> None:
    world = World(Rules(no_gain=None, dollars_per_hour=2.0, grace=3))
    world.land(600, 1.0)  # $6 an hour
    world.land(3600, 0.0)  # $0.86 an hour
    assert world.said == [("spend_rate", "notify"), ("spend_rate", "clear")]
    assert world.engine.stopped is None


def test_the_wall_clock_ends_a_session_after_its_grace() -> None:
    world = World(Rules(no_gain=None, hours=1.0, grace=2))
    for _ in range(4):
        world.land(1500)
    assert world.said == [("wall_clock", "notify")]
    world.land(1500)
    assert world.said[-1] == ("wall_clock", "cancel")
    assert str(world.engine.stopped).startswith("the overseer ended it: the session has lasted 2.08 hours")
    world.land(1500)
    assert len(world.said) == 2, "it is ended once"
