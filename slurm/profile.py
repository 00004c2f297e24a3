"""A cluster's settings, from a TOML file of profiles."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import (
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from stdcf.errors import UserError
from stdcf.frozen import Frozen


class ClusterProfile(Frozen):
    """How to ask one partition of a cluster for what jobs need.

    Attributes:
        partition, account, qos, constraint, reservation, exclude: sbatch's options of these names.
        gpus_per_node: that a node has; 0 is a partition without any.
        gpu_type: the name that --gres takes, such as "a100".
        gpu_memory_gib: of one GPU.
        cpus_per_task: of each process: one that computes, the others load data.
        tasks_per_node: processes of one job on a node; default one for each GPU, else 1.
        memory_gib: host memory of each process; default from an estimate.
        minutes: a job's time limit; default from an estimate.
        margin: the estimate of time is multiplied by it.
        max_minutes: the partition's limit; a job that needs more goes on after it.
        teraflops: 10^12 multiplications and additions a second that one GPU, or one CPU, sustains
            while training; of the estimate of time.
        parallel: jobs of an array that run at once.
        max_array_size: jobs in an array; default as the cluster says.
        signal_seconds: how long before its end a job is told to write a checkpoint.
        max_preemptions, max_time_limits: a job that is interrupted more often is not sent again.
        requeue: whether the cluster may put a job back into the queue after a node failed.
        modules: loaded before a job starts.
        environment: a script that is sourced before a job starts.
        container: words before the command, such as "apptainer exec --nv image.sif".
        python: the interpreter on the nodes; default this one.
        setup: shell lines before a job starts.
        sbatch: further options of sbatch.
        srun: further words for srun.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclude: str | None = None
    gpus_per_node: NonNegativeInt = 0
    gpu_type: str | None = None
    gpu_memory_gib: PositiveFloat | None = None
    cpus_per_task: PositiveInt = 1
    tasks_per_node: PositiveInt | None = None
    memory_gib: PositiveFloat | None = None
    minutes: PositiveInt | None = None
    margin: PositiveFloat = 1.5
    max_minutes: PositiveInt = 24 * 60
    teraflops: PositiveFloat | None = None
    parallel: PositiveInt = 64
    max_array_size: PositiveInt | None = None
    signal_seconds: PositiveInt = 120
    max_preemptions: NonNegativeInt = 20
    max_time_limits: NonNegativeInt = 20
    requeue: bool = True
    modules: tuple[str, ...] = ()
    environment: str | None = None
    container: str | None = None
    python: str | None = None
    setup: tuple[str, ...] = ()
    sbatch: dict[str, str | int | bool] = {}
    srun: tuple[str, ...] = ()

    @property
    def spare_cpus(self) -> int:
        """CPUs of each process beside the one that computes."""
        return self.cpus_per_task - 1


def load_profile(
    path: Path, name: str | None = None, overrides: Sequence[str] = ()
) -> ClusterProfile:
    """A profile of a TOML file: a table each; what stands before the first is common to all.

    Args:
        name: may be left out where there is one profile.
        overrides: "KEY=VALUE", the value as in TOML or a bare word; they count last.

    Raises:
        UserError: for a file that is not there or no TOML, an unknown profile or key (listing
            those that there are), or a wrong value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"no cluster file {path}; slurm/clusters/example.toml is one to start from"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the cluster file {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    # The one setting that is a table itself.
    tables = {key for key, value in content.items() if isinstance(value, dict) and key != "sbatch"}
    common = {key: value for key, value in content.items() if key not in tables}
    profiles = {key: content[key] for key in content if key in tables}
    if name is None:
        if len(profiles) > 1:
            raise UserError(f"{path} has {_listed(profiles)}; choose with --cluster-profile")
        name = next(iter(profiles), None)
    elif name not in profiles:
        raise UserError(f"no profile {name!r} in {path}; there is {_listed(profiles)}")
    own = profiles[name] if name is not None else {}
    where = f"{path}, profile {name}" if name is not None else str(path)
    _check({**common, **own}, where)
    return ClusterProfile(**{**common, **own, **parse_overrides(overrides)})


def parse_overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Checked settings of "KEY=VALUE" words.

    Raises:
        UserError: for an unknown key or a wrong value.
    """
    given = dict(_override(text) for text in texts)
    _check(given, "--cluster-option")
    return given


def _check(values: dict[str, Any], where: str) -> None:
    known = ClusterProfile.model_fields
    for key in values:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}; there are {', '.join(known)}")
    try:
        ClusterProfile(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{where}: {key}: {first['msg'].lower()} (given: {first['input']!r})"
        ) from error


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UserError(f"--cluster-option takes KEY=VALUE, not {text!r}")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _listed(profiles: dict[str, Any]) -> str:
    return ", ".join(profiles) or "none"
