"""How many proposals are prepared ahead: the rule, what feeds it, and a simulation of what it is for."""

from __future__ import annotations

import heapq
from itertools import count

import numpy as np
import pytest

from search.run.lookahead import SAFETY, Lookahead, Outage, proposals_ahead


def test_the_rule_by_hand() -> None:
    assert proposals_ahead(1, 10.0, 10.0, 1.0, SAFETY) == 3  # m = 1: 1 + 1.5
    assert proposals_ahead(2, 10.0, 20.0, 1.0, SAFETY) == 7  # m = 4: 4 + 3
    assert proposals_ahead(2, 10.0, 20.0, 0.5, SAFETY) == 13  # m = 8: 8 + 4.2
    assert proposals_ahead(2, 10.0, 20.0, 1.0, 0.0) == 4


def test_a_fast_model_still_gets_one_for_each_slot() -> None:
    assert proposals_ahead(4, 300.0, 1.0, 1.0, SAFETY) == 4


def test_nonsense_from_a_dead_model_or_an_instant_evaluation_stays_finite() -> None:
    assert proposals_ahead(1, 10.0, 10.0, 0.0, SAFETY) == proposals_ahead(1, 10.0, 10.0, 0.25, SAFETY) == 7
    assert proposals_ahead(1, 0.0, 1.0, 1.0, 0.0) == 1000


def test_what_is_assumed_until_it_is_measured() -> None:
    lookahead = Lookahead(3)
    assert lookahead.wanted(0.0) == 6
    lookahead.record_evaluation(300.0)
    assert lookahead.wanted(0.0) == proposals_ahead(3, 300.0, 300.0, 1.0, SAFETY) == 6
    assert lookahead.wanted(900.0) == proposals_ahead(3, 300.0, 900.0, 1.0, SAFETY) == 14, "it takes longer"
    lookahead.record_proposal(60.0, usable=True)
    assert lookahead.wanted(900.0) == 3, "one that is late says nothing against the mean"


def test_old_measurements_are_forgotten() -> None:
    lookahead = Lookahead(1)
    lookahead.record_evaluation(10.0)
    for seconds in [1000.0] * 5 + [1.0] * 32:
        lookahead.record_proposal(seconds, usable=True)
    assert lookahead.wanted(0.0) == 1


def test_an_outage_is_probed_one_call_at_a_time_after_ever_longer_pauses() -> None:
    outage = Outage()
    assert outage.allows(0.0, in_flight=5)
    assert not outage.paused(0.0)
    pauses, now = [], 0.0
    for _ in range(9):
        outage.record(unavailable=True, now=now)
        assert outage.paused(now)
        pauses.append(next(s for s in range(1, 100) if outage.allows(now + s, in_flight=0)))
        now += pauses[-1]
        assert not outage.paused(now)
        assert not outage.allows(now, in_flight=1)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    outage.record(unavailable=False, now=now)
    assert outage.allows(now, in_flight=5)


def busy_share(slots: int, ratio: float, spread: float, refused: float, fixed: int | None = None) -> float:
    """The share of time that slots are busy in 300 simulated evaluations; ``ratio`` is latency to evaluation."""
    rng, order, lookahead = np.random.default_rng(0), count(), Lookahead(slots)
    events: list[tuple[float, int, float, bool | None]] = []
    now, busy, landed, ready, pending, free = 0.0, 0.0, 0, 0, 0, slots
    while landed < 300:
        while ready + pending < free + (lookahead.wanted(now) if fixed is None else fixed):
            seconds = ratio * float(np.exp(spread * rng.normal() - spread**2 / 2))
            heapq.heappush(events, (now + seconds, next(order), seconds, bool(rng.random() >= refused)))
            pending += 1
        while free and ready:
            seconds = float(rng.uniform(0.9, 1.1))
            heapq.heappush(events, (now + seconds, next(order), seconds, None))
            busy, ready, free = busy + seconds, ready - 1, free - 1
        now, _, seconds, usable = heapq.heappop(events)
        if usable is None:
            landed, free = landed + 1, free + 1
            lookahead.record_evaluation(seconds)
        else:
            pending, ready = pending - 1, ready + usable
            lookahead.record_proposal(seconds, usable)
    return busy / (slots * now)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize(("spread", "refused"), [(0.0, 0.0), (0.0, 0.2), (0.6, 0.2), (1.0, 0.2)])
def test_slots_stay_busy(slots: int, ratio: float, spread: float, refused: float) -> None:
    assert busy_share(slots, ratio, spread, refused) >= 0.95


def test_one_proposal_for_each_slot_would_not_do() -> None:
    assert busy_share(1, 1.0, 0.6, 0.2, fixed=1) < 0.85
