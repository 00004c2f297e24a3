"""``suites.run`` with kth_table2 cut down to one small run a seed; the options are its own."""

from dataclasses import replace
from typing import Any

import suites.experiments.kth_table2.suite as module
from suites.cli import run
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.shared import kth
from suites.run import app

_specs = kth.specs


def specs(request: Request, manifest: str) -> list[RunSpec]:
    runs = [s for s in _specs(request, manifest) if (s.layer, s.mode) == ("stdcf", "full")]
    return [run.model_copy(update={"published": None}) for run in runs]


def dataset_options(request: Request) -> dict[str, Any]:
    return {"size": [16, 16], "clip_frames": 8, "train_step": 1}


if __name__ == "__main__":
    # kth.specs looks its own options up by name.
    kth.dataset_options = dataset_options  # type: ignore[assignment]
    module.SUITE = replace(module.SUITE, specs=specs, dataset_options=dataset_options)
    run(app)
