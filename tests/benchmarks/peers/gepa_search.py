"""A search by GEPA: ``gepa_search.py MODEL_URL MODEL EVALUATIONS SEED CACHE GOAL`` writes best.json."""

import json
import sys
from pathlib import Path

from ask import ask
from gepa.optimize_anything import EngineConfig, GEPAConfig, ReflectionConfig, optimize_anything

url, model, evaluations, seed, cache, goal = sys.argv[1:]


def evaluator(candidate):
    found = ask(candidate)
    return found.get("score", 0.0), {"error": found.get("error", "")}


found = optimize_anything(
    Path("initial.py").read_text(),
    evaluator=evaluator,
    objective=goal,
    config=GEPAConfig(
        engine=EngineConfig(
            max_metric_calls=int(evaluations), seed=int(seed), run_dir="run", cache_evaluation=cache == "yes"
        ),
        reflection=ReflectionConfig(
            reflection_lm=f"openai/{model}", reflection_lm_kwargs={"api_base": url, "api_key": "none"}
        ),
    ),
)
best = found.best_candidate
program = best if isinstance(best, str) else next(iter(best.values()))
Path("best.json").write_text(json.dumps({"program": program, "score": found.val_aggregate_scores[found.best_idx]}))
