"""One call of a suite: its data, its runs, its tables."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from stdcf.errors import UserError
from stdcf.whole_file import write_atomically
from suites import paths
from suites.engine.progress import RunDisplay
from suites.engine.runner import default_workers, make_jobs, run_missing
from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.store import folder as store
from suites.engine.suite import Request, Suite
from suites.engine.weights import check_reachable, waits

if TYPE_CHECKING:
    from suites.engine.clip_facts import ClipFacts
    from suites.engine.dry_run import Hours

UNKNOWN_MANIFEST = "unknown"
# In a run's folder: the options of the command that did it, for another --config.
CONFIG_FILE = "config.toml"
# Of a budget that holds for all, what is kept for the tables and the archive.
_TABLES_SECONDS = 5.0


def _check_models(specs: Sequence[RunSpec], request: Request) -> None:
    """Builds each model once, so that a wrong option is said now and not by every run."""
    from suites.engine.catalog import LAYERS, build_model

    for layer in request.layer_options:
        if layer not in {spec.layer for spec in specs}:
            raise UserError(f"no layer {layer!r} in this suite; there are {', '.join(LAYERS)}")
    built = set()
    for spec in specs:
        options = json.dumps([spec.layer_options, spec.model_options], sort_keys=True)
        key = (spec.model, spec.layer, options)
        if key in built or not spec.is_training:
            continue
        built.add(key)
        try:
            build_model(spec, num_classes=2, in_channels=1)
        except (ValueError, TypeError) as error:
            raise UserError(f"{spec.layer} {spec.model} cannot be built: {error}") from error


def _of_ranks(spec: RunSpec, request: Request) -> RunSpec:
    """The run by as many processes as the request says."""
    if request.ranks == 1:
        return spec
    if spec.batch_size % request.ranks:
        raise UserError(f"--ranks {request.ranks} must divide the batch of {spec.batch_size}")
    return spec.changed(ranks=request.ranks, sync_batchnorm=request.sync_batchnorm)


def _options_key(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


class Session:
    """A suite's runs of one request, in one results folder.

    Args:
        data_root: folder of the data set; None looks where the data set is by default.
        results: default results/local.
        config: the command's options as TOML, kept beside each run that it does.
        prepare: open the data, generating or decoding what is missing; a plan needs none.
        gpu: the name of a cluster's, for estimates.

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
        config: str = "",
        prepare: bool = True,
        gpu: str | None = None,
    ) -> None:
        self.suite = suite
        self.request = request
        self._config = config
        self.results = paths.results_folder(results, must_exist=False)
        self.data_root = None if data_root is None else str(data_root.expanduser().resolve())
        self.console = Console(highlight=False, width=None if Console().is_terminal else 200)
        self._facts: dict[str, ClipFacts] = {}
        self.has_budget, self.gpu = False, gpu
        store.check_writable(self.results)
        # Before the data, whose decoding may take minutes.
        self.specs = suite.specs(request, UNKNOWN_MANIFEST)
        _check_models(self.specs, request)
        if prepare and request.dataset != NO_DATA:
            self.specs = self._prepared()
        self.specs = [_of_ranks(spec, request) for spec in self.specs]
        if suite.bind is not None:
            self.specs = suite.bind(self.specs, self.results)

    def _prepared(self) -> list[RunSpec]:
        """The request's runs, each with the manifest of its own clips."""
        common = self.suite.dataset_options(self.request)
        base_manifest, notes = self._prepare(common)
        specs = []
        others: dict[str, str] = {}
        for spec in self.suite.specs(self.request, base_manifest):
            if spec.dataset == NO_DATA or spec.dataset_options == common:
                specs.append(spec)
                continue
            key = _options_key(spec.dataset_options)
            if key not in others:
                others[key], more = self._prepare(spec.dataset_options)
                notes += more
            specs.append(spec.changed(manifest=others[key], base_manifest=base_manifest))
        for note in dict.fromkeys(notes):
            self.console.print(note, markup=False)
        return specs

    def _prepare(self, options: Mapping[str, Any]) -> tuple[str, list[str]]:
        """The data set's manifest and notes with these options, made or decoded where missing."""
        from suites.engine.catalog import load_dataset
        from suites.engine.clip_facts import facts_of

        on_terminal = self.console.is_terminal
        with Progress(console=self.console, transient=True, disable=not on_terminal) as progress:
            bar = progress.add_task(f"preparing {self.request.dataset}", total=None)

            def show(done: int, total: int, _: str) -> None:
                progress.update(bar, completed=done, total=total)

            try:
                data = load_dataset(self.request.dataset, self.data_root, progress=show, **options)
            except TypeError as error:
                if not self.request.data_options:
                    raise
                words = ", ".join(f"{n}={v}" for n, v in self.request.data_options.items())
                raise UserError(f"{self.request.dataset} with {words}: {error}") from error
        self._facts[_options_key(options)] = facts_of(data)
        return data.manifest, list(data.notes)

    def facts(self, spec: RunSpec) -> "ClipFacts | None":
        """What its clips make a run cost; assumed where they are not open, None without any."""
        from suites.engine.clip_facts import assumed_facts

        if spec.dataset == NO_DATA:
            return None
        return self._facts.get(_options_key(spec.dataset_options)) or assumed_facts(spec)

    def run(self, workers: int | None, deadline: float | None) -> None:
        """Runs what has no final row.

        Raises:
            KeyboardInterrupt: on Ctrl-C, with every run resumable.
        """
        if self.hold_back():
            try:
                self.run(workers, deadline)
            finally:
                self.release()
        stop_seconds = self.suite.stop_seconds
        if deadline is not None and stop_seconds is not None:
            deadline -= stop_seconds + _TABLES_SECONDS
        jobs, read_off, done = make_jobs(self.specs, self.results)
        if not jobs and not read_off:
            self.console.print(f"all {done} runs of {self.suite.name} are done; nothing to run")
            return
        self.keep_config([job.folder for job in jobs])
        workers = workers or self.suite.workers or default_workers(self.request.device)
        at_a_time = min(workers, len(jobs))
        self._check_shared_memory([job.spec for job in jobs], at_a_time)
        check_reachable([job.spec for job in jobs], self.results)
        started = time.monotonic()
        self.console.print(
            f"{self.suite.name}: {len(jobs)} runs to do, {at_a_time} at a time; "
            "Ctrl-C stops them, and the same command goes on",
            soft_wrap=True,
        )
        try:
            with RunDisplay(self.suite.name, done) as display:
                finished = run_missing(
                    jobs,
                    workers=workers,
                    device=self.request.device,
                    data_root=self.data_root,
                    display=display,
                    deadline=deadline,
                    short_tasks=self.suite.short_tasks,
                    read_off=read_off,
                    **({} if stop_seconds is None else {"stop_seconds": stop_seconds}),
                )
        except KeyboardInterrupt:
            self.console.print("stopped; nothing is lost, the same command goes on")
            raise
        if not finished:
            self.console.print("time is up; nothing is lost, the same command goes on")
        self.console.print(f"{(time.monotonic() - started) / 60:.1f} minutes")

    def _check_shared_memory(self, specs: Iterable[RunSpec], at_a_time: int) -> None:
        """Before the first run, so that it is said once and not by each."""
        from stdcf.data.clips.shared_memory import check_runs

        loads = []
        for spec in specs:
            facts = self.facts(spec)
            loads += [(load, spec.batch_size) for load in facts.loads] if facts else []
        check_runs(loads, at_a_time)

    def keep_config(self, folders: Iterable[store.RunFolder]) -> None:
        """Writes the command's options into the folders of the runs that it does."""
        for folder in folders:
            write_atomically(folder.path / CONFIG_FILE, self._config)

    def hold_back(self) -> bool:
        """Leaves aside the runs that start from another one here that has not ended; if any."""
        ready = [spec for spec in self.specs if not waits(spec, self.results)]
        if not ready or len(ready) == len(self.specs):
            return False
        self._all_specs, self.specs = self.specs, ready
        return True

    def release(self) -> None:
        """All runs again, with the weights that are there by now."""
        assert self.suite.bind is not None, "only a suite that binds has runs that wait"
        self.specs = self.suite.bind(self._all_specs, self.results)

    def archive(self, file: Path) -> None:
        """Puts the request's ended runs into one file, for `suites.results import`."""
        from suites.engine.store.archive import write_archive

        ended = [s.folder_name for s in self.specs if self._folder(s).result() is not None]
        if not ended:
            self.console.print(f"no run has ended yet: no {file.name} was written")
            return
        number = write_archive(self.results, ended, file)
        self.console.print(f"{number} runs in {file}", markup=False)

    def _folder(self, spec: RunSpec) -> store.RunFolder:
        return store.RunFolder(self.results / spec.folder_name)

    def print_plan(self) -> None:
        """What would run, and how much computation each run is."""
        from suites.engine.dry_run import plan_table, planned, trainings_table

        plan_table(self.suite, self.specs, self.results).print()
        for table in self.suite.plan(self.specs) if self.suite.plan else ():
            table.print()
        if self.suite.in_gpu_hours or self.has_budget:
            runs = planned(self.specs, self.results)
            trainings_table(self.suite, runs, self.hours()).print()

    def hours(self) -> "Hours":
        """Estimates by the cluster's GPU or this machine's, or by that of earlier rows."""
        from suites.engine.dry_run import Hours
        from suites.engine.estimates import Estimates

        name = self.gpu
        if name is None and self.request.on_gpu:
            import torch

            if torch.cuda.is_available():
                name = torch.cuda.get_device_name(self.request.device)
        return Hours(Estimates(store.rows(self.results), device=name), self.facts)

    def keep_within(self, gpu_hours: float) -> None:
        """Leaves those runs whose trainings fit into so many hours, by what they decide.

        Raises:
            UserError: if none fits.
        """
        from suites.engine.budget import within

        bought = within(gpu_hours, self.suite, self.specs, self.results, self.hours())
        self.console.print(
            f"{gpu_hours:g} GPU-hours: {bought.trainings} of {bought.of_trainings} trainings, "
            f"about {bought.gpu_hours:,.0f} GPU-hours, and with them {len(bought.specs)} of "
            f"{len(self.specs)} runs"
        )
        self.specs, self.has_budget = bought.specs, True

    def print_tables(self) -> bool:
        """Prints the tables; whether every row of the request is there and ok."""
        found = store.rows(self.results, self.suite.name)
        # Rows of other clips (videos were added, say) belong to another table.
        wanted = {(spec.setting, spec.manifest) for spec in self.specs}
        shown = [row for row in found if (row["setting"], row["manifest"]) in wanted]
        for table in self.suite.tables(shown):
            table.print()
        results = [self._folder(spec).result() for spec in self.specs]
        missing = sum(result is None for result in results)
        ok = sum(result is not None and result["status"] == "ok" for result in results)
        if ok < len(results):
            self.console.print(
                f"{ok} of {len(results)} runs ok, {len(results) - ok - missing} not ok, "
                f"{missing} not run"
            )
        elif self.suite.guide:
            self.console.print(f"\n{self.suite.guide}", markup=False)
        return ok == len(results)
