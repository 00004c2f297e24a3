"""``suites.run`` with kth_table2 cut down to two small runs; the options are the command's own."""

import signal
from dataclasses import replace
from typing import Any

import suites.experiments.kth_table2.suite as module
from suites.cli import run
from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.shared import kth
from suites.run import app

RUNS = (("regular", "full"), ("stdcf", "itsl"))
_specs = kth.specs


def specs(request: Request, manifest: str) -> list[RunSpec]:
    return [spec for spec in _specs(request, manifest) if (spec.layer, spec.mode) in RUNS]


def dataset_options(request: Request) -> dict[str, Any]:
    return {"size": [16, 16], "clip_frames": 8, "train_step": 1}


# Module, name, value; kth.specs looks its options up by name.
PATCHES = (
    (kth, "dataset_options", dataset_options),
    (module, "SUITE", replace(module.SUITE, specs=specs, dataset_options=dataset_options)),
)

if __name__ == "__main__":
    # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for owner, name, value in PATCHES:
        setattr(owner, name, value)
    run(app)
