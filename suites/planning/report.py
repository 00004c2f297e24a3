"""What `suites.plan` found, as a table, as JSON and as the command that runs it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stdcf.memory.report import MARGIN
from stdcf.memory.savers.names import read_words
from suites.planning.ways import Schedule, Way
from suites.tables.table import Table

MIB = 2**20
# What a step takes beyond multiplications, by saver.
BESIDE = {
    "recompute": "normalisation and activation again",
    "int8": "quantising",
    "offload": "copies to the host and back",
}


@dataclass(frozen=True)
class Asked:
    """What the command line asked for."""

    cap: str
    cap_bytes: int
    model: str
    layer: str
    shape: tuple[int, int, int, int, int]
    optimizer: str
    device: str
    dataset: str
    data_root: Path | None
    alloc_conf: str
    context_bytes: int
    model_options: Mapping[str, Any]
    layer_options: Mapping[str, Any]
    batch_norm: bool = True
    ranks: int = 1
    versions_warning: str = ""
    runs_here: bool = True

    @property
    def title(self) -> str:
        size = "×".join(map(str, self.shape[2:]))
        clips = f"{self.shape[0]} clips of {size}"
        if self.ranks > 1:
            share = -(-self.shape[0] // self.ranks)
            clips += f" on {self.ranks} GPUs, {share} on each"
        return f"{self.model} {self.layer}, {clips}, {self.optimizer}"


def table(asked: Asked, ways: Sequence[Way]) -> Table:
    """One line a way."""
    on_cuda = asked.device != "cpu"
    body = []
    for way in ways:
        row = [
            schedule_name(way),
            "+".join(way.savers) or "–",
            *(f"{n_bytes / MIB:,.0f}" for n_bytes in _bytes(way)),
            f"{way.host_bytes / MIB:,.0f}" if way.host_bytes else "–",
            f"{way.step_cost:.2f}×",
            f"{way.training_cost:.2f}×",
            str(way.verdict(asked.cap_bytes)),
            str(way.largest_batch),
        ]
        body.append(row)
    return Table(
        title=f"{asked.title}: cap {asked.cap}",
        columns=[
            "Training",
            "Savers",
            *(_ON_CUDA if on_cuda else ["Peak, MiB"]),
            "On host, MiB",
            "Step cost",
            "Whole training",
            "Fits",
            "Largest batch",
        ],
        rows=body,
        notes=[
            *(_explained(asked) if on_cuda else [_PEAK]),
            "costs: multiplications against plain full size, at equal epochs a stage; "
            "bf16's are faster on most GPUs",
            *([] if on_cuda else ["not in it: what operators allocate within themselves"]),
        ],
    )


_ON_CUDA = ("Allocated, MiB", "Smallest cap, MiB", "Reserved, MiB")
_PEAK = "peak: all tensors of a step (ITSL: of its larger stage), predicted"


def _bytes(way: Way) -> list[int]:
    found = [way.allocated_bytes, way.smallest_cap_bytes, way.reserved_bytes]
    return [way.peak_bytes] if None in found else [n for n in found if n is not None]


def _explained(asked: Asked) -> list[str]:
    return [
        "the CUDA allocator's memory, predicted, with what cuBLAS and cuDNN take of it (ITSL: of "
        "its larger stage): in use at the peak; the least limit under which a step runs, which "
        "gives back cached blocks under pressure; what it holds if nothing hinders it",
        f"fits: with a margin of {MARGIN:.0%} and {asked.context_bytes / MIB:,.0f} MiB for CUDA's "
        "context (--context); with flushes: cached blocks are given back now and then, which is "
        "slower; tight: without the margin alone",
    ]


def notes(
    asked: Asked,
    shown: Sequence[Way],
    count: int,
    left_out: Mapping[str, str],
    testing_bytes: int | None = None,
) -> list[str]:
    """The way to take, the command that runs it, and what is to be known of it.

    Args:
        testing_bytes: what a test needs, with margin and context, of the first way.
    """
    lines = [f"{name} is left out: {why}" for name, why in left_out.items()]
    if asked.versions_warning and any("bf16" in way.savers for way in shown):
        lines.append(f"bf16: {asked.versions_warning}")
    if count > len(shown):
        lines.append(f"{count - len(shown)} more ways with --all")
    best = shown[0]
    if not best.fits(asked.cap_bytes):
        return [*lines, _nothing_fits(asked, shown)]
    what = "with margin and context" if asked.device != "cpu" else "at the peak"
    lines.append(f"take: {describe(best)}, {best.needs_bytes / MIB:,.0f} MiB {what} of {asked.cap}")
    lines += [f"  {words}" for words in _cautions(best, asked.batch_norm)]
    if testing_bytes is not None and testing_bytes > best.needs_bytes:
        lines.append(_testing(asked, testing_bytes))
    return [*lines, run_line(asked, best)]


def run_line(asked: Asked, way: Way) -> str:
    """The command, or what takes its place."""
    if asked.runs_here:
        return f"run: {command(asked, way.schedule, way.savers)}"
    return "run: in a loop of your own, by stdcf.memory.savers.learn with the same inputs and loss"


def _testing(asked: Asked, testing_bytes: int) -> str:
    size = "×".join(map(str, asked.shape[2:]))
    words = (
        f"  testing needs more than training: {testing_bytes / MIB:,.0f} MiB for "
        f"{asked.shape[0]} clips of {size}"
    )
    if testing_bytes <= asked.cap_bytes:
        return words
    return f"{words}, which is over the cap; suites.run tests in smaller batches then"


def _nothing_fits(asked: Asked, shown: Sequence[Way]) -> str:
    most = max(shown, key=lambda way: way.largest_batch)
    words = f"nothing fits at {asked.shape[0]} clips a step"
    if most.largest_batch:
        return f"{words}; {describe(most)} takes up to {most.largest_batch}"
    return f"{words}, nor does one clip; take smaller clips or a smaller network"


def describe(way: Way) -> str:
    """A way in words."""
    return schedule_name(way) + (f" with {' and '.join(way.savers)}" if way.savers else "")


def schedule_name(way: Way) -> str:
    """The schedule as tables name it."""
    if way.schedule.name == "full":
        return "full size"
    return f"ITSL β={way.schedule.beta} γ={way.schedule.gamma}"


def _cautions(way: Way, batch_norm: bool) -> list[str]:
    names = read_words(tuple(way.savers))
    found = []
    if way.schedule.name != "full":
        found.append(
            f"ITSL is another training: {2 * way.schedule.iterations} stages on smaller clips"
        )
    if "accumulate" in names and batch_norm:
        size = way.batch // way.micro_batches
        found.append(f"BatchNorm sees micro-batches of {size} clips")
    if "int8" in names:
        found.append("int8: gradients of activations that are off by up to 1/255 of their block")
    beside = [words for name, words in BESIDE.items() if name in names]
    return [*found, *([f"time beside multiplications: {', '.join(beside)}"] if beside else [])]


def command(asked: Asked, schedule: Schedule, savers: Sequence[str]) -> str:
    """The `suites.run` line that trains so."""
    batch, channels, *clip = asked.shape
    words = ["python", "-m", "suites.run", "single", "--dataset", asked.dataset]
    if asked.data_root is not None:
        words += ["--data-root", str(asked.data_root)]
    words += ["--cap", asked.cap, "--device", asked.device]
    if asked.ranks > 1:
        words += ["--executor", "slurm", "--ranks", str(asked.ranks)]
    options: dict[str, Any] = {
        "model": asked.model,
        "layer": asked.layer,
        "clip": "x".join(map(str, clip)),
        "channels": channels,
        "batch": batch,
        "optimizer": asked.optimizer,
        "mode": schedule.name.partition(" ")[0],
    }
    if schedule.name != "full":
        options["itsl"] = f"{schedule.beta},{schedule.gamma}"
        options["iterations"] = schedule.iterations
    if savers:
        options["savers"] = ",".join(savers)
    for name, value in options.items():
        words += ["--option", f"{name}={value}"]
    for name, value in asked.model_options.items():
        words += ["--model-option", f"{name}={_as_typed(value)}"]
    for name, value in asked.layer_options.items():
        words += ["--layer-option", f"{asked.layer}.{name}={_as_typed(value)}"]
    setting = (
        f"PYTORCH_CUDA_ALLOC_CONF={shlex.quote(asked.alloc_conf)} " if asked.alloc_conf else ""
    )
    return setting + shlex.join(words)


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def as_object(
    asked: Asked, shown: Sequence[Way], others: Sequence[Way], testing_bytes: int | None = None
) -> dict[str, Any]:
    """All of it, in bytes; the others are interpolated."""
    best = shown[0]
    fits = best.fits(asked.cap_bytes)
    return {
        "model": asked.model,
        "layer": asked.layer,
        "input_shape": list(asked.shape),
        "optimizer": asked.optimizer,
        "device": asked.device,
        "cap_bytes": asked.cap_bytes,
        "ways": [_way_object(way, asked.cap_bytes) for way in [*shown, *others]],
        "take": 0 if fits else None,
        "command": command(asked, best.schedule, best.savers) if fits and asked.runs_here else None,
        "testing_needs_bytes": testing_bytes,
    }


def _way_object(way: Way, cap_bytes: int) -> dict[str, Any]:
    content = asdict(way)
    schedule = content.pop("schedule")
    own = {key: schedule[key] for key in ("name", "iterations", "beta", "gamma")}
    verdict = way.verdict(cap_bytes)
    more = {"largest_batch": way.largest_batch, "fits": verdict.safely, "verdict": str(verdict)}
    return {"schedule": own, **content, **more}
