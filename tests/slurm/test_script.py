"""The sbatch script, by sbatch's own words. Needs no SLURM."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from slurm.launcher import SlurmLauncher, Submission
from slurm.profile import ClusterProfile
from slurm.resources import Resources
from slurm.script import sbatch_script

PROFILE = ClusterProfile(
    partition="gpu",
    account="vision",
    gpus_per_node=4,
    gpu_type="a100",
    constraint="nvlink",
    signal_seconds=90,
    modules=("cuda/12.4", "gcc"),
    environment="/apps/my env.sh",
    container="apptainer exec --nv image.sif",
    python="python3",
    setup=("ulimit -n 4096",),
    sbatch={"nice": 100, "exclusive": True},
    srun=("--mpi=none",),
)
NEEDS = Resources(
    nodes=2, tasks_per_node=4, cpus_per_task=8, gpus_per_node=4, memory_mib=262144, minutes=720
)


def script(profile: ClusterProfile = PROFILE, needs: Resources = NEEDS, **options: Any) -> str:
    given = {"name": "grid-1", "folder": Path("/shared/runs/grid-1"), "count": 12, "parallel": 5}
    return sbatch_script(profile, needs, workdir=Path("/home/me"), **{**given, **options})


def flags(text: str) -> dict[str, str]:
    """sbatch's options of a script."""
    words = [line.split("--", 1)[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def test_every_setting_is_an_option_of_sbatch() -> None:
    found = flags(script())
    expected = {
        "job-name": "grid-1",
        "partition": "gpu",
        "account": "vision",
        "constraint": "nvlink",
        "nodes": "2",
        "ntasks-per-node": "4",
        "cpus-per-task": "8",
        "gres": "gpu:a100:4",
        "mem": "262144M",
        "time": "720",
        "array": "0-11%5",
        "signal": "USR2@90",
        "open-mode": "append",
        "output": "/shared/runs/grid-1/%A_%a_0_log.out",
        "chdir": "/home/me",
        "requeue": "",
        "nice": "100",
        "exclusive": "",
    }
    assert found == expected


def test_a_job_prepares_its_environment_and_starts_every_process(tmp_path: Path) -> None:
    text = script(code=tmp_path / "code of then")
    lines = text.splitlines()
    order = [
        "module load cuda/12.4",
        "module load gcc",
        "source '/apps/my env.sh'",
        "ulimit -n 4096",
        "export PYTHONSAFEPATH=1",
        f"export PYTHONPATH='{tmp_path}/code of then':$PYTHONPATH",
    ]
    assert [line for line in lines if line in order] == order
    (run,) = [line for line in lines if line.startswith("srun ")]
    assert "--cpus-per-task=8 --kill-on-bad-exit=1 --wait=60 --mpi=none" in run
    assert run.endswith(
        "apptainer exec --nv image.sif python3 -u -m slurm.start /shared/runs/grid-1"
    )
    # Its lines are the shell's.
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=True)
    assert checked.stderr == ""


def test_a_cpu_job_of_one_process_asks_for_no_more() -> None:
    text = script(ClusterProfile(requeue=False), Resources())
    found = flags(text)
    assert "gres" not in found
    assert "partition" not in found
    assert "no-requeue" in found
    assert "kill-on-bad-exit" not in text
    assert "# setup" not in text


@pytest.mark.parametrize(
    ("count", "limit", "own_limit", "sizes"),
    [
        (100, 1001, None, [100]),
        (100, 64, None, [64, 36]),
        (100, 1001, 30, [30, 30, 30, 10]),
        (1, 64, None, [1]),
    ],
)
def test_arrays_are_no_longer_than_the_cluster_takes(
    tmp_path: Path, count: int, limit: int, own_limit: int | None, sizes: list[int]
) -> None:
    launcher = SlurmLauncher(tmp_path, ClusterProfile(max_array_size=own_limit), tmp_path)
    chunks = launcher.chunks(count, limit)
    assert [len(chunk) for chunk in chunks] == sizes
    assert [i for chunk in chunks for i in chunk] == list(range(count))


def test_submissions_have_names_of_their_own(tmp_path: Path) -> None:
    launcher = SlurmLauncher(tmp_path, ClusterProfile(), tmp_path)
    names = {launcher.new("grid").name for _ in range(100)}
    assert len(names) == 100
    assert Submission(tmp_path / "grid").job_id is None


def test_resources_as_text() -> None:
    assert str(NEEDS) == "2 nodes, 8 GPUs, 64 CPUs, 256 GiB, 720 min"
    assert str(Resources()) == "1 CPU, 2 GiB, 60 min"
