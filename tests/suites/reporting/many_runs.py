"""A results folder of many runs, made up: numbers of no experiment, for tests of size and speed."""

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stdcf.stages.stage import full_size, itsl
from suites.engine.spec import RunSpec

SEEDS = 25
EPOCHS = 10
LAYERS = ("regular", "rank1", "stdcf")
MODES = ("full", "itsl", "full_same_compute", "full_dilated")
NOTE = "SYNTHETIC NUMBERS: made up for a test, measured nowhere"
MIB = 2**20


def make_runs(root: Path, count: int, *, seeds: int = SEEDS, failures: float = 0.03) -> None:
    """Writes `count` ended runs of kth_table2: each setting has 12 rows of so many seeds."""
    dice = random.Random(0)
    for number, spec in zip(range(count), _specs(seeds), strict=False):
        folder = root / spec.folder_name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(spec.model_dump_json(indent=1) + "\n")
        row = _row(spec, number, dice, failures)
        (folder / "result.json").write_text(json.dumps(row, indent=1) + "\n")
        (folder / "curves.csv").write_text(_curves(spec, dice))
        lines = 400 if row["status"] != "ok" else 3
        log = "".join(f"{n}: {dice.random()} <b>&amp;</b>\n" for n in range(lines))
        (folder / "log.txt").write_text(log)


def _specs(seeds: int) -> Iterator[RunSpec]:
    stages = {
        "full": full_size(epochs=EPOCHS, lr=1e-3),
        "itsl": itsl(3, epochs=EPOCHS, lr=1e-3),
        "full_same_compute": full_size(epochs=22, lr=1e-3),
        "full_dilated": full_size(epochs=EPOCHS, lr=1e-3, dilation=(2, 2)),
    }
    number = 0
    while True:
        for dataset in ("weizmann", "synthetic_actions", "kth", "video_folder"):
            for seed in range(seeds):
                for mode in MODES:
                    for layer in LAYERS:
                        yield RunSpec(
                            suite="kth_table2",
                            profile="paper",
                            dataset=dataset,
                            dataset_options={"size": [60, 80]},
                            manifest="ab" * 32,
                            model="kth_cnn",
                            layer=layer,
                            mode=mode,
                            stages=stages[mode],
                            seed=seed,
                            batch_size=16,
                            epochs_override=number + 1,
                        )
        number += 1


def _row(spec: RunSpec, number: int, dice: random.Random, failures: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "suite": spec.suite,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "model": spec.model,
        "layer": spec.layer,
        "mode": spec.mode,
        "seed": spec.seed,
        "synthetic": spec.dataset == "synthetic_actions",
        "run_id": spec.run_id,
        "epochs_override": spec.epochs_override,
        "manifest": spec.manifest,
        "dtype": "float32",
        "threads": 1,
        "host": "nowhere",
        "finished": f"2026-11-{1 + number % 28:02d}T01:44:15Z",
        "commit": "0" * 40,
        "dirty": False,
        "device": "cpu made up",
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
    }
    if dice.random() < failures:
        reason = f"loss is nan in stage t1, epoch {dice.randrange(EPOCHS)}"
        return row | {"status": "nan", "reason": reason, "wall_seconds": 10 * dice.random()}
    accuracy = dice.gauss(0.6 + 0.05 * LAYERS.index(spec.layer), 0.04)
    peak = (180 if spec.mode == "itsl" else 360) * MIB + dice.randrange(MIB)
    return row | {
        "status": "ok",
        "reason": None,
        "accuracy": accuracy,
        "video_accuracy": dice.gauss(0.7, 0.05),
        "test_clips": 148,
        "test_videos": 30,
        "train_clips": 720,
        "train_shapes": ["16×60×80"],
        "epochs_per_stage": EPOCHS,
        "clip_shape": [1, 16, 60, 80],
        "classes": 10,
        "notes": [NOTE],
        "stages": [
            {"stage": s.name, "accuracy": dice.gauss(0.5, 0.05), "video_accuracy": dice.random()}
            for s in spec.stages
        ],
        "stage_peak_bytes": {s.name: peak - dice.randrange(MIB) for s in spec.stages},
        "measured_peak_bytes": peak,
        "measured_by": "tracker_cpu",
        "train_seconds": dice.gauss(100, 3),
        "predicted_peak_bytes": peak + dice.randrange(MIB),
        "predicted_cuda_peak_bytes": peak - dice.randrange(MIB),
        "predicted_published_today_peak_bytes": peak,
        "predicted_published_peak_bytes": peak + 50 * MIB,
        "params": 40410,
        "macs": 291226240,
        "executed_macs": 291226240,
        "fvcore_macs": 295219840,
        "fvcore_unsupported": {},
        "wall_seconds": dice.gauss(110, 3),
    }


def _curves(spec: RunSpec, dice: random.Random) -> str:
    lines = ["stage,epoch,lr,train_loss,train_accuracy,seconds,clips_per_second"]
    for stage in spec.stages:
        for epoch in range(stage.epochs):
            loss = 2.3 * math.exp(-epoch / 8) + 0.1 * dice.random()
            seconds = 7 + dice.random()
            lines.append(
                f"{stage.name},{epoch + 1},0.001,{loss},{dice.random()},{seconds},{720 / seconds}"
            )
    return "\n".join(lines) + "\n"
