"""Where a result came from: commit, versions, machine."""

import json
import platform
import subprocess
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.paths import IS_CHECKOUT, REPOSITORY

if TYPE_CHECKING:
    from suites.engine.spec import RunSpec

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "pydantic", "av", "fvcore")

# In a copy of the code (that jobs run from, a wheel, an sdist): what it was copied from.
SNAPSHOT_FILE = "suites/snapshot.json"


@cache
def commit() -> tuple[str, bool | None]:
    """Commit of the running code and whether it was changed since; ("unknown", None) if none."""
    try:
        noted = json.loads((REPOSITORY / SNAPSHOT_FILE).read_text())
        return noted["commit"], noted["dirty"]
    except FileNotFoundError:
        pass
    # Above an installed package there may be another project's repository.
    if not IS_CHECKOUT or not (REPOSITORY / ".git").exists():
        return "unknown", None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        # Results are data: running a suite must not make its own code count as changed.
        changed = git("status", "--porcelain", "--", ":/", ":(top,exclude)results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown", None
    return head, bool(changed)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: str) -> str:
    """Such as "cuda:0 NVIDIA H100 80GB HBM3" or "cpu AMD EPYC"."""
    if device.startswith("cuda"):
        import torch

        # A run that failed for want of it has a row too.
        if not torch.cuda.is_available():
            return f"{device}, which is not there"
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"cpu {cpu_name()}"


def cpu_name() -> str:
    """The processor's own name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def provenance(device: str) -> dict[str, Any]:
    """The fields of a row that say what measured it."""
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "device": device_name(device),
        "versions": versions(),
    }


def header(spec: "RunSpec", device: str) -> dict[str, Any]:
    """The fields that every row has, however the run ended."""
    return identity(spec) | {"host": platform.node(), "finished": now()} | provenance(device)


def now() -> str:
    """The time as rows hold it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def identity(spec: "RunSpec") -> dict[str, Any]:
    """The fields of a row that follow from its spec, whatever measured it."""
    return {
        "suite": spec.suite,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "model": spec.model,
        "layer": spec.layer,
        "mode": spec.mode,
        "seed": spec.seed,
        "fold": spec.fold,
        # Known before the data is; a video_folder of generated files says so only when it is read.
        "synthetic": spec.dataset == "synthetic_actions",
        "run_id": spec.run_id,
        "epochs_override": spec.epochs_override,
        "manifest": spec.manifest,
        "base_manifest": spec.base_manifest or spec.manifest,
        "dtype": "bfloat16 autocast" if spec.amp else "float32",
        "savers": list(spec.techniques),
        "threads": spec.threads,
        **_of_training(spec),
    }


def _of_training(spec: "RunSpec") -> dict[str, Any]:
    """What a row of training is told apart by, of a run that ended badly too."""
    if not spec.is_training:
        return {}
    first = spec.stages[0]
    found = {"lr": first.lr, "atom_lr": first.atom_lr, "dataset_options": spec.dataset_options}
    return found | ({"options": spec.options} if spec.task == "train" else {})
