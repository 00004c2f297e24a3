"""Runs of one small network under ITSL of any length, trained within the test's process."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stdcf.stages.stage import itsl
from suites.engine import worker
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder

DATA = {"size": [16, 16], "clip_frames": 8, "train_step": 8}
# Beside times: what says where the row comes from.
APART = {"finished", "train_seconds", "wall_seconds", "read_off", "begun_by"}


def spec(manifest: str, iterations: int, **changes: Any) -> RunSpec:
    made = RunSpec(
        suite="itsl_ablation",
        profile="quick",
        dataset="video_folder",
        dataset_options=DATA,
        manifest=manifest,
        model="kth_cnn",
        layer="stdcf",
        layer_options={"num_spatial_atoms": 3, "num_temporal_atoms": 2},
        mode=f"e{iterations}",
        stages=itsl(iterations, epochs=1, lr=1e-3),
        seed=0,
        batch_size=8,
    )
    return made.changed(**changes)


class Lab:
    """Runs in a results folder, within this process."""

    def __init__(self, results: Path, root: Path) -> None:
        self.results, self.root = results, root

    def folder(self, one: RunSpec) -> RunFolder:
        return RunFolder.create(self.results, one)

    def train(self, one: RunSpec, stop: Callable[[], bool] = lambda: False) -> int:
        arguments = Namespace(data_root=str(self.root), device="cpu", num_workers=0, rank=0)
        folder = self.folder(one)
        with folder.claim():
            return worker._run(folder, arguments, stop)  # type: ignore[arg-type]

    def measured(self, one: RunSpec) -> dict[str, Any]:
        folder = self.folder(one)
        row = folder.result()
        assert row is not None
        lines = (folder.path / "curves.csv").read_text().splitlines()
        # The last two columns are seconds and clips a second.
        curves = [line.rsplit(",", 2)[0] for line in lines]
        return {k: v for k, v in row.items() if k not in APART} | {"curves": curves}
