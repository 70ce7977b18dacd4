"""The evaluator that OpenEvolve asks for; a program that fails has 0, as in its examples."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from ask import ask


def evaluate(path):
    return {"combined_score": ask(Path(path).read_text()).get("score", 0.0)}
