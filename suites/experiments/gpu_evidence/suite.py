"""What only a GPU can tell, in the order of its value: one command for any window of time.

1 the machine; 2 and 3 the memory of Tables 2 and 3; 4 every saver in both types, and what of it is
cuDNN's; 5 caps; 9 the fused kernel, its errors and memory; 6 the layer's speed, with the kernel and
without; 7 training throughput, with the kernel first; 8 Table 2 on real clips, if given. The
predictions that these are held against need no GPU and come last there, alone on a CPU.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.suite import TRAINS, Request, Row, Suite
from suites.experiments.gpu_evidence import cases
from suites.experiments.gpu_evidence.tables import tables
from suites.experiments.kth_table2 import suite as kth_table2
from suites.experiments.layer_speed import suite as layer_speed
from suites.experiments.shared import kth

NAME = "gpu_evidence"
PROFILES = ("paper", "quick")
FACTORS = (1.5, 1.1, 1.0, 0.9, 0.5)
# What cuDNN makes of float32 by default first; float32 proper, which few train in, comes last.
LAYER_DTYPES = ("tf32", "bfloat16", "float32")
# The kernel's products: TF32, tensor units of 16 bits, and float32 proper.
KERNEL_DTYPES = ("tf32", "bfloat16", "float16", "float32")
# Few clips are launched more slowly than they are computed.
LAYER_BATCH = 32
# Of a shape's layers, and of a network's ways to train, in turn.
SECONDS = {"paper": 3, "quick": 0}
# As many as the budget allows.
SEEDS = 10

Make = Callable[..., RunSpec]

# Item -> its groups of steps, which are measured, predicted, and held to the prediction.
_STEPS = (
    ("2-table2", cases.table2),
    ("3-table3", cases.table3),
    ("4-savers", cases.every_saver),
    ("4-others", cases.others),
)


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """The runs in the order of their value; without a GPU those that need none."""
    quick = request.profile == "quick"

    def make(
        task: str, mode: str, model: str = "", device: str = "cuda", **options: Any
    ) -> RunSpec:
        return RunSpec(
            suite=NAME,
            profile=request.profile,
            task=task,
            mode=mode,
            model=model,
            seed=0,
            device="cuda" if device == "cuda" else "cpu",
            options=options,
        )

    found = []
    if request.on_gpu:
        found += [make("gpu_machine", "1-machine"), *_on_gpu(make, quick, SECONDS[request.profile])]
    else:
        found += [make("gpu_machine", "1-machine", device="cpu"), *_on_cpu(make, request)]
    training = [] if request.dataset == NO_DATA else _training(request, manifest)
    return [*found, *training, *_predictions(make, quick)]


def _on_gpu(make: Make, quick: bool, seconds: int) -> Iterator[RunSpec]:
    """Items 2 to 7, and 9."""
    for name, steps in _some(cases.table2(), quick):
        yield make("gpu_memory", f"2-table2-{name}", "kth_cnn", cases=steps)
    for name, steps in _some(cases.table3(), quick):
        yield make("gpu_memory", f"3-table3-{name}", steps[0]["model"], cases=steps, fit=True)
    for item, group in (("4-savers", cases.every_saver), ("4-others", cases.others)):
        for name, steps in _some(group(), quick):
            yield make("gpu_memory", f"{item}-{name}", steps[0]["model"], cases=steps)
    for name, steps in _some([*cases.table2(), *cases.table3()], quick):
        own = {"cases": steps[:1], "workspaces": True}
        yield make("gpu_prediction", f"4-workspaces-{name}", steps[0]["model"], **own)
    for one in (cases.case("kth_cnn", "regular"), cases.case("resnet3d_50", "stdcf")):
        yield make("gpu_cap", f"5-cap-{one['model']}", one["model"], case=one, factors=FACTORS)
    for item, group in _STEPS:
        for name, steps in _some(group(), quick):
            yield make(
                "gpu_estimate", f"5-estimate-{item[2:]}-{name}", steps[0]["model"], cases=steps
            )
    yield from _kernel(make, quick)
    for dtype in LAYER_DTYPES:
        yield from _layers(make, dtype, seconds)
    yield from _fused(make, quick, seconds)
    yield from _throughput(make, seconds)


def _layers(make: Make, dtype: str, seconds: int) -> Iterator[RunSpec]:
    for shape in layer_speed.SHAPES:
        options = {"shape": shape, "dtype": dtype, "batch": LAYER_BATCH}
        # A third of what networks get: there are many.
        yield make("layer_speed", f"{shape}-{dtype}", seconds=seconds / 3, **options)


def _on_cpu(make: Make, request: Request) -> Iterator[RunSpec]:
    """What of item 7 a CPU does in seconds; item 6 is the suite layer_speed there."""
    steps = [cases.case("kth_cnn", "regular", stage) for stage in cases.STAGES]
    own = {"cases": steps, "seconds": SECONDS[request.profile]}
    yield make("gpu_throughput", "7-kth_cnn-regular", "kth_cnn", device="cpu", **own)


def _kernel(make: Make, quick: bool) -> Iterator[RunSpec]:
    """Item 9."""
    for dtype in KERNEL_DTYPES[:1] if quick else KERNEL_DTYPES:
        yield make("gpu_kernel", f"9-kernel-{dtype}", dtype=dtype)
    for model, steps in _some(cases.fused(memory=True), quick):
        yield make("gpu_memory", f"9-memory-{model}", model, cases=steps)


def _fused(make: Make, quick: bool, seconds: int) -> Iterator[RunSpec]:
    """Of item 7: networks with the kernel in every layer, as they are and compiled."""
    for model, steps in _some(cases.fused(memory=False), quick):
        own = {"cases": steps, "seconds": seconds}
        yield make("gpu_throughput", f"7-fused-{model}", model, **own)
    for model, _ in _some(cases.fused(memory=False), quick):
        options = {"dropout": 0.0} if model == "kth_cnn" else {}
        one = cases.case(model, "stdcf", model_options=options, plan="factored")
        own = {"cases": [one], "seconds": seconds}
        yield make("gpu_compiled", f"7-fused-compiled-{model}", model, **own)


def _throughput(make: Make, seconds: int) -> Iterator[RunSpec]:
    ways = [("full", ""), ("t1", ""), ("s1", ""), ("full", "recompute"), ("full", "checkpoint")]
    for model in ("kth_cnn", "resnet3d_50"):
        for layer in cases.LAYERS:
            steps = [
                cases.case(model, layer, stage, savers, dtype)
                for dtype in cases.DTYPES
                for stage, savers in ways
            ]
            yield make("gpu_throughput", f"7-{model}-{layer}", model, cases=steps, seconds=seconds)
    for model in ("kth_cnn", "resnet3d_50"):
        for layer in cases.LAYERS:
            # What is dropped differs when compiled, and its output is checked.
            options = {"dropout": 0.0} if model == "kth_cnn" else {}
            own = {"cases": [cases.case(model, layer, model_options=options)], "seconds": seconds}
            yield make("gpu_compiled", f"7-compiled-{model}-{layer}", model, **own)


def _training(request: Request, manifest: str) -> list[RunSpec]:
    """Item 8: kth_table2's own runs, seed by seed."""
    return kth.specs(replace(request, seeds=request.seeds or SEEDS), manifest, NAME)


def _predictions(make: Make, quick: bool) -> Iterator[RunSpec]:
    for item, group in (*_STEPS, ("9-memory", partial(cases.fused, memory=True))):
        for name, steps in _some(group(), quick):
            yield make("gpu_prediction", f"predicted-{item}-{name}", steps[0]["model"], cases=steps)


def _some(groups: Any, quick: bool) -> list[Any]:
    """All, or in the quick profile the first, with its first two steps."""
    found = list(groups)
    return [(name, steps[:2]) for name, steps in found[:1]] if quick else found


def figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """layer_speed's of the layers, and Figure 5 of the training, where there are rows."""
    drawn = []
    layers = [row for row in rows if row["mode"].partition("-")[0] in layer_speed.SHAPES]
    trained = [row for row in rows if row["dataset"] != NO_DATA]
    if any(row["status"] == "ok" for row in layers):
        drawn += layer_speed.SUITE.figures(layers, folder)
    if trained:
        drawn += kth_table2.SUITE.figures(trained, folder)
    return drawn


SUITE = Suite(
    name=NAME,
    title="What only a GPU can tell: memory, caps, speed, throughput, Table 2",
    profiles=PROFILES,
    datasets=(NO_DATA, "weizmann", "kth"),
    dataset_options=kth.dataset_options,
    specs=specs,
    tables=tables,
    figures=figures,
    workers=1,
    prefers_gpu=True,
    stop_seconds=10.0,
    takes=TRAINS,
    because="that is for the training of item 8, by one process a run",
    short_tasks=(
        *("gpu_machine", "gpu_memory", "gpu_prediction", "gpu_cap"),
        *("gpu_estimate", "gpu_kernel", "layer_speed", "gpu_throughput"),
    ),
)
