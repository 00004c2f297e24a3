"""``python -m slurm.after FOLDER STATUS``: after a job's processes ended badly, on its first node.

A call that has a method ``failed`` is told, in a process of its own.
"""

import sys
from pathlib import Path

from submitit.core.utils import DelayedSubmission

from slurm.job import Ended, current_job, note_early_signals
from slurm.start import place_call


def main() -> None:
    """Tells the call of this job how it ended."""
    note_early_signals()
    folder, status = Path(sys.argv[1]), int(sys.argv[2])
    call = DelayedSubmission.load(place_call(folder)).function
    if not hasattr(call, "failed"):
        return
    call.failed(Ended(current_job().job_id, status))


if __name__ == "__main__":
    main()
