"""One call of a suite: its data, its runs, its tables."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from stdcf.errors import UserError
from suites import store
from suites.display import RunDisplay
from suites.runner import default_workers, make_jobs, run_missing
from suites.spec import NO_DATA, RunSpec
from suites.suite import Request, Suite
from suites.units import parse_bytes

UNKNOWN_MANIFEST = "unknown"


def make_request(
    suite: Suite,
    profile: str | None,
    dataset: str | None,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    cap: str | None = None,
    amp: bool = False,
    device: str = "cpu",
    data_options: Sequence[str] = (),
    model_options: Sequence[str] = (),
    layer_options: Sequence[str] = (),
) -> Request:
    """The command line's words, checked.

    Raises:
        UserError: for what the suite does not know or this machine does not have.
    """
    profile = profile or suite.profiles[0]
    if profile not in suite.profiles:
        raise UserError(f"no profile {profile!r}; {suite.name} has {', '.join(suite.profiles)}")
    dataset = dataset or suite.datasets[0]
    if dataset not in suite.datasets:
        raise UserError(f"{suite.name} does not run on {dataset!r}; on {', '.join(suite.datasets)}")
    for option, value in (("--seeds", seeds), ("--epochs", epochs)):
        if value is not None and value < 1:
            raise UserError(f"{option} must be at least 1, not {value}")
    return Request(
        profile=profile,
        dataset=dataset,
        seeds=seeds,
        epochs=epochs,
        amp=amp,
        cap_bytes=None if cap is None else parse_bytes(cap),
        device=_checked_device(device),
        data_options=dict(_option("--data-option", text) for text in data_options),
        model_options=dict(_option("--model-option", text) for text in model_options),
        layer_options=_layer_options(layer_options),
    )


def _option(flag: str, text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as JSON where it is JSON, else as a word."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UserError(f"{flag} takes NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _layer_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, value = _option("--layer-option", text)
        layer, dot, name = path.partition(".")
        if not dot:
            raise UserError(f"--layer-option takes LAYER.NAME=VALUE, not {text!r}")
        options.setdefault(layer, {})[name] = value
    return options


def _checked_device(device: str) -> str:
    kind, _, index = device.partition(":")
    if device == "cpu":
        return device
    if kind != "cuda" or not (index.isdecimal() or device == "cuda"):
        raise UserError(f"--device must be cpu, cuda or cuda:N, not {device!r}")
    import torch

    if int(index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"no {device} on this machine ({torch.cuda.device_count()} CUDA devices); --device cpu"
        )
    return f"cuda:{index or 0}"


def _check_models(specs: Sequence[RunSpec], request: Request) -> None:
    """Builds each model once, so that a wrong option is said now and not by every run."""
    from suites.catalog import LAYERS
    from suites.execute import build_model

    for layer in request.layer_options:
        if layer not in {spec.layer for spec in specs}:
            raise UserError(f"no layer {layer!r} in this suite; there are {', '.join(LAYERS)}")
    built = set()
    for spec in specs:
        options = json.dumps([spec.layer_options, spec.model_options], sort_keys=True)
        key = (spec.model, spec.layer, options)
        if key in built or spec.task != "train":
            continue
        built.add(key)
        try:
            build_model(spec, num_classes=2, in_channels=1)
        except (ValueError, TypeError) as error:
            raise UserError(f"{spec.layer} {spec.model} cannot be built: {error}") from error


class Session:
    """A suite's runs of one request, in one results folder.

    Args:
        data_root: folder of the data set; None looks where the data set is by default.
        results: default results/local.
        prepare: open the data, generating or decoding what is missing; a plan needs none.

    Raises:
        UserError: if the data is not there or does not fit the request.
    """

    def __init__(
        self,
        suite: Suite,
        request: Request,
        data_root: Path | None,
        results: Path | None,
        *,
        prepare: bool = True,
    ) -> None:
        self.suite = suite
        self.request = request
        self.results = (results or store.LOCAL).expanduser().resolve()
        self.data_root = None if data_root is None else str(data_root.expanduser().resolve())
        self.console = Console(highlight=False, width=None if Console().is_terminal else 200)
        store.check_writable(self.results)
        # Before the data, whose decoding may take minutes.
        self.specs = suite.specs(request, UNKNOWN_MANIFEST)
        _check_models(self.specs, request)
        if prepare and request.dataset != NO_DATA:
            self.specs = suite.specs(request, self._manifest())

    def _manifest(self) -> str:
        from suites.catalog import load_dataset

        on_terminal = self.console.is_terminal
        with Progress(console=self.console, transient=True, disable=not on_terminal) as progress:
            bar = progress.add_task(f"preparing {self.request.dataset}", total=None)

            def show(done: int, total: int, _: str) -> None:
                progress.update(bar, completed=done, total=total)

            options = self.suite.dataset_options(self.request)
            try:
                data = load_dataset(self.request.dataset, self.data_root, progress=show, **options)
            except TypeError as error:
                if not self.request.data_options:
                    raise
                words = ", ".join(f"{n}={v}" for n, v in self.request.data_options.items())
                raise UserError(f"{self.request.dataset} with {words}: {error}") from error
        for note in data.notes:
            self.console.print(note, markup=False)
        return data.manifest

    def run(self, workers: int | None, deadline: float | None) -> None:
        """Runs what has no final row.

        Raises:
            KeyboardInterrupt: on Ctrl-C, with every run resumable.
        """
        jobs, done = make_jobs(self.specs, self.results)
        if not jobs:
            self.console.print(f"all {done} runs of {self.suite.name} are done; nothing to run")
            return
        started = time.monotonic()
        try:
            with RunDisplay(self.suite.name, done) as display:
                finished = run_missing(
                    jobs,
                    workers=workers or default_workers(self.request.device),
                    device=self.request.device,
                    data_root=self.data_root,
                    display=display,
                    deadline=deadline,
                )
        except KeyboardInterrupt:
            self.console.print("stopped; nothing is lost, the same command goes on")
            raise
        if not finished:
            self.console.print("time is up; nothing is lost, the same command goes on")
        self.console.print(f"{(time.monotonic() - started) / 60:.1f} minutes")

    def print_plan(self) -> None:
        """What would run, and how much computation each run is."""
        from suites.plan_table import plan_table

        plan_table(self.suite, self.specs, self.results).print()

    def print_tables(self) -> bool:
        """Prints the tables; whether every row of the request is there and ok."""
        found = store.rows(self.results, self.suite.name)
        # Rows of other clips (videos were added, say) belong to another table.
        wanted = (self.specs[0].setting, self.specs[0].manifest)
        shown = [row for row in found if (row["setting"], row["manifest"]) == wanted]
        for table in self.suite.tables(shown):
            table.print()
        results = [store.RunFolder(self.results / s.folder_name).result() for s in self.specs]
        missing = sum(result is None for result in results)
        ok = sum(result is not None and result["status"] == "ok" for result in results)
        if ok < len(results):
            self.console.print(
                f"{ok} of {len(results)} runs ok, {len(results) - ok - missing} not ok, "
                f"{missing} not run"
            )
        return ok == len(results)
