"""``suites.run --executor slurm``: sends what is missing of a suite; waits if it is asked to."""

import os
import sys
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slurm.profile import ClusterProfile, load_profile
from slurm.resources import Resources
from stdcf.errors import UserError
from suites import paths
from suites.cli import EXIT_ROWS_NOT_OK, EXIT_USER_ERROR
from suites.cluster.state import ClusterRun, ClusterView
from suites.cluster.submit import Request, Sent, confirm_many, send, submitting
from suites.engine.read_off import to_try
from suites.engine.sources import prepare
from suites.engine.store import folder as store
from suites.engine.store.folder import RunFolder

if TYPE_CHECKING:
    from suites.engine.estimates import Estimates
    from suites.engine.session import Session
    from suites.engine.spec import RunSpec

PROFILE_FILE = "cluster.toml"
# A run that had too little host memory gets so much more of it.
MORE_MEMORY = 2
_WAIT_SECONDS = 5.0
_WRITERS = 16


def profile_of(file: Path | None, name: str | None, options: Sequence[str]) -> ClusterProfile:
    """The profile that the command line names; the file is $STDCF_CLUSTER or ./cluster.toml.

    Raises:
        UserError: see `load_profile`.
    """
    default = Path(os.environ.get("STDCF_CLUSTER") or PROFILE_FILE)
    return load_profile((file or default).expanduser(), name, options)


def device_of(profile: ClusterProfile, asked: str | None) -> str:
    """The device of runs on this partition.

    Raises:
        UserError: if another was asked for.
    """
    has = "cuda:0" if profile.gpus_per_node else "cpu"
    if asked is not None and asked.partition(":")[0] != has.partition(":")[0]:
        raise UserError(
            f"--device {asked}, and the cluster profile has gpus_per_node = "
            f"{profile.gpus_per_node}; choose another with --cluster-profile"
        )
    return has


def run_on_cluster(
    session: "Session", profile: ClusterProfile, *, detach: bool, yes: bool, parallel: int | None
) -> int:
    """Sends the session's runs that have no final row and no job; exit status of the command.

    Args:
        detach: end when they are sent; else wait for them, and print the tables.
        yes: send many without asking.
        parallel: jobs of an array that run at once; None is the profile's.
    """
    options: dict[str, Any] = {"detach": detach, "yes": yes, "parallel": parallel}
    if session.hold_back():
        status = _run(session, profile, **options)
        session.release()
        if detach:
            session.console.print(
                "runs that start from another's weights are sent by the same command, once that "
                "one has ended"
            )
            return status
    return _run(session, profile, **options)


def _run(
    session: "Session", profile: ClusterProfile, *, detach: bool, yes: bool, parallel: int | None
) -> int:
    say, name = session.console.print, session.suite.name
    with submitting(session.results):
        # Each waits for the disk, which takes many at once as fast as one.
        with ThreadPoolExecutor(_WRITERS) as writers:
            create = partial(RunFolder.create, session.results)
            folders = list(writers.map(create, session.specs))
        view = ClusterView.now()
        if view.unreachable is not None:
            raise UserError(view.unreachable)
        runs = view.reconcile(folders)
        busy = [run.folder.path.relative_to(session.results).as_posix() for run in runs if run.job]
        read_off = prepare(folders, session.specs, session.results, busy)
        done = sum(run.folder.is_done() for run in runs)
        own = [
            (run, spec)
            for run, spec in zip(runs, session.specs, strict=True)
            if run.folder.path not in read_off or to_try(run.folder)
        ]
        waiting = sum(not to_try(RunFolder(path)) for path in read_off)
        sent = _send_missing(session, profile, own, yes, parallel)
    say(
        f"{done} of {len(runs)} runs done, {len(busy)} in the queue before, {sent.jobs} sent now"
        + (f", {waiting} to be read off others" if waiting else "")
    )
    for refusal in sent.refused:
        print(f"error: {refusal}", file=sys.stderr)
    if detach and done < len(runs):
        is_default = session.results == paths.results_folder(None)
        where = "" if is_default else f" --results {session.results}"
        if busy or sent.jobs:
            runs_are = f"where they are: python -m suites.status {name}{where}"
            table_is = f"their table:    python -m suites.report {name}{where}"
            say(f"{runs_are}\n{table_is}", markup=False, soft_wrap=True)
        return EXIT_USER_ERROR if sent.refused else 0
    _wait(session, folders)
    status = 0 if session.print_tables() else EXIT_ROWS_NOT_OK
    return EXIT_USER_ERROR if sent.refused else status


def _send_missing(
    session: "Session",
    profile: ClusterProfile,
    runs: Sequence[tuple[ClusterRun, "RunSpec"]],
    yes: bool,
    parallel: int | None,
) -> Sent:
    missing = [
        (run.folder, spec, run.row)
        for run, spec in runs
        if run.job is None and not run.folder.is_done()
    ]
    confirm_many(len(missing), yes, typer.confirm if sys.stdin.isatty() else None)
    if not missing:
        return Sent([], [])
    session.keep_config(folder for folder, *_ in missing)
    _, specs, rows = zip(*missing, strict=True)
    trying = {spec.folder_name for folder, spec, _ in missing if to_try(folder)}
    requests = requests_for(session, profile, specs, rows, parallel, trying)

    def show(job_id: str, count: int, needs: Resources) -> None:
        session.console.print(f"job {job_id}: {count} runs, each {needs}", markup=False)

    pairs = [(folder, request) for (folder, *_), request in zip(missing, requests, strict=True)]
    return send(pairs, session.results, show)


def requests_for(
    session: "Session",
    profile: ClusterProfile,
    specs: Sequence["RunSpec"],
    rows: Sequence[dict[str, Any] | None],
    parallel: int | None = None,
    trying: Collection[str] = (),
) -> list[Request]:
    """What each run asks of the cluster.

    Args:
        rows: of the runs' earlier submissions, if there were any.
        trying: folders of those that only try their cap.
    """
    from suites.cluster.resources import expected_time_limits, resources_for

    estimates = estimates_for(session, profile)
    requests = []
    for spec, row in zip(specs, rows, strict=True):
        facts = session.facts(spec)
        short = row is not None and row["status"] == "host_oom"
        requests.append(
            Request(
                suite=session.suite.name,
                profile=profile,
                resources=resources_for(
                    spec,
                    profile,
                    facts,
                    estimates,
                    more_memory=MORE_MEMORY if short else 1,
                    tries_cap=spec.folder_name in trying,
                ),
                data_root=session.data_root,
                parallel=parallel,
                expected_time_limits=expected_time_limits(spec, profile, facts, estimates),
            )
        )
    return requests


def estimates_for(session: "Session", profile: ClusterProfile) -> "Estimates":
    """By rows of the partition's GPU where its name is given, of a CPU by all that there are.

    A speed that the profile gives is taken before other devices' rows.
    """
    from suites.engine.estimates import Estimates

    rows = store.rows(session.results)
    if profile.teraflops is not None and profile.gpu_type is None:
        rows = [row for row in rows if not row["shipped"]]
    return Estimates(rows, profile.teraflops, profile.gpu_type if profile.gpus_per_node else None)


def _wait(session: "Session", folders: Sequence[RunFolder]) -> None:
    """Until no run is in the queue, saying how each ended.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the jobs go on.
    """
    from suites.engine.progress import describe_end

    shown = {folder.path for folder in folders if folder.is_done()}
    try:
        while True:
            runs = ClusterView.now().reconcile(folders)
            for run in runs:
                if run.row is not None and run.folder.path not in shown:
                    shown.add(run.folder.path)
                    text = describe_end(run.folder.spec(), run.row)
                    session.console.print(text, markup=False)
            if not any(run.is_queued for run in runs):
                return
            time.sleep(_WAIT_SECONDS)
    except KeyboardInterrupt:
        session.console.print("the jobs go on; scancel ends them")
        raise
