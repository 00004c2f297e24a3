"""``python -m suites.planning.predictors …``: one step's peak memory by every count that there is.

This project's predictions, torch-kitsune's where it is installed (``pip install --no-deps
torch-kitsune==0.7.0``), and with --measure a real step on this CPU: the tracker's count of its
tensors, and the allocator's own events.
"""

import json
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Annotated, Any

import typer

from suites.cli import new_app, run

app = new_app("Put predictors of a training step's peak memory beside real steps.")


@app.command()
def main(
    model: Annotated[str, typer.Option(help="As suites.plan takes it.")] = "torchvision:r3d_18",
    clip: Annotated[str, typer.Option(help="Frames, height and width.")] = "16x112x112",
    batch: Annotated[int, typer.Option(help="Clips a step.")] = 8,
    channels: Annotated[int, typer.Option(help="Of a frame.")] = 3,
    classes: Annotated[int, typer.Option(help="How many classes.")] = 400,
    optimizer: Annotated[str, typer.Option(help="adam, adamw or sgd (momentum 0.9).")] = "adam",
    measure: Annotated[bool, typer.Option("--measure", help="Take two real steps too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Put predictors of a training step's peak memory beside real steps."""
    from suites.engine.catalog import build_any
    from suites.engine.request import clip_size

    shape = (batch, channels, *clip_size("--clip", clip))

    def model_fn() -> Any:
        return build_any(model, num_classes=classes, in_channels=channels)

    rows = [*predicted(model_fn, shape, optimizer), kitsune(model_fn, shape, optimizer)]
    if measure:
        rows += measured(model_fn, shape, optimizer)
    if as_json:
        typer.echo(json.dumps([{"count": n, "peak_bytes": b, "by": w} for n, b, w in rows]))
    else:
        _show(rows, f"{model}, {batch} clips of {channels}×{clip}, {optimizer}, float32")
    return 0


# What is counted, its bytes (None: not to be had), and by what.
Count = tuple[str, int | None, str]


def predicted(model_fn: Callable[[], Any], shape: tuple[int, ...], optimizer: str) -> list[Count]:
    """This project's: tensors alone on CPU and CUDA, and the CUDA allocator's blocks."""
    from stdcf.memory import predict_peak

    on_cpu, on_cuda = (
        predict_peak(model_fn, shape, optimizer=optimizer, device=device)
        for device in ("cpu", "cuda")
    )
    return [
        ("predicted, tensors on CPU", on_cpu.peak_bytes, "predict_peak"),
        ("predicted, tensors on CUDA", on_cuda.peak_bytes, "predict_peak"),
        ("predicted, CUDA allocator's blocks", on_cuda.allocated_bytes, "predict_peak"),
        ("predicted, reserved on CUDA", on_cuda.reserved_bytes, "predict_peak"),
    ]


def kitsune(model_fn: Callable[[], Any], shape: tuple[int, ...], optimizer: str) -> Count:
    """torch-kitsune's figure for training."""
    name = "predicted by torch-kitsune"
    try:
        from kitsune.predict import predict_memory
    except ImportError:
        return name, None, "not installed: pip install --no-deps torch-kitsune==0.7.0"
    found = predict_memory(
        model_fn(), tuple(shape[1:]), batch_size=shape[0], optimizer=optimizer, training=True
    )
    version = metadata.version("torch-kitsune")
    return name, int(found.total_bytes), f"torch-kitsune {version}, predict_memory"


def measured(
    model_fn: Callable[[], Any], shape: tuple[int, ...], optimizer: str
) -> Iterator[Count]:
    """A real step on this CPU, and what its operators' own buffers, learnt here, let one expect."""
    from stdcf.memory import measure_peak, predict_peak

    for name, count in (("real tensors", "tensors"), ("allocator's events", "allocator")):
        report = measure_peak(model_fn, shape, optimizer=optimizer, device="cpu", count=count)
        yield f"measured on CPU, {name}", report.peak_bytes, report.measured_by
    report = predict_peak(model_fn, shape, optimizer=optimizer, device="cpu", workspaces=True)
    yield "predicted, with operators' own buffers", report.peak_bytes, "predict_peak, workspaces"


def _show(rows: list[Count], what: str) -> None:
    from suites.engine.store.provenance import device_name, versions
    from suites.tables.table import Table

    found = {name: n_bytes for name, n_bytes, _ in rows}
    base = found.get("measured on CPU, real tensors") or found["predicted, tensors on CPU"]
    assert base is not None
    Table(
        title=f"Peak of a training step: {what}",
        columns=["Count", "MiB", "GiB", "Ratio", "By"],
        rows=[
            [
                name,
                *(["–"] * 3 if n_bytes is None else _sizes(n_bytes, base)),
                by,
            ]
            for name, n_bytes, by in rows
        ],
        notes=[
            "ratio: to the real tensors on CPU where they were measured, else to their prediction",
            f"torch {versions()['torch']}, torchvision {versions()['torchvision']}, "
            f"{device_name('cpu')}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        ],
    ).print()


def _sizes(n_bytes: int, base: int) -> list[str]:
    return [f"{n_bytes / 2**20:,.1f}", f"{n_bytes / 2**30:.2f}", f"{n_bytes / base:.3f}×"]


if __name__ == "__main__":
    run(app)
