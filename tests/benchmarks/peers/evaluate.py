"""The evaluation that ShinkaEvolve starts; it writes the files that Shinka reads."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from ask import ask

parser = argparse.ArgumentParser()
parser.add_argument("--program_path", type=Path)
parser.add_argument("--results_dir", type=Path)
words = parser.parse_args()
found = ask(words.program_path.read_text())
words.results_dir.mkdir(parents=True, exist_ok=True)
metrics = {"combined_score": found.get("score", 0.0), "public": {}, "private": {}}
correct = {"correct": "score" in found, "error": found.get("error")}
(words.results_dir / "metrics.json").write_text(json.dumps(metrics))
(words.results_dir / "correct.json").write_text(json.dumps(correct))
