"""What a tracker is told of a run, read from the run's folder."""

import csv
import json
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from suites.engine.store.folder import RunFolder

# Name -> the package that it needs.
TRACKERS = {
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "wandb": "wandb",
}


@dataclass(frozen=True)
class TrackedRun:
    """One ended run.

    Attributes:
        name: of its folder; `suite` and `setting` are those above it.
        config: the fields of its spec.
        points: (epoch of the run, from 1; metric -> value), of each epoch "train_loss" and what
            else its curves hold, of each stage "test/accuracy" and so on at its last epoch.
        row: the fields of its row; `summary` are the numbers among them, nested ones as "a/b".
    """

    suite: str
    setting: str
    name: str
    config: Mapping[str, Any]
    points: Sequence[tuple[int, Mapping[str, float]]]
    row: Mapping[str, Any]

    @property
    def summary(self) -> dict[str, float]:
        """The finite numbers of the row."""
        return _numbers(self.row)


def check_trackers(names: Sequence[str]) -> None:
    """Before the runs begin.

    Raises:
        UserError: for an unknown tracker, or one whose package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"no tracker {name!r}; there are {', '.join(TRACKERS)}")
        if find_spec(TRACKERS[name]) is None:
            raise UserError(f"--tracker {name} needs a package: pip install {TRACKERS[name]}")


def track(folder: RunFolder) -> None:
    """Tells the trackers that the command named; one that fails says so in the run's log."""
    try:
        options = tomllib.loads((folder.path / "config.toml").read_text(encoding="utf-8"))
        names = options.get("tracker", [])
    except (OSError, tomllib.TOMLDecodeError):
        return
    for name in names:
        root = folder.path.parents[2] / "trackers" / name
        # Whatever goes wrong there, the run is done and its row is written.
        try:
            root.mkdir(parents=True, exist_ok=True)
            import_module(f"suites.engine.trackers.{name}").send(read_run(folder), root)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            first = " ".join(str(error).split())
            print(f"tracker {name} failed: {type(error).__name__}: {first:.300}", file=sys.stderr)


def read_run(folder: RunFolder) -> TrackedRun:
    """An ended run as trackers take it."""
    row = folder.result() or {}
    suite, setting, name = folder.path.parts[-3:]
    config = json.loads(folder.spec_file.read_text(encoding="utf-8"))
    return TrackedRun(suite, setting, name, config, _points(folder.path, row), row)


def _points(folder: Path, row: Mapping[str, Any]) -> list[tuple[int, dict[str, float]]]:
    try:
        with (folder / "curves.csv").open(encoding="utf-8", newline="") as file:
            epochs = list(csv.DictReader(file))
    except OSError:
        return []
    tested = {str(stage.get("stage")): stage for stage in row.get("stages") or []}
    found: list[tuple[int, dict[str, float]]] = []
    for number, epoch in enumerate(epochs, 1):
        values = {}
        for metric, text in epoch.items():
            if metric not in ("stage", "epoch"):
                values[metric] = float(text or "nan")
        is_last = number == len(epochs) or epochs[number].get("stage") != epoch.get("stage")
        if is_last:
            test = _numbers(tested.get(str(epoch.get("stage")), {}))
            values |= {f"test/{metric}": value for metric, value in test.items()}
        found.append((number, {k: v for k, v in values.items() if math.isfinite(v)}))
    return found


def _numbers(fields: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{name}/")
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ):
            found[prefix + name] = value
    return {name: value for name, value in found.items() if math.isfinite(value)}
