"""Parsimony: which scores count as equal, which programs as short, and which finalist a claim reports on."""

from __future__ import annotations

import pytest
from growing import Growth
from test_claim import PLAN, Runs, names

from archive.records import Replicate
from search.claims.claim import next_moves, verdict
from search.claims.parsimony import Standing, code_size, equal, shortest_equal
from search.config import ClaimPlan

SHORT = "A = 1\n"
LONG = "A = 1\nB = A + 1\nC = A * B\n"


def size(text: str) -> int:
    return code_size({"train.py": text})


# ---------------------------------------------------------------- what counts


def test_layout_words_and_digits_are_no_length() -> None:
    plain = "def f(x):\n    return 0.001 * x\n"
    dressed = '"""Why."""\n# note\ndef a_long_name(argument):\n    """Doc."""\n    return (0.0031415 * argument)\n'
    assert size(plain) == size(dressed)
    assert size(plain) < size("def f(x):\n    return 0.001 * x + 1\n")
    assert code_size({"train.py": SHORT, "more.py": LONG}) == size(SHORT) + size(LONG)


def test_what_does_not_parse_counts_its_words() -> None:
    assert size("def f(:\n") == 2
    assert code_size({"notes.md": "three short words"}) == 3


def test_equal_is_half_a_standard_error_of_the_difference() -> None:
    best = Standing("a", 3.0, 1)
    assert equal(best, Standing("b", 3.0 + 0.99 * 0.5 * 0.1 * 2**0.5, 1), sigma=0.1)
    assert not equal(best, Standing("b", 3.0 + 1.01 * 0.5 * 0.1 * 2**0.5, 1), sigma=0.1)
    assert not equal(best, Standing("b", 3.06, 4), sigma=0.1), "more runs tell more apart"
    assert not equal(best, Standing("b", 3.0001, 1), sigma=None)
    assert equal(best, Standing("b", 3.0, 1), sigma=None)


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_the_shortest_of_those_equal_to_the_best(direction: str) -> None:
    sign = 1 if direction == "minimise" else -1
    sizes = {"best": 50, "short": 40, "shorter but worse": 10, "short and a little worse": 40}
    scores = {"best": 3.0, "short": 3.02, "shorter but worse": 3.2, "short and a little worse": 3.03}
    standings = [Standing(name, sign * score, 1) for name, score in scores.items()]
    preferred, best = shortest_equal(standings, sizes.__getitem__, direction, sigma=0.1)  # type: ignore[arg-type]
    assert (preferred.node_id, best.node_id) == ("short", "best")
    preferred, best = shortest_equal(standings, lambda node_id: 7, direction, sigma=0.1)  # type: ignore[arg-type]
    assert preferred == best, "at equal length the better mean"


def test_equal_steps_do_not_add_up() -> None:
    """Each is equal to the one before, and shorter: only those equal to the best count."""
    chain = [Standing(str(i), 3.0 + 0.06 * i, 1) for i in range(10)]
    preferred, _ = shortest_equal(chain, lambda node_id: 100 - int(node_id), "minimise", sigma=0.1)
    assert preferred.node_id == "1"


# ---------------------------------------------------------------- in a claim


def grown(*children: tuple[float, str]) -> tuple[Growth, list[str]]:
    """A root with a deviation of 0.1 and a mean of 3.4, and children with their programs."""
    growth = Growth()
    growth.root(3.3, 3.4, 3.5)
    return growth, [growth.child(score, text=text) for score, text in children]


def test_finalists_are_chosen_by_score_alone() -> None:
    growth, (a, b, c, _) = grown((3.0, LONG), (3.01, LONG), (3.02, LONG), (3.021, SHORT))
    moves = next_moves(growth.tree, PLAN)
    assert {node_id for node_id, _ in names(moves)} == {a, b, c}
    assert moves[0].reason == "finalist 1 of 3: mean screening score 3 in 1 run"


def test_a_lone_finalist_is_the_best_however_long() -> None:
    growth, (a, _) = grown((3.0, LONG), (3.01, SHORT))
    assert {n for n, _ in names(next_moves(growth.tree, ClaimPlan(candidates=1)))} == {a, growth.tree.root}


def test_the_nominee_is_the_shortest_that_is_equal_to_the_best_confirmed() -> None:
    growth, (a, b) = grown((3.0, LONG), (3.01, SHORT))
    runs = Runs(growth, PLAN)
    end = runs.play(
        {
            (a, "confirm"): [3.00, 3.01],
            (b, "confirm"): [3.01, 3.02],
            (b, "report"): [3.0, 3.01, 3.02, 3.0],
            (growth.tree.root, "report"): [3.4, 3.41, 3.4, 3.42],
        }
    )
    assert (end.kind, end.node_id) == ("champion", b)
    shorter = f"shorter ({size(SHORT)} syntax nodes against {size(LONG)}) and equal within noise to {a[:8]}"
    assert f"; {b[:8]} was preferred: {shorter}, the best of 2 finalists on fresh seeds" in end.reason
    said = {r.move.reason for r in growth.tree.moves.values() if isinstance(r.move, Replicate) and r.move.node_id == b}
    assert f"would-be champion, {shorter}, the best of 2 finalists on fresh seeds" in said
    assert not any(f"{score:.2f}" in reason for reason in said for score in (3.015, 3.005)), "no figure of select"


def test_a_clearly_better_finalist_wins_however_long() -> None:
    growth, (a, b) = grown((3.0, LONG), (3.01, SHORT))
    for move in next_moves(growth.tree, PLAN):
        growth.land(growth.choose(move), 2.9 if move.node_id == a else 3.0)
    moves = next_moves(growth.tree, PLAN)
    assert moves[0].reason == "would-be champion: the best of 2 finalists on fresh seeds"
    assert {move.node_id for move in moves} == {a, growth.tree.root}
    assert b not in {move.node_id for move in moves}
    assert verdict(growth.tree, PLAN) is None
