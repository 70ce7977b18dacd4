"""Is it true what ``python -m search explain`` says of constants? On tables of trainings the truth can be looked up.

    python tests/benchmarks/explain.py [--quick] [--seeds 4] [--workers 2] [--held-out]

After searches of 100 evaluations the leader is explained. Of each constant in which it differs from the root, ``helps``
is right if the leader is truly better than with the root's value, in the mean over the seeds of the table.
``--held-out``: HPOLib, on which the model was not developed. The last line is one JSON object: how often what was said,
and how often that was wrong.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
from playing import in_processes
from policies import player

from operators.languages.parameters import read_parameters
from operators.numeric.parameter_effects import explain_parameters
from search.playing import tables
from search.playing.game import PATH, Game


@dataclass(frozen=True)
class Job:
    place: tuple[str, str]
    seed: int


def run(job: Job) -> Counter[str]:
    """How often each verdict was given at the leader of one search, and how often wrongly."""
    table = tables.load(*job.place)
    means = np.nanmean(table.scores, axis=1)
    game = Game(table, player("ucb"), job.seed)
    game.search(100, 1)
    leader, root = (
        read_parameters(game.tree[node_id].candidate.files[PATH])
        for node_id in (game.tree.leader() or game.tree.root, game.tree.root)
    )
    found = explain_parameters(game.tree, game.tree.leader() or game.tree.root)
    said: Counter[str] = Counter()
    for effect in () if found is None else found.effects:
        back = {**leader, effect.name: root[effect.name]}
        truth = float(means[table.place(table.setting(back))] - means[table.place(table.setting(leader))])
        said[effect.verdict] += 1
        said[f"{effect.verdict}, wrongly"] += (effect.verdict, truth > 0) in (("helps", False), ("does harm", True))
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="searches on each table (default 4)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--quick", action="store_true", help="two tables and 2 seeds: a look, not a result")
    parser.add_argument("--held-out", action="store_true", help="HPOLib instead of the tables that it was developed on")
    options = parser.parse_args()
    places = [place for place in tables.names() if (place[0] not in tables.DEVELOPED_ON) == options.held_out]
    if options.quick:
        places, options.seeds = places[:2], 2
    jobs = [Job(place, seed) for place in places for seed in range(options.seeds)]
    said = sum(in_processes(run, jobs, options.workers), Counter())
    line = {verdict: [said[verdict], said[f"{verdict}, wrongly"]] for verdict in ("helps", "does harm")}
    print(json.dumps({**line, "not clear": said["not clear"], "seeds": options.seeds, "held_out": options.held_out}))


if __name__ == "__main__":
    main()
