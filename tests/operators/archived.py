"""A garden's tree written into an archive, as a search would have: to compare what a model is shown with SQL."""

from __future__ import annotations

from dataclasses import replace

from garden import Garden

from archive.records import Run
from archive.storage.store import Archive


def a_run(name: str = "night") -> Run:
    """The same task and direction for every name."""
    return Run(name, f"id of {name}", "toy", "val_bpb", "minimise", "ucb", 0, {}, {}, 1.0)


def stored(archive: Archive, garden: Garden, run: Run) -> None:
    """All moves, nodes and evaluations of the garden under the name of ``run``; ids are made its own."""

    def own(node_id: str) -> str:
        return node_id if run.run == "night" else f"{run.run[:4]}{node_id[4:]}"

    archive.start_run(run)
    tree = garden.tree
    nodes = {node.move: node for node in tree.nodes}
    for record in tree.moves.values():
        archive.choose(replace(record, run=run.run))
        if (node := nodes.get(record.number)) is not None:
            candidate = replace(node.candidate, parents=tuple(map(own, node.parents)))
            archive.add(replace(node, node_id=own(node.node_id), run=run.run, candidate=candidate))
    for evaluations in tree.evaluations.values():
        for evaluation in evaluations:
            request = replace(evaluation.request, run=run.run, node_id=own(evaluation.request.node_id))
            archive.record(replace(evaluation, request=request))
