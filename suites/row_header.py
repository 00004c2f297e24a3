"""The fields that every row has, however its run ended."""

import platform
import time
from typing import Any

from suites.engine.spec import RunSpec
from suites.engine.store.provenance import provenance


def header(spec: RunSpec, device: str) -> dict[str, Any]:
    """The fields that every row has, however the run ended."""
    return {
        "suite": spec.suite,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "model": spec.model,
        "layer": spec.layer,
        "mode": spec.mode,
        "seed": spec.seed,
        # Known before the data is; a video_folder of generated files says so only when it is read.
        "synthetic": spec.dataset == "synthetic_actions",
        "run_id": spec.run_id,
        "epochs_override": spec.epochs_override,
        "manifest": spec.manifest,
        "base_manifest": spec.base_manifest or spec.manifest,
        "dtype": "bfloat16 autocast" if spec.amp else "float32",
        "savers": list(spec.techniques),
        "threads": spec.threads,
        "host": platform.node(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **provenance(device),
    }
