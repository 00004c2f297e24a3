"""What a run asks of the cluster: follows from the run, the profile and an estimate."""

import math

from slurm.profile import ClusterProfile
from slurm.resources import Resources
from stdcf.errors import UserError
from suites.engine.clip_facts import ClipFacts
from suites.engine.estimates import Estimates
from suites.engine.spec import RunSpec

# Python, torch and the data set's lists; on CUDA its libraries too.
_BASE_MIB = {"cpu": 1024, "cuda": 4096}
# Each process that loads data.
_LOADER_MIB = 1024
_PEAK_MARGIN = 1.3
_ROUND_MIB = 512
# Start, data, predictions for the row.
_START_MINUTES = 3
# Times are rounded up to few values, so that runs share arrays.
_STEPS_MINUTES = (15, 30, 60, 120, 240, 480, 720)
_UNKNOWN_MINUTES = 240
# Of a run that tries its cap by a few steps.
_TRYING_MINUTES = 30


def resources_for(
    spec: RunSpec,
    profile: ClusterProfile,
    facts: ClipFacts | None,
    estimates: Estimates,
    *,
    more_memory: int = 1,
    tries_cap: bool = False,
) -> Resources:
    """The resources of one run.

    Args:
        facts: of the run's clips; None of a run without data.
        more_memory: factor on host memory, for a run that had too little.
        tries_cap: it only tries its cap (`suites.engine.cap_probe`).

    Raises:
        UserError: for more GPUs than nodes have.
    """
    per_node = min(_tasks_per_node(profile), spec.ranks)
    if spec.ranks % per_node:
        raise UserError(
            f"{spec.ranks} ranks do not spread evenly over nodes of {per_node}; "
            "choose another --ranks, or --cluster-option tasks_per_node=N"
        )
    on_gpu = profile.gpus_per_node > 0
    minutes = _minutes(spec, profile, facts, estimates)
    if tries_cap and profile.minutes is None:
        minutes = min(minutes, _TRYING_MINUTES)
    if on_gpu and per_node > profile.gpus_per_node:
        raise UserError(
            f"{per_node} processes on a node need as many GPUs, and it has "
            f"{profile.gpus_per_node}; --cluster-option tasks_per_node={profile.gpus_per_node}"
        )
    return Resources(
        nodes=spec.ranks // per_node,
        tasks_per_node=per_node,
        cpus_per_task=profile.cpus_per_task,
        gpus_per_node=per_node if on_gpu else 0,
        memory_mib=more_memory * per_node * _memory_mib(spec, profile, facts, estimates),
        minutes=min(minutes, profile.max_minutes),
    )


def expected_time_limits(
    spec: RunSpec, profile: ClusterProfile, facts: ClipFacts | None, estimates: Estimates
) -> int:
    """How often a run will reach the partition's limit if all goes as estimated."""
    minutes = _wanted_minutes(spec, profile, facts, estimates)
    return 0 if minutes is None else int(minutes // profile.max_minutes)


def _tasks_per_node(profile: ClusterProfile) -> int:
    return profile.tasks_per_node or profile.gpus_per_node or 1


def _memory_mib(
    spec: RunSpec, profile: ClusterProfile, facts: ClipFacts | None, estimates: Estimates
) -> int:
    """Host memory of one process."""
    if profile.memory_gib is not None:
        return round(profile.memory_gib * 1024)
    mib: float = _BASE_MIB[spec.device] + _LOADER_MIB * profile.spare_cpus
    if spec.device == "cpu" and facts is not None:
        peak = estimates.peak_bytes(spec, facts, "cpu")
        mib += _PEAK_MARGIN * (peak or 0) / 2**20
    return math.ceil(mib / _ROUND_MIB) * _ROUND_MIB


def _minutes(
    spec: RunSpec, profile: ClusterProfile, facts: ClipFacts | None, estimates: Estimates
) -> int:
    if profile.minutes is not None:
        return profile.minutes
    wanted = _wanted_minutes(spec, profile, facts, estimates)
    if wanted is None:
        return _UNKNOWN_MINUTES
    return next((step for step in _STEPS_MINUTES if step >= wanted), math.ceil(wanted / 720) * 720)


def _wanted_minutes(
    spec: RunSpec, profile: ClusterProfile, facts: ClipFacts | None, estimates: Estimates
) -> float | None:
    seconds = None if facts is None else estimates.seconds(spec, facts)
    return None if seconds is None else _START_MINUTES + profile.margin * seconds / 60
