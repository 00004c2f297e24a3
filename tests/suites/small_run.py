"""``suites.run`` with kth_table2 cut down to two small runs; the options are the command's own."""

from dataclasses import replace

import suites.kth_table2 as module
from suites.cli import run
from suites.run import app

RUNS = (("stdcf", "itsl"), ("regular", "full"))


def specs(request, manifest):
    return [s for s in module.specs(request, manifest) if (s.layer, s.mode) in RUNS]


def dataset_options(request):
    return {"size": [16, 16], "clip_frames": 8, "train_step": 1}


if __name__ == "__main__":
    # kth_table2.specs looks its own options up by name.
    module.dataset_options = dataset_options
    module.SUITE = replace(module.SUITE, specs=specs, dataset_options=dataset_options)
    run(app)
