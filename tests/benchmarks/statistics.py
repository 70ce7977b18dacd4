"""May a champion be believed? Searches whose truth is known, through the real policy, engine, claim and archive.

    python tests/benchmarks/statistics.py [--quick] [--seed 0]

Only the trainings are simulated: a score is a node's true mean plus normal noise of one sigma; see
tests/support/simulated.py. 1,000 searches each, or fewer where it says so:

    null_12, null_100   12 candidates under the default budget of 29 trainings, and 100 with an ample one; all of them
                        equal the root
    mixed_12, mixed_100 a child is its parent plus a step of mean -0.5 and deviation 0.7 sigma, and each has a seed
                        deviation of its own between 0.5 and 2 sigma (300 searches of 100)
    power_G             12 candidates, all of them better than the root by G sigma (500 searches each)
    asked               the same with gains of 1.5 sigma, which the claim is told is the smallest gain worth claiming,
                        and a budget that can pay for it (300 searches)

Keys of the last line, one JSON object:

    false_champion      share of null searches that declare a champion: none is better than the root, so all are false;
                        also by scenario: false_champion_null_12 ...; mixed: true mean not better than the root's
    coverage            share of the reported 95% intervals that hold the true gain; null and mixed searches together,
                        and by scenario
    bias_sigma          mean of reported less true gain, in sigma, of all that was reported; bias_error is its standard
                        error; bias_champions_sigma is that of champions alone in the mixed searches, who are chosen for
                        being significant and so look better than they are
    power_1 .. power_4  share of searches that declare a champion; power_asked (0.8 are asked for), seeds_asked
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "statistics":  # a script beside this one wants the standard library's module of that name
    _found = importlib.util.spec_from_file_location(__name__, Path(sysconfig.get_path("stdlib")) / "statistics.py")
    assert _found is not None
    assert _found.loader is not None
    sys.modules[__name__] = _module = importlib.util.module_from_spec(_found)
    _found.loader.exec_module(_module)
else:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

    import argparse
    import json
    import math
    import time
    from collections.abc import Mapping, Sequence
    from dataclasses import dataclass, replace

    from simulated import Result, Scenario, Simulator, bias, coverage, false_champions, share

    WORTH = 2.86
    """The smallest gain worth claiming, in sigma: that of the default task on a quiet machine."""
    AMPLE = 1000
    ASKED = 1.5

    @dataclass(frozen=True)
    class Series:
        """Searches of one kind."""

        name: str
        scenario: Scenario
        searches: int
        quick: int

    def series(simulator: Simulator) -> list[Series]:
        """All of them, the required ones first."""
        plan = replace(simulator.claim, smallest_gain=WORTH)
        small = Scenario(12, lambda rng, parent: 0.0, plan, simulator.evaluations)
        large = replace(small, candidates=100, evaluations=AMPLE)
        mixed = {
            "step": lambda rng, parent: parent + rng.normal(-0.5, 0.7),
            "deviation": lambda rng: rng.uniform(0.5, 2.0),
        }
        found = [
            Series("null_12", small, 1000, 80),
            Series("null_100", large, 1000, 8),
            Series("mixed_12", replace(small, **mixed), 1000, 40),
            Series("mixed_100", replace(large, **mixed), 300, 4),
        ]
        for gain in (1, 2, 4):
            scenario = replace(small, step=lambda rng, parent, gain=gain: float(gain))
            found.append(Series(f"power_{gain}", scenario, 500, 20))
        asked = replace(
            small, step=lambda rng, parent: ASKED, plan=replace(plan, smallest_gain=ASKED), evaluations=AMPLE
        )
        return [*found, Series("asked", asked, 300, 20)]

    def report(results: Mapping[str, Sequence[Result]]) -> dict[str, float]:
        """The figures of the last line."""
        figures: dict[str, float] = {}
        nulls = [*results["null_12"], *results["null_100"]]
        mixed = [*results["mixed_12"], *results["mixed_100"]]
        figures["false_champion"] = false_champions(nulls)
        figures["coverage"] = coverage([*nulls, *mixed])
        figures["bias_sigma"], figures["bias_error"] = bias([*nulls, *mixed])
        for name in ("null_12", "null_100", "mixed_12", "mixed_100"):
            found = results[name]
            figures[f"searches_{name}"] = len(found)
            figures[f"false_champion_{name}"] = false_champions(found)
            figures[f"coverage_{name}"] = coverage(found)
            figures[f"bias_sigma_{name}"], figures[f"bias_error_{name}"] = bias(found)
        figures["bias_champions_sigma"] = bias([one for one in mixed if one.champion])[0]
        for name, found in results.items():
            if name.startswith("power_"):
                figures[name] = share([one.champion for one in found])
        figures["power_asked"] = share([one.champion for one in results["asked"]])
        figures["seeds_asked"] = sum(one.seeds for one in results["asked"]) / len(results["asked"])
        return figures

    def table(results: Mapping[str, Sequence[Result]]) -> str:
        """One line for each series."""
        lines = [f"{'':<10} searches  candidates  seeds  champions   false   coverage   bias (sigma)"]
        for name, found in results.items():
            middle, error = bias(found)
            seeds = sum(one.seeds for one in found) / len(found)
            tried = sum(one.screened for one in found) / len(found)
            champions = share([one.champion for one in found])
            lines.append(
                f"{name:<10} {len(found):>8}  {tried:>10.0f}  {seeds:>5.1f}  {champions:>9.1%}  "
                f"{false_champions(found):>6.1%}  {coverage(found):>8.1%}   {middle:+.3f} +- {error:.3f}"
            )
        return "\n".join(lines)

    def main() -> None:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true", help="far fewer searches: under a minute")
        parser.add_argument("--seed", type=int, default=0, help="of the simulation")
        options = parser.parse_args()
        simulator, results = Simulator(), dict[str, list[Result]]()
        for number, one in enumerate(series(simulator)):
            began, count = time.monotonic(), one.quick if options.quick else one.searches
            results[one.name] = list(simulator.results(one.scenario, count, 100 * options.seed + number))
            print(f"{one.name}: {count} searches in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        print(table(results))
        figures = report(results) | {"quick": options.quick}
        print(json.dumps({name: None if math.isnan(value) else round(value, 4) for name, value in figures.items()}))

    if __name__ == "__main__":
        main()
