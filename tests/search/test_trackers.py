"""The libraries of experiment trackers, offline: each has the run, curves, scores, failures, champion and cost.

Optuna alone is among the packages of the tests; ``make trackers`` runs this file with all of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from archive.records import CurvePoint, Run
from prepare.config import Part
from search.observers.factory import tracker_of
from search.observers.trackers.base import Ending, Screening, Tracker

HOUSE = Path(__file__).parents[2]
CURVE = (CurvePoint(1, 0.5, 4.0), CurvePoint(2, 1.0, 3.5))
RUN = Run("night/1", "id-of-night", "toy", "val_bpb", "minimise", "ucb", 7, {"task": {"name": "toy"}}, {"seed": 7}, 1e9)
ENDING = Ending(True, "The evaluations are used.", "c" * 16, 2.0, {"gain": 1.0, "low": 0.5, "high": 1.5})


def screening(number: int, node: str, score: float | None, best: float | None, **more: Any) -> Screening:
    """The ``number``-th screening of a run, with a curve and costs."""
    facts: dict[str, Any] = {
        "key": f"{node * 16}/{number}", "node": node * 16, "parents": (), "operator": "tune", "idea": "RATE 1 -> 2",
        "outcome": "crashed" if score is None else "scored", "score": score, "seconds": 10.0,
        "started_at": 1e9 + 20 * number, "finished_at": 1e9 + 20 * number + 10, "parameters": {"RATE": 0.1 * number},
        "metrics": {"parameters": 1000.0}, "curve": CURVE, "evaluations": number, "best": best,
        "tokens": 100 * number, "dollars": 0.25 * number,
    }  # fmt: skip
    return Screening(**{**facts, **more})


FIRST = (screening(1, "a", 3.0, 3.0), screening(2, "b", None, 3.0, curve=()))
SECOND = (screening(3, "c", 2.0, 2.0), screening(4, "d", 2.5, 2.0))


@dataclass
class Found:
    """What a library's store says of the run."""

    scores: Sequence[float]
    dollars: Sequence[float]
    failures: int
    losses: Sequence[float]
    """Of the leader's curve."""
    end: Mapping[str, Any] = field(default_factory=dict)
    """``champion`` and ``gain``."""


# ---------------------------------------------------------------- how each store is read


def read_optuna(folder: Path) -> Found:
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal.log")))
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.user_attrs["task"] == "toy"
    assert study.best_trial.params == {"RATE": pytest.approx(0.3)}
    end = {"champion": study.user_attrs["champion"], "gain": study.user_attrs["claim gain"]}
    failed = sum(trial.state == optuna.trial.TrialState.FAIL for trial in study.trials)
    scores = [trial.value for trial in study.trials if trial.value is not None]
    dollars = [trial.user_attrs["dollars"] for trial in study.trials]
    return Found(scores, dollars, failed, list(study.best_trial.intermediate_values.values()), end)


def read_tensorboard(folder: Path) -> Found:
    accumulator = import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    whole, leader = accumulator(str(folder / "logs/night_1")), accumulator(str(folder / f"logs/night_1/{'c' * 16}-3"))
    for each in (whole, leader):
        each.Reload()

    def values(of: Any, name: str) -> list[float]:
        return [point.value for point in of.Scalars(name)]

    *_, words = (event.tensor_proto.string_val[0].decode() for event in whole.Tensors("end/text_summary"))
    end = {"champion": words.rpartition(": ")[2], "gain": values(whole, "claim/gain")[0]}
    failed = int(sum(values(whole, "failed")))
    return Found(values(whole, "score"), values(whole, "dollars"), failed, values(leader, "loss"), end)


def read_mlflow(folder: Path) -> Found:
    client = import_module("mlflow").MlflowClient(tracking_uri=f"sqlite:///{folder}/ml.db")
    (experiment,) = [each for each in client.search_experiments() if each.name == "treewright"]
    (whole,) = client.search_runs([experiment.experiment_id], "tags.`treewright.run_id` = 'id-of-night'")
    assert (whole.info.status, whole.data.params["policy"]) == ("FINISHED", "ucb")
    nested = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{whole.info.run_id}'")
    (leader,) = [each for each in nested if each.data.tags["node"] == "c" * 16]
    assert float(leader.data.params["RATE"]) == pytest.approx(0.3)

    def values(of: Any, name: str) -> list[float]:
        points = client.get_metric_history(of.info.run_id, name)
        return [point.value for point in sorted(points, key=lambda point: int(point.step))]

    end = {"champion": whole.data.tags["champion"], "gain": whole.data.metrics["claim_gain"]}
    failed = sum(each.info.status == "FAILED" for each in nested)
    return Found(values(whole, "score"), values(whole, "dollars"), failed, values(leader, "loss"), end)


def read_wandb(folder: Path) -> Found:
    record = import_module("wandb.proto.wandb_internal_pb2").Record
    rows, names = list[dict[str, Any]](), set[str]()
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for data in records(file.read_bytes()):
            one = record()
            one.ParseFromString(data)
            if one.HasField("run"):
                names.add(f"{one.run.run_id} {one.run.display_name}")
            if one.HasField("history"):
                rows.append({item.key or item.nested_key[0]: json.loads(item.value_json) for item in one.history.item})
    assert names == {"id-of-night night/1"}
    return found_in(rows)


def records(data: bytes) -> Iterator[bytes]:
    """The records of a W&B file: LevelDB's log (pieces with checksum, length and kind), after a header of 7 bytes."""
    at, whole, block = 7, b"", 2**15
    while at + 7 <= len(data):
        if (room := block - at % block) < 7:
            at += room
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield whole
            whole = b""


def read_trackio(folder: Path) -> Found:
    (file,) = [path for path in folder.glob("trackio/*.db") if path.stem == "treewright"]
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT run_name, metrics FROM metrics ORDER BY timestamp, step").fetchall()
    assert {name for name, _ in rows} == {"night/1"}
    return found_in([json.loads(metrics) for _, metrics in rows])


def found_in(rows: Sequence[Mapping[str, Any]]) -> Found:
    """What rows of a history say, as W&B and Trackio keep them."""

    def values(name: str) -> list[Any]:
        return [row[name] for row in rows if row.get(name) is not None]

    end = {"champion": values("champion")[-1], "gain": values("claim/gain")[-1]}  # of the last session
    losses = [loss for _, loss in values("curve/cccccccc")[-1]]
    return Found(values("score"), values("dollars"), int(sum(values("failed"))), losses, end)


READERS: Mapping[str, tuple[Mapping[str, str], Callable[[Path], Found]]] = {
    "optuna": ({"file": "journal.log"}, read_optuna),
    "tensorboard": ({"folder": "logs"}, read_tensorboard),
    "mlflow": ({"uri": "sqlite:///ml.db"}, read_mlflow),
    "wandb": ({"mode": "offline"}, read_wandb),
    "trackio": ({}, read_trackio),
}


def make(name: str, options: Mapping[str, str]) -> Tracker:
    """A tracker as its file in ``conf/tracker`` makes it, with these options."""
    values: Any = OmegaConf.to_container(OmegaConf.load(HOUSE / f"conf/tracker/{name}.yaml"), resolve=True)
    return tracker_of(Part.of({**values, **options}, "tracker"), name)


@pytest.mark.parametrize("name", READERS)
def test_each_library_has_the_run_also_after_a_resume(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when the library is imported
    monkeypatch.setenv("WANDB_SILENT", "true")
    pytest.importorskip(name, reason=f"{name} is not installed; `make trackers` runs this with all libraries")
    options, read = READERS[name]
    for resumed, screenings, end in ((False, FIRST, Ending(False, "Stopped.", None, None)), (True, SECOND, ENDING)):
        tracker = make(name, options)
        tracker.start(RUN, resumed)
        for each in screenings:
            tracker.screened(each)
        tracker.end(end)
    found = read(tmp_path)
    assert list(found.scores) == [3.0, 2.0, 2.5]
    assert list(found.dollars) == [0.25, 0.5, 0.75, 1.0]
    assert found.failures == 1
    assert list(found.losses) == [4.0, 3.5]
    assert found.end == {"champion": "c" * 16, "gain": 1.0}
