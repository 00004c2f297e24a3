"""``python -m slurm.start FOLDER``: a job's process, on its node; srun starts one for each task."""

import os
import shutil
import sys
from pathlib import Path

from slurm.job import current_job, note_early_signals


def main() -> None:
    """Makes the call of this job of the array."""
    note_early_signals()
    folder = Path(sys.argv[1])
    place_call(folder)

    from submitit.core.job_environment import JobEnvironment
    from submitit.core.submission import process_job

    # Its handler would count any signal within ten minutes of the limit as the limit, and call
    # scontrol in the middle of a step. What to do with signals is for the call.
    JobEnvironment._handle_signals = lambda *_: None  # type: ignore[method-assign]
    process_job(folder)


def place_call(folder: Path) -> Path:
    """The job's pickle, where submitit looks for it: named by the job's id."""
    job = current_job()
    wanted = folder / f"{job.job_id}_submitted.pkl"
    if not wanted.exists():
        index = os.environ["SLURM_ARRAY_TASK_ID"]
        temporary = folder / f".{wanted.name}.{job.rank}"
        shutil.copyfile(folder / f"{index}.pkl", temporary)
        temporary.replace(wanted)
    return wanted


if __name__ == "__main__":
    main()
