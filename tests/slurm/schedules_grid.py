"""``suites.run`` with kth_table2 as a grid of schedules and caps, of one small network."""

from dataclasses import replace
from typing import Any

import suites.experiments.kth_table2.suite as module
from stdcf.stages.stage import itsl
from suites.cli import run
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.shared import kth
from suites.run import app

MIB = 2**20
CAPS = {"": None, "_cap64": 64 * MIB, "_cap1": MIB // 2}
_specs = kth.specs


def specs(request: Request, manifest: str) -> list[RunSpec]:
    runs = [s for s in _specs(request, manifest) if (s.layer, s.mode) == ("stdcf", "full")]
    return [
        run.changed(
            published=None,
            mode=f"e{iterations}{name}",
            cap_bytes=cap_bytes,
            stages=itsl(iterations, epochs=request.epochs or 1, lr=1e-3),
        )
        for run in runs
        for name, cap_bytes in CAPS.items()
        for iterations in (3, 2, 1)
    ]


def dataset_options(request: Request) -> dict[str, Any]:
    return {"size": [16, 16], "clip_frames": 8, "train_step": 8}


if __name__ == "__main__":
    kth.dataset_options = dataset_options  # type: ignore[assignment]
    module.SUITE = replace(module.SUITE, specs=specs, dataset_options=dataset_options)
    run(app)
