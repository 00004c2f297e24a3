"""Sends runs to a cluster: those of the same resources as one array, in chunks that it takes."""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from slurm.launcher import Refused, SlurmLauncher
from slurm.profile import ClusterProfile
from slurm.resources import Resources
from stdcf.errors import UserError
from suites.cluster.code_version import snapshot
from suites.cluster.job import RunOnCluster
from suites.cluster.record import ARRAYS, REQUEST_FILE, new_record, write_record
from suites.engine.store.folder import RunFolder
from suites.engine.store.stored import CHECKED, read_stored, stored

# More jobs than this are sent only when the user says so.
MANY_JOBS = 50


@dataclass(frozen=True, config=CHECKED)
class Request:
    """What a submission needs beside the run: kept with the array, to send a run of it again.

    Attributes:
        parallel: jobs of an array that run at once; None is the profile's.
        expected_time_limits: how often a run reaches its time limit if all goes as estimated.
    """

    suite: str
    profile: ClusterProfile
    resources: Resources
    data_root: str | None
    parallel: int | None = None
    expected_time_limits: int = 0

    def write(self, folder: Path) -> None:
        """Into the array's folder, which is not there yet."""
        folder.mkdir(parents=True)
        (folder / REQUEST_FILE).write_bytes(stored(self))

    @classmethod
    def read(cls, folder: Path) -> "Request":
        """Of an array that was sent.

        Raises:
            UserError: if its folder is gone or its file is damaged.
        """
        remedy = "send the runs anew with suites.run --executor slurm"
        request = read_stored(folder / REQUEST_FILE, cls, remedy)
        if request is None:
            raise UserError(f"{folder} is gone; {remedy}")
        return request


@dataclass(frozen=True)
class Sent:
    """What became of a submission.

    Attributes:
        arrays: job id and number of jobs of each.
        refused: the cluster's words, one line for each array that it did not take.
    """

    arrays: list[tuple[str, int]]
    refused: list[str]

    @property
    def jobs(self) -> int:
        """Sent in all."""
        return sum(count for _, count in self.arrays)


@contextmanager
def submitting(results: Path) -> Iterator[None]:
    """One submission at a time into a results folder."""
    folder = results / ARRAYS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "submit.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is submitting runs of {results}; wait for it"
            ) from error
        yield


def confirm_many(jobs: int, yes: bool, ask: Callable[[str], bool] | None) -> None:
    """Asks before more than `MANY_JOBS` jobs are sent.

    Raises:
        UserError: if the answer is no, or nobody can be asked.
    """
    if jobs <= MANY_JOBS or yes:
        return
    if ask is None or not ask(f"send {jobs} jobs?"):
        raise UserError(f"nothing was sent: {jobs} jobs need --yes")


def send(
    runs: Sequence[tuple[RunFolder, Request]],
    results: Path,
    on_array: Callable[[str, int, Resources], None] = lambda job, count, needs: None,
) -> Sent:
    """Sends runs that are not in the queue; a refused array leaves its runs as they were.

    Args:
        on_array: told of each array that the cluster has taken.
    """
    groups: dict[Any, list[tuple[RunFolder, Request]]] = {}
    for folder, request in runs:
        key = json.dumps([asdict(request.resources), request.profile.model_dump()], sort_keys=True)
        groups.setdefault(key, []).append((folder, request))
    code = snapshot(results / ARRAYS / "code")
    arrays, refused = [], []
    for group in groups.values():
        request = group[0][1]
        launcher = SlurmLauncher(results / ARRAYS, request.profile, Path.cwd(), code)
        for chunk in launcher.chunks(len(group)):
            members = [group[i] for i in chunk]
            submission = launcher.new(f"stdcf-{request.suite}")
            request.write(submission.folder)
            calls = [_call(folder, own, submission.folder, code.name) for folder, own in members]
            needs = str(request.resources)
            for index, (folder, _) in enumerate(members):
                record = new_record(submission.folder, index, needs, folder.result())
                write_record(folder, record)
            try:
                launcher.send(submission, calls, request.resources, request.parallel)
            except Refused as error:
                shutil.rmtree(submission.folder)
                refused.append(f"{len(members)} runs: {error}")
                continue
            job_id = submission.job_id
            assert job_id is not None
            arrays.append((job_id, len(members)))
            on_array(job_id, len(members), request.resources)
    return Sent(arrays, refused)


def _call(folder: RunFolder, request: Request, submission: Path, code: str) -> RunOnCluster:
    profile = request.profile
    return RunOnCluster(
        folder=folder.path,
        submission=submission,
        device="cuda" if profile.gpus_per_node else "cpu",
        data_root=request.data_root,
        num_workers=profile.spare_cpus,
        code=code,
        minutes=request.resources.minutes,
        signal_seconds=profile.signal_seconds,
        max_preemptions=profile.max_preemptions,
        max_time_limits=profile.max_time_limits + request.expected_time_limits,
    )
