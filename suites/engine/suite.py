"""What a suite is: runs to do, a table and figures of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from suites.engine.spec import NO_DATA, RunSpec
from suites.tables.table import Table

Row = Mapping[str, Any]

# The figures that every suite has unless it leaves them out; see `figures_common`.
COMMON_FIGURES = ("accuracy_memory", "stage_memory", "training_curves", "speed_ratios")


# Field of a request -> the option of suites.run that sets it, of those that change runs.
FLAGS = {
    "seeds": "--seeds",
    "epochs": "--epochs",
    "cap_bytes": "--cap",
    "amp": "--amp",
    "device": "--device",
    "folds": "--folds",
    "ranks": "--ranks",
    "data_options": "--data-option",
    "model_options": "--model-option",
    "layer_options": "--layer-option",
}
# What a suite takes whose runs are trained, each by one process.
TRAINS = (
    *("seeds", "epochs", "cap_bytes", "amp", "device"),
    *("data_options", "model_options", "layer_options"),
)


@dataclass(frozen=True)
class Request:
    """What the command line asks of a suite; None leaves the profile's own value.

    Attributes:
        folds: how many folds of a data set that is tested by leaving one out.
        ranks: processes that train a run together.
        sync_batchnorm: batch normalisation over the batch of all ranks.
        data_options, model_options: name -> value.
        layer_options: layer -> name -> value.
        options: of the suite itself, name -> value.
    """

    profile: str
    dataset: str
    seeds: int | None = None
    epochs: int | None = None
    folds: int | None = None
    amp: bool = False
    cap_bytes: int | None = None
    device: str = "cpu"
    ranks: int = 1
    sync_batchnorm: bool = True
    data_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    layer_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, suite: str, manifest: str = NO_DATA, **own: Any) -> RunSpec:
        """A run of this request: what the command line says of every run, and the run's `own`.

        Args:
            own: fields of `RunSpec`; one that the request fills too takes its place.
        """
        asked: dict[str, Any] = {
            "profile": self.profile,
            "dataset": self.dataset,
            "dataset_options": dict(self.data_options),
            "manifest": manifest,
            "model_options": dict(self.model_options),
            "layer_options": dict(self.layer_options.get(own.get("layer", ""), {})),
            "amp": self.amp,
            "device": "cuda" if self.on_gpu else "cpu",
            "epochs_override": self.epochs,
            "overrides": self.overrides,
            "cap_bytes": self.cap_bytes,
        }
        return RunSpec(suite=suite, **asked | own)

    def each_seed(self, usual: int) -> range:
        """The seeds from 0, `usual` many unless --seeds says otherwise.

        Raises:
            UserError: if it says none.
        """
        count = usual if self.seeds is None else self.seeds
        if count < 1:
            raise UserError(f"--seeds must be at least 1, not {count}")
        return range(count)

    @property
    def on_gpu(self) -> bool:
        """Whether runs are for CUDA."""
        return self.device.startswith("cuda")

    @property
    def overrides(self) -> tuple[str, ...]:
        """The options above as words, for titles and folders."""
        flat = {**self.options, **self.data_options, **self.model_options}
        for layer, options in self.layer_options.items():
            flat |= {f"{layer}.{name}": value for name, value in options.items()}
        return tuple(f"{name}={value}" for name, value in sorted(flat.items()))


def no_figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Of results of which there is no figure."""
    return []


def drawn_by(where: str, **options: Any) -> Callable[[Sequence[Row], Path], list[Path]]:
    """The figures of "module:function", below `suites.experiments`, called with these options too.

    The module is imported when figures are asked for, so that tables need no Matplotlib.
    """
    module, _, function = where.partition(":")

    def figures(rows: Sequence[Row], folder: Path) -> list[Path]:
        draw = getattr(import_module(f"suites.experiments.{module}"), function)
        drawn: list[Path] = draw(rows, folder, **options)
        return drawn

    return figures


@dataclass(frozen=True)
class Suite:
    """One experiment.

    Attributes:
        profiles: names, the default first.
        datasets: names of the data sets that it runs on, the default first.
        dataset_options: options with which the request's data set is loaded.
        specs: the runs of a request, in the order of their value, for clips with this manifest.
        tables: from the rows of one setting; rows may be missing.
        figures: draws into a folder from the rows of one setting; returns what it wrote.
        plan: what `--dry-run` prints beside the list of runs, without data.
        in_gpu_hours: `--dry-run` says what is trained, and how many hours of a GPU that takes.
        rank: orders trainings by what they decide, for a budget; None: as `specs` does.
        bind: completes the runs with what lies in the results folder (weights to start from).
        workers: runs at a time; None leaves it to the machine.
        options: names of options of its own, for --option.
        prefers_gpu: without --device it takes the GPU where there is one.
        stop_seconds: how long its runs get to stop when time is up, which then is part of the
            budget; None: as long as a checkpoint may take, beyond it.
        short_tasks: tasks of which one process does many in turn.
        leaves_out: names of the figures that every suite has and this one does not want.
        takes: fields of a request that its runs honour, of those in `FLAGS`; others are refused.
        takes_without_data: the same where the data set is "none".
        because: why others are refused, for the message.
        guide: what the numbers mean and what to try next, printed below the tables of whole runs.
    """

    name: str
    title: str
    profiles: Sequence[str]
    datasets: Sequence[str]
    dataset_options: Callable[[Request], dict[str, Any]]
    specs: Callable[[Request, str], list[RunSpec]]
    tables: Callable[[Sequence[Row]], list[Table]]
    figures: Callable[[Sequence[Row], Path], list[Path]] = no_figures
    plan: Callable[[Sequence[RunSpec]], list[Table]] | None = None
    in_gpu_hours: bool = False
    rank: Callable[[RunSpec], Any] | None = None
    bind: Callable[[Sequence[RunSpec], Path], list[RunSpec]] | None = None
    workers: int | None = None
    options: Sequence[str] = ()
    prefers_gpu: bool = False
    stop_seconds: float | None = None
    short_tasks: Sequence[str] = ()
    leaves_out: Sequence[str] = ()
    takes: Sequence[str] = (*TRAINS, "ranks")
    takes_without_data: Sequence[str] = ("device",)
    because: str = "each run is trained by one process"
    guide: str = ""
