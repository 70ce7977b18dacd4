"""``python -m archive summary``: what won, whether it is real, why, what was tried, what it cost, how to export it.

Only counts, decisions and screening scores are shown; of a claim only the reason of the verdict.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from archive.query.ablations import NO_EFFECT, ablations, within_noise
from archive.query.query import Reader
from archive.query.questions import (
    KNOWN,
    RANKED_OUT,
    TRUST,
    holdout_reads,
    known_in_words,
    last_verdict,
    rows,
    trust_in_words,
    which_run,
)
from archive.query.tables import cell
from prepare.command_line import archive_flag, command
from prepare.output import many

_STEPS = 5
"""Steps of the lineage that are shown: those with the largest gains."""
_SHORT = 8
_LABEL = 16


_CLAIM = """
SELECT count(*) AS begun, count(e.move) AS made
FROM moves AS m LEFT JOIN (SELECT run, move FROM evaluations WHERE outcome <> 'lost') AS e USING (run, move)
WHERE m.run = ? AND m.purpose <> 'screen' AND NOT EXISTS (FROM refusals AS r WHERE r.run = m.run AND r.move = m.move)
"""
"""Query for the evaluations of claims: those that were chosen and not withdrawn, and those that were made."""


def summary_facts(reader: Reader, run: str | None) -> dict[str, Any]:
    """Return plain JSON values about a run (default: the most recently active one). Raises QueryError."""
    name = which_run(reader, run)
    (facts,) = rows(reader, "SELECT * FROM run_summary WHERE run = ?", [name])
    facts["verdict"] = last_verdict(reader, name)
    facts["known"] = known_in_words(reader.query(KNOWN, [name]).rows)
    facts["best"] = _best(reader, facts)
    sql = "SELECT json_exists(config, '$.task.workspace') FROM runs WHERE run = ?"
    facts["is_folder"] = bool(_count(reader, sql, name))
    facts["steps"] = _steps(reader, facts["best"])
    facts["ablation"] = _ablation(reader, name, facts["best"])
    facts["ranked_out"] = (
        _count(reader, f"SELECT count(*) FROM suspects WHERE run = ? AND {RANKED_OUT}", name)
        if facts["suspects"]
        else 0
    )
    facts["trust"] = rows(reader, TRUST, [name])
    facts["holdout_reads"] = holdout_reads(reader, name)
    facts["claim_evaluations"] = rows(reader, _CLAIM, [name])[0]
    facts["operators"] = _tally(reader, "SELECT operator, count(*) FROM nodes WHERE run = ? GROUP BY ALL", name)
    facts["outcomes"] = _tally(reader, "SELECT outcome, count(*) FROM evaluations WHERE run = ? GROUP BY ALL", name)
    facts["refused"] = _count(reader, "SELECT count(*) FROM refusals WHERE run = ? AND operator <> 'withdrawn'", name)
    sql = "SELECT sum(wall_seconds) / 3600 AS device_hours FROM evaluations WHERE run = ?"
    facts["device_hours"] = rows(reader, sql, [name])[0]["device_hours"] or 0.0
    sql = "SELECT count(*) AS calls, count(*) - count(dollars) AS unpriced FROM llm_calls WHERE run = ?"
    return facts | rows(reader, sql, [name])[0]


def _best(reader: Reader, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the champion, or else the leader."""
    node = facts["champion"] or facts["leader"]
    found = rows(reader, "SELECT node_id, operator, idea FROM nodes WHERE node_id = ?", [node])
    return found[0] if found else None


def _ablation(reader: Reader, run: str, best: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if best is None or not reader.query("SELECT run FROM runs WHERE policy = 'ablation'").rows:
        return None  # cheap to know; the view would scan everything
    return next((found for found in ablations(reader, run) if found["node"] == best["node_id"]), None)


def _steps(reader: Reader, best: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if best is None:
        return []
    sql = f"SELECT node_id, operator, gain, idea FROM lineage(?) WHERE gain > 0 ORDER BY gain DESC LIMIT {_STEPS}"
    return rows(reader, sql, [best["node_id"]])


def _count(reader: Reader, sql: str, run: str) -> int:
    return int(reader.query(sql, [run]).rows[0][0])


def _tally(reader: Reader, sql: str, run: str) -> dict[str, int]:
    return {str(name): int(count) for name, count in reader.query(f"{sql} ORDER BY 2 DESC, 1", [run]).rows}


# ---------------------------------------------------------------- in words


def summary_text(facts: Mapping[str, Any], archive: str | None) -> str:
    """Format ``summary_facts`` as text. ``archive``: the file, for the commands shown; None: the default."""
    head = f"Run {cell(facts['run'])}: {cell(facts['task'])}, {cell(facts['metric'])} ({facts['direction']})"
    parts = {
        "What won": _won(facts),
        "Is it real": _real(facts),
        "Why": _why(facts),
        "What was tried": _tried(facts),
        "What it cost": _cost(facts),
        "Take it home": _home(facts, archive),
    }
    lines = [head, ""]
    for question, answers in parts.items():
        for place, answer in enumerate(answers):
            lines.append(f"{question if place == 0 else '':<{_LABEL}}{answer}")
    return "\n".join(lines)


def _won(facts: Mapping[str, Any]) -> list[str]:
    best = facts["best"]
    if best is None:
        return ["nothing yet: no node has a score"]
    said = f"{best['node_id'][:_SHORT]} ({cell(best['operator'])}: {cell(best['idea'], 90)})"
    return [said if facts["champion"] else f"nothing with a verified improvement; the leader is {said}"]


def _real(facts: Mapping[str, Any]) -> list[str]:
    verdict, trust = facts["verdict"], trust_in_words((row["trust"], row["sandbox"]) for row in facts["trust"])
    if verdict is None:
        lines = [_unverified(**facts["claim_evaluations"])]
    else:
        lines = [f"{verdict['kind'].replace('_', ' ')}: {cell(verdict['reason'], 600)}"]
    if facts["known"]:
        lines.append(facts["known"])
    if facts["ranked_out"]:
        lines.append(f"{many(facts['ranked_out'], 'node')} suspect, ranked out: SELECT node_id, because FROM suspects")
    return [
        *lines,
        f"scores are {trust or 'none'}; the holdout was read {many(facts['holdout_reads'], 'time')}",
    ]


def _unverified(begun: int, made: int) -> str:
    if not begun:
        return "unverified: no runs on fresh seeds were made, and a screening score may be luck"
    return (
        f"not decided yet: a claim was begun, with {many(made, 'run')} on fresh seeds so far, and has no verdict; "
        "if its search does not run any more, resume it"
    )


def _why(facts: Mapping[str, Any]) -> list[str]:
    if facts["ablation"] is not None:
        lines = ["each step taken out and the rest evaluated again: by how much it is worse without it"]
        steps = [step for step in facts["ablation"]["steps"] if not within_noise(step)]
        lines += [f"  {step['node'][:_SHORT]}  {_worth(step)}  {cell(step['idea'])}" for step in steps]
        others = len(facts["ablation"]["steps"]) - len(steps)
        return [*lines, f"  {many(others, 'step')} with {NO_EFFECT}"] if others else lines
    if not facts["steps"]:
        return ["no step of its lineage gained anything"]
    lines = ["the largest gains of its lineage; they are of single screenings, chosen, and look larger than they are"]
    return lines + [
        f"  {step['node_id'][:_SHORT]}  {step['gain']:+.4g}  {cell(step['operator'])}: {cell(step['idea'])}"
        for step in facts["steps"]
    ]


def _worth(step: Mapping[str, Any]) -> str:
    if step["low"] is None:
        return str(step["verdict"])
    return f"{step['worth']:+.4g} ({step['low']:+.4g} to {step['high']:+.4g}, {step['verdict']})"


def _tried(facts: Mapping[str, Any]) -> list[str]:
    def said(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{count:,} {cell(name)}" for name, count in counts.items()) or "none"

    evaluations, refused = sum(facts["outcomes"].values()), many(facts["refused"], "proposal")
    return [
        f"{many(facts['nodes'], 'candidate')} ({said(facts['operators'])}); {refused} refused",
        f"{many(evaluations, 'evaluation')} ({said(facts['outcomes'])})",
    ]


def _cost(facts: Mapping[str, Any]) -> list[str]:
    time = f"candidates ran {_hours(facts['training_hours'])}; {_hours(facts['device_hours'], 'device ')} in all"
    if not facts["calls"]:
        return [f"{time}; no language model was asked"]
    unpriced = f", and {facts['unpriced']:,} of unknown price" if facts["unpriced"] else ""
    return [f"{time}; ${facts['dollars'] or 0.0:.2f} for {many(facts['calls'], 'call')} of language models{unpriced}"]


def _hours(hours: float, kind: str = "") -> str:
    """Return a time in hours, or in seconds if it is shorter than that tells."""
    return f"{hours * 3600:.3g} {kind}seconds" if hours < 0.01 else f"{hours:.3g} {kind}hours"


def _home(facts: Mapping[str, Any], archive: str | None) -> list[str]:
    if facts["best"] is None:
        return ["there is nothing to take home yet"]
    node = facts["best"]["node_id"][:_SHORT]
    lines = [command("archive", f"export {node} --branch best{archive_flag(archive)}")]
    if facts["ablation"] is None and facts["champion"]:
        where = f" archive={shlex.quote(archive)}" if archive else ""
        folder = " task=./FOLDER" if facts["is_folder"] else ""  # data names no code: the user has to
        lines.append(command("search", f"ablate {node}{folder}{where}"))
    return lines
