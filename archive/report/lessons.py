"""Lessons: sentences computed from a run's facts, each with its nodes as evidence.

No model is involved. A sentence appears only if the archive supports it, and gives its counts.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archive.noise import in_words
from prepare.output import many

LEAST = 3
"""Cases below which nothing is said of a kind of change."""
_SHOWN = 8
_SUSPICIONS = {
    "cheats": "found cheating",
    "descends": "descended from one that was",
    "invalid": "with a score and a run that was invalid or over a limit",
}


def learned(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return ``{"text", "nodes"}`` objects; ``nodes`` are positions in ``facts["nodes"]``, the most relevant first."""
    nodes = facts["nodes"]
    if not nodes["id"]:
        return []
    return [*_steps(facts), *_ablated(facts), *_operators(nodes), *_noise(facts), *_failures(nodes), *_suspects(nodes)]


def tally(kind: str, improved: int, tried: int, failed: int) -> str:
    """Describe the results of one kind of change, with the same words for the report and for prompts."""
    tail = f", and {failed} failed" if failed else ""
    return f"{kind}: {improved} of {tried} children scored better than their parent{tail}."


def _said(text: str, nodes: Sequence[int]) -> dict[str, Any]:
    return {"text": text, "nodes": list(nodes)[:_SHOWN]}


def _steps(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the best node gained over the root, and the largest steps of its lineage."""
    nodes, lineage, unit = facts["nodes"], facts["lineage"], facts["run"]["unit"]
    best = sorted(((nodes["gain"][i], i) for i in lineage if (nodes["gain"][i] or 0) > 0), reverse=True)[:3]
    if not best or nodes["score"][lineage[0]] is None:
        return
    sign = 1 if facts["run"]["direction"] == "maximise" else -1
    gained = sign * (nodes["score"][lineage[-1]] - nodes["score"][lineage[0]])
    steps = "step was" if len(best) == 1 else f"{len(best)} steps were"
    yield _said(
        f"The best node's lineage gained {_with_unit(gained, unit)} in screening scores, over "
        f"{many(len(lineage) - 1, 'step')}; the largest {steps} {', '.join(f'{gain:.4g}' for gain, _ in best)}. "
        f"Screening gains of chosen steps look larger than they are"
        f"{'.' if facts['ablations'] else ': run ablate for what each is worth.'}",
        [i for _, i in best],
    )


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.4g} {unit}".rstrip()


def _ablated(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps that carry the gain, if an ablation was run."""
    for ablation in facts["ablations"]:
        measured = [step for step in ablation["steps"] if step["low"] is not None]
        if not measured:
            continue
        carry = [step for step in measured if step["low"] > 0]
        most = f", the first of them {carry[0]['worth']:.4g} {facts['run']['unit']}" if carry else ""
        harm = sum(step["high"] < 0 for step in measured)
        yield _said(
            f"Taken out of {facts['nodes']['id'][ablation['node']][:8]} one at a time, and the rest evaluated again on "
            f"fresh seeds: {len(carry)} of {len(measured)} steps carry gain beyond noise{most}"
            f"{f'; harmful: {harm}' if harm else ''}. Each verdict is at 95% by itself.",
            [step["node"] for step in carry if step["node"] is not None],
        )


def _operators(nodes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The share of children that beat their parent, by operator."""
    tried: defaultdict[str, list[int]] = defaultdict(list)
    for i, operator in enumerate(nodes["operator"]):
        if nodes["parents"][i] and nodes["state"][i] != "waiting":
            tried[operator].append(i)
    for operator, places in sorted(tried.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(places) < LEAST:
            continue
        better = sorted((i for i in places if (nodes["gain"][i] or 0) > 0), key=lambda i: -nodes["gain"][i])
        failed = sum(nodes["score"][i] is None for i in places)
        yield _said(tally(operator, len(better), len(places), failed), better)


def _noise(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The kept gains that are within noise."""
    nodes, sigma = facts["nodes"], facts["sigma"]
    if not sigma:
        return
    steps = [i for i in facts["lineage"] if nodes["gain"][i] is not None]
    small = [i for i in steps if abs(nodes["gain"][i]) < 2 * math.sqrt(2) * sigma]
    if steps:
        deviation = in_words(sigma, facts["sigma_low"], facts["sigma_high"], facts["run"]["unit"])
        luck = ": each of them may be luck" if small else ""
        yield _said(
            f"The seed deviation of a score is {deviation}. {len(small)} of the "
            f"{many(len(steps), 'step')} to the best node differ from their parent by less than two deviations of a "
            f"difference{luck}.",
            small,
        )


def _failures(nodes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    failed = [i for i, state in enumerate(nodes["state"]) if state not in ("scored", "waiting")]
    if not failed:
        return
    kinds = Counter(nodes["state"][i] for i in failed)
    words = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    yield _said(f"{len(failed)} of {len(nodes['id'])} candidates have no score: {words}.", failed)


def _suspects(nodes: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    marked = [i for i, because in enumerate(nodes["suspect"]) if because]
    if marked:
        kinds = Counter(nodes["suspicion"][i] for i in marked)
        words = ", ".join(f"{kinds[kind]} {said}" for kind, said in _SUSPICIONS.items() if kinds[kind])
        yield _said(f"{many(len(marked), 'candidate')} ranked out: {words}.", marked)
