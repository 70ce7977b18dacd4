"""The text of ``python -m search --help``."""

from __future__ import annotations

from pathlib import Path

from prepare.compose import choices_of, groups

_HEADER = """\
Treewright improves a program against a metric: it grows a tree of variants of train.py, scores each where the
candidate cannot reach, and reports a champion only if it is better on fresh seeds.

Groups: choose one file with GROUP=NAME
"""
_VALUES = """\
Values: change with NAME=VALUE
  run=NAME                 start a run of that name, or resume it
  archive=FILE             the DuckDB file that keeps everything        (treewright.duckdb)
  seed=N                   of the search                                (0)
  sandbox=auto|bwrap|landlock|none                                      (auto)
  budget.evaluations=N     trainings, replicates and the claim included (29, where no other limit is set)
  budget.hours=H budget.device_hours=H   wall hours, hours of all slots; earlier sessions counted in
  budget.tokens=N budget.dollars=D       of the language model; these end the run, llm.max_dollars silences the model
  budget.target=S          stop searching at this score
  task.seconds=S           training seconds of one evaluation           (10 on a CPU)
  data=NAME                text of task=gpt: climbmix, python, folder   (climbmix; also data.shards=N, data.path=DIR)
  executor.slots=N         candidates at a time                         (one per GPU, else one per core)
  executor=ray             slots of a Ray cluster, see docs/slurm.md    (local)
  llm.model=NAME llm.max_dollars=D
  prompts=DIR              Markdown templates of your own, one is enough   (operators/prompts)

Examples
  python -m search                                     12 experiments of 10 s, then the claim: about 5 minutes
  python -m search run=night budget.evaluations=400    a night; the same command goes on where it stopped
  python -m search policy=greedy seed=1 operators=tune
  python -m search -m policy=ucb,greedy seed=1,2,3     one run after another; then: python -m archive compare
  python -m search doctor                              check this machine before a night is spent
  python -m search evaluate PATH                       score a file or an export again, under the same protocol
  python -m search explain ID                          what its parameters gain, estimated from all scores
  python -m search ablate ID                           the same by training: which steps carry its gain
  python -m archive leaderboard                        what was found, also while a search runs

More: --cfg job (the whole configuration), --config-dir DIR (your own conf/ folder beside ours).
"""


def help_text(folder: Path | None = None) -> str:
    """Return the help: all settings, with the choices of each group. ``folder``: the user's own conf folder."""
    choices = "".join(f"  {group}: {', '.join(choices_of(group, folder))}\n" for group in groups(folder))
    return f"{_HEADER}{choices}\n{_VALUES}"
