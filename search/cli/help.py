"""The text of ``python -m search --help``."""

from __future__ import annotations

import textwrap
from pathlib import Path

from prepare.compose import choices_of, groups

_HEADER = """\
Treewright improves any program with a measurable score: it grows a tree of its variants, scores each where the
candidate cannot interfere, and reports a champion only if it is better on fresh seeds or is verified exactly.

Groups: choose one configuration file of a group with GROUP=NAME
"""
_VALUES = """\
Values: change with NAME=VALUE
  run=NAME                 start a run of that name, or resume it
  archive=FILE             the DuckDB file with all results             (treewright.duckdb)
  seed=N                   random seed of the search                    (0)
  sandbox=auto|bwrap|landlock|none   isolation of the candidates        (auto)
  budget.evaluations=N     evaluations, with replicates and the claim   (29, if no other limit is set)
  budget.hours=H budget.device_hours=H   wall-clock hours, slot hours; earlier sessions of the run count
  budget.tokens=N budget.dollars=D       of the language model; these end the run, llm.max_dollars only ends its calls
  budget.target=S          stop searching at this score
  task=FOLDER              a folder with task.yaml, which `new` and `adopt` make   (shakespeare)
  task.seconds=S           time of one evaluation, in seconds           (10 on a CPU)
  data=NAME                corpus of task=gpt: climbmix, python, folder (climbmix; also data.shards=N, data.path=DIR)
  executor.slots=N         parallel evaluations                         (one per GPU, else one per core)
  executor=ray             evaluate on a Ray cluster, docs/slurm.md     (local)
  llm.model=NAME llm.max_dollars=D       language model, and the most to spend on it
  prompts=DIR              Markdown templates that replace built-in ones   (operators/prompts)

Examples
  python -m search                                     12 experiments of 10 s, then the claim: about 6 minutes
  python -m search run=night budget.evaluations=400    a longer run; the same command resumes it
  python -m search policy=greedy seed=1 operators=tune
  python -m search -m policy=ucb,greedy seed=1,2,3     a run of each combination; then: python -m archive compare
  python -m search tasks                               list the tasks: what is improved, time, trust, best known value
  python -m search task=circles26 budget.evaluations=50    search one of them
  python -m search new packing                         write a sample task that runs at once (--kind: which)
  python -m search check packing                       evaluate its seed: score, noise, direction, pace, trust
  python -m search attack packing                      run cheats against it: which of them the scorer rewards
  python -m search task=./packing                      search it
  python -m search adopt PATH                          make a task of an OpenEvolve, ShinkaEvolve, Harbor ... folder
  python -m search doctor                              check that a search can start on this machine
  python -m search evaluate PATH                       score a file or an export again, under the same protocol
  python -m search adopt-self ID                       a tested branch with the champion of a task below self/
  python -m search explain ID                          estimate the gain by each parameter, from all scores
  python -m search transfer ID --to extraction         judge an agent on other tasks: intervals, Holm's correction
  python -m search ablate ID                           measure the gain by each step, with evaluations
  python -m search ideas                               record hypotheses for studies, with their novelty
  python -m search study plan.yaml                     register a plan, and make its runs: docs/studies.md
  python -m search write STUDY llm=claude              have a model write its paper, each number checked
  python -m search revise PAPER llm=claude             the next attempt; no check may regress: docs/studies.md
  python -m search mcp                                 serve the archive to a coding agent: docs/language-models.md
  python -m archive leaderboard                        the best programs, also while a search runs

More: --cfg job (print the whole configuration), --config-dir DIR (your own conf/ folder, besides the built-in one),
--json (with a search or any command: the result as JSON on standard output, progress on standard error).
"""


def help_text(folder: Path | None = None) -> str:
    """Return the help: all settings, with the choices of each group. ``folder``: the user's own conf folder."""
    own = () if folder is None else (folder,)
    listed = (f"  {group}: {', '.join(choices_of(group, *own))}" for group in groups(folder))
    choices = "".join(f"{textwrap.fill(line, 118, subsequent_indent='    ')}\n" for line in listed)
    return f"{_HEADER}{choices}\n{_VALUES}"
