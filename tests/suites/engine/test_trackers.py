"""What trackers are told, and each tracker with its real package, offline, read back by it."""

import json
import math
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites.engine.store.folder import RunFolder
from suites.engine.trackers import tracked
from suites.engine.trackers.tracked import TRACKERS, check_trackers, read_run, track
from tests.suites.reporting.many_runs import make_runs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run with two stages; its command named every tracker that is installed."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "TRACKIO_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    make_runs(tmp_path / "results", 6, seeds=1, failures=0.0)
    found = sorted((tmp_path / "results").glob("*/*/*itsl*"))[0]
    stages = [
        {"stage": "t1", "accuracy": 0.25, "test_clips": 8},
        {"stage": "s1", "accuracy": 0.5, "test_clips": 8},
    ]
    folder = RunFolder(found)
    row = folder.result() or {}
    folder.write_result(row | {"stages": stages, "accuracy": 0.5, "bad": float("nan")})
    header = "stage,epoch,lr,train_loss,train_accuracy,seconds,clips_per_second\n"
    lines = ["t1,1,0.001,2.5,0.1,1,8", "t1,2,0.001,2.0,0.2,1,8", "s1,1,0.001,nan,0.3,2,4"]
    (found / "curves.csv").write_text(header + "\n".join(lines) + "\n")
    return folder


# The numbers of the fixture's curves and stages, by metric: (epoch of the run, value).
LOSS = [(1, 2.5), (2, 2.0)]
TESTED = [(2, 0.25), (3, 0.5)]
CURVES = {
    "lr": [(1, 0.001), (2, 0.001), (3, 0.001)],
    "train_loss": LOSS,
    "train_accuracy": [(1, 0.1), (2, 0.2), (3, 0.3)],
    "seconds": [(1, 1.0), (2, 1.0), (3, 2.0)],
    "clips_per_second": [(1, 8.0), (2, 8.0), (3, 4.0)],
    "test/accuracy": TESTED,
    "test/test_clips": [(2, 8.0), (3, 8.0)],
}


def numbers_of_row(folder: RunFolder) -> dict[str, float]:
    """The row's own numbers, as trackers name them; not those that lie deeper in it."""
    row = json.loads((folder.path / "result.json").read_text())
    found = {f"row/{name}": value for name, value in row.items() if type(value) in (int, float)}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def assert_is_the_run(
    folder: RunFolder, curves: Mapping[str, Sequence[Any]], row: Mapping[str, float]
) -> None:
    """That what a tracker's own files hold are the run's curves and its row's numbers."""
    assert {name: list(curves.get(name, [])) for name in CURVES} == {
        name: [(epoch, pytest.approx(value)) for epoch, value in points]
        for name, points in CURVES.items()
    }
    expected = numbers_of_row(folder)
    assert len(expected) > 5
    assert {name: row.get(name) for name in expected} == pytest.approx(expected)


def test_a_run_is_its_curves_its_stages_and_its_row(folder: RunFolder) -> None:
    run = read_run(folder)
    assert [(e, p["train_loss"]) for e, p in run.points if "train_loss" in p] == LOSS
    assert [(e, p["test/accuracy"]) for e, p in run.points if "test/accuracy" in p] == TESTED
    row = json.loads((folder.path / "result.json").read_text())
    assert run.summary["measured_peak_bytes"] == row["measured_peak_bytes"]
    assert "bad" not in run.summary
    assert run.config["seed"] == row["seed"]


def name_trackers(folder: RunFolder, *names: str) -> Path:
    (folder.path / "config.toml").write_text(f"tracker = {json.dumps(names)}\n")
    return folder.path.parents[2] / "trackers"


def needs(*packages: str) -> None:
    """Skips the test where one is not installed; nothing is imported."""
    if missing := [name for name in packages if find_spec(name) is None]:
        pytest.skip(f"no {', '.join(missing)}: pip install {' '.join(missing)}")


def records(file: Path) -> Iterator[Any]:
    """What a .wandb file holds: LevelDB's log format, a record of wandb's in each entry."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, entry = file.read_bytes(), len(":W&B") + 3, b""
    while at < len(content):
        # No entry begins in the last 6 bytes of a block of 32 KiB.
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        entry += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part of one
            yield Record.FromString(entry)
            entry = b""


def test_tensorboard(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root = name_trackers(folder, "tensorboard")
    for _ in range(2):
        track(folder)
    assert "failed" not in capfd.readouterr().err
    events = EventAccumulator(str(root / "tensorboard" / folder.path.relative_to(root.parent)))
    events.Reload()
    scalars = {
        tag: [(s.step, s.value) for s in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    row = {tag: value for tag, ((_, value), *_) in scalars.items() if tag.startswith("row/")}
    assert_is_the_run(folder, scalars, row)


@pytest.mark.slow
def test_wandb(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    needs("wandb")
    root = name_trackers(folder, "wandb")
    track(folder)
    assert "failed" not in capfd.readouterr().err
    (file,) = (root / "wandb").rglob("run-*.wandb")
    curves: dict[str, list[tuple[int, float]]] = {}
    row = {}
    for record in records(file):
        for item in record.history.item:
            name = "/".join(item.nested_key) or item.key
            curves.setdefault(name, []).append(
                (record.history.step.num, json.loads(item.value_json))
            )
        for item in record.summary.update:
            row["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        if record.HasField("run"):
            assert record.run.display_name == folder.path.name
    assert_is_the_run(folder, curves, row)
    assert row["status"] == "ok"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow(folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    needs("mlflow", "sqlalchemy")
    from mlflow import MlflowClient

    root = name_trackers(folder, "mlflow")
    track(folder)
    assert "failed" not in capfd.readouterr().err
    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow' / 'mlflow.db'}")
    suite, setting, name = folder.path.parts[-3:]
    experiment = client.get_experiment_by_name(f"{suite}/{setting}")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == name
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in CURVES}
    curves = {name: [(m.step, m.value) for m in history] for name, history in histories.items()}
    assert_is_the_run(folder, curves, run.data.metrics)
    assert run.data.tags["status"] == "ok"


@pytest.mark.slow
def test_trackio(
    folder: RunFolder, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("trackio")
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")
    root = name_trackers(folder, "trackio")
    track(folder)
    assert "failed" not in capfd.readouterr().err
    from trackio.sqlite_storage import SQLiteStorage

    assert list((root / "trackio").glob("*.db"))

    (name,) = SQLiteStorage.get_runs("stdcf")
    logs = SQLiteStorage.get_logs("stdcf", name)
    curves = {name: [(log["step"], log[name]) for log in logs if name in log] for name in CURVES}
    (row,) = (log for log in logs if "row/accuracy" in log)
    assert_is_the_run(folder, curves, row)


def test_a_tracker_that_fails_ends_nothing(
    folder: RunFolder, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Broken:
        @staticmethod
        def send(run: Any, root: Path) -> None:
            calls.append(root.name)
            raise SystemExit("no space\nleft")

    for name in TRACKERS:
        monkeypatch.setitem(sys.modules, f"suites.engine.trackers.{name}", Broken)
    monkeypatch.setattr(tracked, "import_module", lambda name: sys.modules[name])
    name_trackers(folder, *TRACKERS)
    track(folder)
    assert calls == list(TRACKERS)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [f"tracker {name} failed: SystemExit: no space left" for name in TRACKERS]


def test_runs_without_trackers_write_nothing(folder: RunFolder) -> None:
    track(folder)
    root = name_trackers(folder)
    track(folder)
    assert not root.exists()


def test_wrong_trackers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no tracker 'aim'; there are mlflow"):
        check_trackers(["aim"])
    monkeypatch.setattr(tracked, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb"):
        check_trackers(["wandb"])
