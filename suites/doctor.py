"""``python -m suites.doctor``: what this machine can do, and what is missing, with its remedy."""

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata

from suites.cli import new_app, run

app = new_app("Say what this machine can do and what is missing, each with its remedy.")

NEEDED = ("torch", "torchvision", "timm", "pandas", "pydantic", "typer", "rich", "numpy")
OPTIONAL = {
    "av": "decode video (training on an existing cache needs none)",
    "scipy": "95% intervals in tables",
    "seaborn": "figures",
    "fvcore": "a second MAC count",
    "captum": "Grad-CAM",
    "submitit": "SLURM",
    "pyarrow": "results as DataFrames, and a fast index of many runs",
    "pylatexenc": "tables as LaTeX",
    "jinja2": "the HTML page",
}
# Of kinetics_table3: 64 clips of 3 × 8 × 224 × 224.
_BATCH_BYTES = 64 * 3 * 8 * 224 * 224


# The newest that the tests were run with.
NEWEST_TORCH = "2.14"
# Of resnet3d_50 with 400 classes.
_PARAMETERS = 46_962_128
# Weights and Adam's two states, twice while a checkpoint takes the old one's place; and the weights
# after each of ITSL's six stages.
_CHECKPOINT_BYTES = 4 * _PARAMETERS * (2 * 3 + 6)


@app.command()
def main() -> int:
    """Say what this machine can do and what is missing, each with its remedy."""
    import typer

    from suites.tables.text import hanging

    missing = 0
    for ok, what, detail in checks():
        missing += not ok
        typer.echo(hanging(f"{'ok     ' if ok else 'missing'}  {what:<14} ", detail))
    return 1 if missing else 0


def checks() -> Iterator[tuple[bool, str, str]]:
    """(fine, what, detail or remedy) for each thing that suites use."""
    yield True, "python", f"{platform.python_version()} on {platform.platform()}"
    for package in NEEDED:
        yield _package(package, "pip install -e .")
    for package, use in OPTIONAL.items():
        ok, what, detail = _package(package, f"pip install {package}: {use}")
        yield ok, what, f"{detail} ({use})" if ok else detail
    yield from _machine()
    yield from _folders()


def _package(package: str, remedy: str) -> tuple[bool, str, str]:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return False, package, remedy
    try:
        if package == "torch":
            importlib.import_module(package)
    except Exception as error:  # a broken binary raises anything
        return False, package, f"{version} does not import ({error}); reinstall it"
    return True, package, version


def _machine() -> Iterator[tuple[bool, str, str]]:
    from suites.engine.store.provenance import cpu_name

    yield True, "cpu", f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    yield from _shared_memory()
    try:
        import torch
    except ImportError:
        return
    yield from _torch()
    yield from _kernel()
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        yield True, f"cuda:{index}", f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    from stdcf.memory.cuda.cudnn_fallback import Versions

    versions = Versions.read()
    fine = f"{versions}: half-precision 3D convolutions run by cuDNN"
    if versions.cudnn is None:
        fine = f"{versions}: no GPU build"
    yield not versions.falls_back, "conv3d", versions.warning or fine
    if not torch.cuda.is_available():
        yield True, "cuda", "none: memory is predicted for CUDA and measured on CPU tensors"
    slurm = shutil.which("sbatch")
    yield True, "slurm", slurm or "no sbatch on this machine"


def _kernel() -> Iterator[tuple[bool, str, str]]:
    from stdcf.layers.cpu.library import problem

    why = problem()
    is_off = os.environ.get("STDCF_KERNEL") == "0"
    detail = why or "compiled"
    yield why is None or is_off, "compiler", f"{detail} (the fused STDCF layer on CPU)"


def _torch() -> Iterator[tuple[bool, str, str]]:
    """Whether this torch has what predictions need, part of which is private to it."""
    import torch

    from stdcf.memory import predict_peak

    version = str(torch.__version__)
    remedy = f"pip install 'torch=={NEWEST_TORCH}.*'"
    if torch.__version__ < "2.10":
        yield False, "prediction", f"torch {version} is older than 2.10; {remedy}"
        return

    def network() -> torch.nn.Module:
        layers = torch.nn
        pool = layers.AdaptiveAvgPool3d(1)
        return layers.Sequential(layers.Conv3d(1, 2, 3), pool, layers.Flatten())

    try:
        predict_peak(network, (2, 1, 4, 8, 8), num_classes=2)
    except Exception as error:  # a private function of torch that changed raises anything
        first = " ".join(str(error).split())[:120]
        detail = f"fails under torch {version} ({type(error).__name__}: {first})"
        yield False, "prediction", f"{detail}; {remedy}, the newest that was tried"
    else:
        yield True, "prediction", f"of memory works under torch {version}"


def _shared_memory() -> Iterator[tuple[bool, str, str]]:
    from stdcf.data.clips import shared_memory

    free = shared_memory.free_bytes()
    if free is None:
        return
    needed = shared_memory.needed_bytes(_BATCH_BYTES, 1)
    detail = f"{shared_memory.FOLDER}, {free / 2**20:.0f} MiB free"
    if free < needed:
        need = shared_memory.remedy(needed)
        yield False, "shared memory", f"{detail}; a data worker of kinetics_table3 needs {need}"
    else:
        yield True, "shared memory", f"{detail}, for batches from data workers"


def _folders() -> Iterator[tuple[bool, str, str]]:
    from stdcf.data.frames.cache import default_cache_dir
    from suites.paths import local_results

    for what, folder, remedy in (
        ("results", local_results(), "give --results, or set STDCF_RESULTS"),
        ("cache", default_cache_dir(), "set STDCF_CACHE to a folder you may write"),
    ):
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        if os.access(existing, os.W_OK):
            free = shutil.disk_usage(existing).free
            detail = f"{folder}, {free / 2**30:.1f} GiB free"
            if what == "results" and free < _CHECKPOINT_BYTES:
                needed = f"{_CHECKPOINT_BYTES / 2**30:.1f} GiB"
                yield False, what, f"{detail}; a run of resnet3d_50 writes {needed}: {remedy}"
            else:
                yield True, what, detail
        else:
            yield False, what, f"{folder} cannot be written; {remedy}"


if __name__ == "__main__":
    run(app)
