"""What a suite is: runs to do, a table and figures of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suites.engine.spec import RunSpec
from suites.tables.table import Table

Row = Mapping[str, Any]

# The figures that every suite has unless it leaves them out; see `figures_common`.
COMMON_FIGURES = ("accuracy_memory", "stage_memory", "training_curves", "speed_ratios")


@dataclass(frozen=True)
class Request:
    """What the command line asks of a suite; None leaves the profile's own value.

    Attributes:
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
    amp: bool = False
    cap_bytes: int | None = None
    device: str = "cpu"
    ranks: int = 1
    sync_batchnorm: bool = True
    data_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    layer_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overrides(self) -> tuple[str, ...]:
        """The options above as words, for titles and folders."""
        flat = {**self.options, **self.data_options, **self.model_options}
        for layer, options in self.layer_options.items():
            flat |= {f"{layer}.{name}": value for name, value in options.items()}
        return tuple(f"{name}={value}" for name, value in sorted(flat.items()))


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
        bind: completes the runs with what lies in the results folder (weights to start from).
        workers: runs at a time; None leaves it to the machine.
        options: names of options of its own, for --option.
        prefers_gpu: without --device it takes the GPU where there is one.
        stop_seconds: how long its runs get to stop when time is up, which then is part of the
            budget; None: as long as a checkpoint may take, beyond it.
        short_tasks: tasks of which one process does many in turn.
        leaves_out: names of the figures that every suite has and this one does not want.
    """

    name: str
    title: str
    profiles: Sequence[str]
    datasets: Sequence[str]
    dataset_options: Callable[[Request], dict[str, Any]]
    specs: Callable[[Request, str], list[RunSpec]]
    tables: Callable[[Sequence[Row]], list[Table]]
    figures: Callable[[Sequence[Row], Path], list[Path]]
    plan: Callable[[Sequence[RunSpec]], list[Table]] | None = None
    bind: Callable[[Sequence[RunSpec], Path], list[RunSpec]] | None = None
    workers: int | None = None
    options: Sequence[str] = ()
    prefers_gpu: bool = False
    stop_seconds: float | None = None
    short_tasks: Sequence[str] = ()
    leaves_out: Sequence[str] = ()


def no_figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """The paper draws none of these results."""
    return []
