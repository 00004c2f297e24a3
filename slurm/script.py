"""The sbatch script of an array of jobs."""

import shlex
import sys
from pathlib import Path
from typing import Any

# Private, so that the script can be shown where there is no SLURM: submitit's executor refuses to
# be made there. tests/slurm/test_script.py holds it to what sbatch takes.
from submitit.slurm.slurm import _make_sbatch_string

from slurm.profile import ClusterProfile
from slurm.resources import Resources


def sbatch_script(
    profile: ClusterProfile,
    resources: Resources,
    *,
    name: str,
    folder: Path,
    count: int,
    parallel: int,
    workdir: Path,
    code: Path | None = None,
) -> str:
    """An array of `count` jobs whose calls lie in `folder`.

    Args:
        workdir: where the jobs start.
        code: where Python finds its modules before any other place, the working folder included.
    """
    python = profile.python or shlex.quote(sys.executable)
    words = [profile.container] if profile.container else []
    run = " ".join([*words, python, "-u", "-m"])
    # Since SLURM 22.05 srun does not take this from the job.
    srun = [f"--cpus-per-task={resources.cpus_per_task}"]
    if resources.tasks > 1:
        srun += ["--kill-on-bad-exit=1", "--wait=60"]
    text: str = _make_sbatch_string(
        command=f"{run} slurm.start {shlex.quote(str(folder))}",
        folder=folder,
        job_name=name,
        partition=profile.partition,
        account=profile.account,
        qos=profile.qos,
        constraint=profile.constraint,
        exclude=profile.exclude,
        time=resources.minutes,
        nodes=resources.nodes,
        ntasks_per_node=resources.tasks_per_node,
        cpus_per_task=resources.cpus_per_task,
        gres=_gres(profile, resources),
        mem=f"{resources.memory_mib}M",
        signal_delay_s=profile.signal_seconds,
        array_parallelism=parallel,
        map_count=count,
        stderr_to_stdout=True,
        setup=_setup(profile, code) or None,
        teardown=_teardown(run, folder),
        srun_args=[*srun, *profile.srun],
        additional_parameters=_further(profile, workdir),
        wckey=None,  # type: ignore[arg-type]  # its default would be refused where wckeys count
    )
    return text + "\n"


def _gres(profile: ClusterProfile, resources: Resources) -> str | None:
    if not resources.gpus_per_node:
        return None
    kind = f":{profile.gpu_type}" if profile.gpu_type else ""
    return f"gpu{kind}:{resources.gpus_per_node}"


def _further(profile: ClusterProfile, workdir: Path) -> dict[str, Any]:
    options: dict[str, Any] = {"chdir": workdir}
    options["requeue" if profile.requeue else "no-requeue"] = True
    if profile.reservation:
        options["reservation"] = profile.reservation
    return options | profile.sbatch


def _setup(profile: ClusterProfile, code: Path | None) -> list[str]:
    lines = [f"module load {module}" for module in profile.modules]
    if profile.environment:
        lines.append(f"source {shlex.quote(profile.environment)}")
    lines += profile.setup
    if code is not None:
        path = shlex.quote(str(code))
        lines += ["export PYTHONSAFEPATH=1", f"export PYTHONPATH={path}:$PYTHONPATH"]
    return lines


def _teardown(run: str, folder: Path) -> list[str]:
    # The job's own processes may have been killed without a word: the batch shell says so.
    return [
        "status=$?",
        f'if [ $status -ne 0 ]; then {run} slurm.after {shlex.quote(str(folder))} "$status"; fi',
        "exit $status",
    ]
