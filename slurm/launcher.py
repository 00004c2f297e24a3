"""Submits calls as job arrays.

All that a job needs is written before sbatch is called, and nothing has to be done afterwards: if
this process is killed, either all jobs of an array are there and will run, or none.
"""

import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission

from slurm.profile import ClusterProfile
from slurm.queue import largest_array
from slurm.resources import Resources
from slurm.script import sbatch_script
from stdcf.errors import UserError

_SBATCH_TIMEOUT_SECONDS = 120.0
_ID_FILE = "submission.json"


class Refused(UserError):
    """The cluster did not take an array."""


@dataclass(frozen=True)
class Submission:
    """An array in `folder`, whose name no other has.

    Attributes:
        job_id: "12"; its jobs are "12_0" and so on. None if it is not known (yet).
    """

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def job_id(self) -> str | None:
        try:
            found: str = json.loads((self.folder / _ID_FILE).read_text())["job_id"]
        except FileNotFoundError:
            return None
        return found

    def log(self, index: int, job_id: str) -> Path:
        """What a job and SLURM wrote."""
        return self.folder / f"{job_id}_{index}_0_log.out"


class SlurmLauncher:
    """Submits to one partition.

    Args:
        folder: on a file system that the nodes share; every array gets a folder in it.
        workdir: where jobs start.
        code: where they find their modules; None is where this process does.
    """

    def __init__(
        self, folder: Path, profile: ClusterProfile, workdir: Path, code: Path | None = None
    ) -> None:
        self.folder, self.profile, self.workdir, self.code = folder, profile, workdir, code

    def chunks(self, count: int, limit: int | None = None) -> list[range]:
        """Which of `count` jobs make up each array; `limit` is the cluster's where not given."""
        limit = self.profile.max_array_size or limit or largest_array() or count
        size = max(min(limit, count), 1)
        return [range(start, min(start + size, count)) for start in range(0, count, size)]

    def new(self, label: str) -> Submission:
        """A submission that has not been sent yet."""
        return Submission(self.folder / f"{label}-{uuid.uuid4().hex[:10]}")

    def script(
        self, submission: Submission, resources: Resources, count: int, parallel: int | None = None
    ) -> str:
        """What sbatch gets."""
        return sbatch_script(
            self.profile,
            resources,
            name=submission.name,
            folder=submission.folder,
            count=count,
            parallel=parallel or self.profile.parallel,
            workdir=self.workdir,
            code=self.code,
        )

    def send(
        self,
        submission: Submission,
        calls: Sequence[Callable[[], Any]],
        resources: Resources,
        parallel: int | None = None,
    ) -> None:
        """Submits one array of jobs, each of which makes one of the calls.

        Raises:
            Refused: with sbatch's words.
        """
        submission.folder.mkdir(parents=True, exist_ok=True)
        for index, call in enumerate(calls):
            delayed = DelayedSubmission(call)
            delayed.set_timeout(resources.minutes, 0)
            delayed.dump(submission.folder / f"{index}.pkl")
        script = submission.folder / "submit.sh"
        script.write_text(self.script(submission, resources, len(calls), parallel))
        job_id = _sbatch(script, resources)
        content = {"job_id": job_id, "count": len(calls), "submitted": time.time()}
        temporary = submission.folder / f".{_ID_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps(content) + "\n")
        temporary.replace(submission.folder / _ID_FILE)


def _sbatch(script: Path, resources: Resources) -> str:
    try:
        done = subprocess.run(
            ["sbatch", "--parsable", str(script)],
            capture_output=True,
            text=True,
            check=True,
            timeout=_SBATCH_TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        raise UserError(
            "no sbatch on this machine; run this on a login node of the cluster"
        ) from error
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())
        raise Refused(f"the cluster takes no job with {resources}: {said}") from error
    match = re.match(r"(\d+)", done.stdout.strip())
    if match is None:
        raise Refused(f"sbatch said {done.stdout!r}, which is not a job id")
    return match[1]
