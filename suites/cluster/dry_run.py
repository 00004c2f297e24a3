"""What a suite would send to a cluster, and what it would cost: ``--dry-run --executor slurm``."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slurm.launcher import SlurmLauncher, Submission
from slurm.profile import ClusterProfile
from stdcf.errors import UserError
from suites.cluster.code_version import code_version
from suites.cluster.record import ARRAYS
from suites.cluster.run import estimates_for, requests_for
from suites.cluster.submit import MANY_JOBS, Request
from suites.engine.clip_facts import ClipFacts
from suites.engine.dry_run import READ_OFF, TRIED, planned
from suites.engine.estimates import Estimates
from suites.engine.spec import RunSpec
from suites.reporting.cells import MIB
from suites.tables.table import Table

if TYPE_CHECKING:
    from suites.engine.session import Session

# Where no SLURM says otherwise: its own default.
_ARRAY_LIMIT = 1001


def print_cluster_plan(session: "Session", profile: ClusterProfile, parallel: int | None) -> None:
    """Prints runs, jobs, memory, cost and one script; writes nothing, and sends nothing."""
    runs = [one for one in planned(session.specs, session.results) if not one.is_done]
    if not runs:
        session.console.print(f"all {len(session.specs)} runs are done; nothing to send")
        return
    specs = [one.spec for one in runs if one.how != READ_OFF]
    trying = {one.spec.folder_name for one in runs if one.how == TRIED}
    requests = requests_for(session, profile, specs, [None] * len(specs), parallel, trying)
    estimates = estimates_for(session, profile)
    _plan_table(session, profile, specs, requests, estimates, trying).print()
    folder = session.results / ARRAYS
    launcher = SlurmLauncher(folder, profile, Path.cwd(), folder / "code" / code_version())
    submission = Submission(launcher.folder / f"stdcf-{session.suite.name}-0000000000")
    first = requests[0]
    same = sum(request.resources == first.resources for request in requests)
    count = len(launcher.chunks(same, _array_limit(profile))[0])
    session.console.print("The script of the first array:\n", markup=False)
    script = launcher.script(submission, first.resources, count, parallel)
    session.console.print(script, markup=False, soft_wrap=True)


def _plan_table(
    session: "Session",
    profile: ClusterProfile,
    specs: Sequence[RunSpec],
    requests: Sequence[Request],
    estimates: Estimates,
    trying: Collection[str],
) -> Table:
    kinds: dict[tuple[str, ...], list[int]] = {}
    for index, spec in enumerate(specs):
        words = (spec.model, spec.layer, spec.mode, str(requests[index].resources))
        kinds.setdefault(words, []).append(index)
    body, total_hours, assumed = [], 0.0, False
    for (model, layer, mode, needs), members in kinds.items():
        spec = specs[members[0]]
        facts = session.facts(spec)
        tries = spec.folder_name in trying
        hours = None if tries else _hours(spec, facts, estimates)
        total_hours += spec.ranks * (hours or 0.0) * len(members)
        assumed = assumed or (facts is not None and facts.assumed)
        body.append(
            [
                " ".join(word for word in (model, layer, mode, "(tries its cap)" * tries) if word),
                str(len(members)),
                *_memory(spec, facts, estimates, profile),
                "–" if hours is None else f"{hours:.2f}",
                needs,
            ]
        )
    sizes = {request.resources for request in requests}
    arrays = sum(
        -(-sum(r.resources == size for r in requests) // _array_limit(profile)) for size in sizes
    )
    device = "GPU" if profile.gpus_per_node else "CPU process"
    notes = [
        f"{len(specs)} runs to send as {len(specs)} jobs in {arrays} array{'s' * (arrays > 1)}; "
        f"about {total_hours:.1f} {device} hours",
        "hours: of one run, without margin; "
        + (
            "from earlier results"
            if all(_is_measured(spec, session.facts(spec), estimates) for spec in specs)
            else "from an assumed speed, which --cluster-option teraflops=N sets, where no earlier "
            "result tells"
        ),
        f"a job's minutes are {profile.margin:g} times that, and its start, rounded up",
    ]
    if len(specs) < len(session.specs):
        notes.append(f"{len(session.specs) - len(specs)} are done, or read off the others")
    if assumed:
        notes.append("the data is not opened here: clips are counted as in the whole set")
    if len(specs) > MANY_JOBS:
        notes.append(f"more than {MANY_JOBS} jobs: sent with --yes")
    return Table(
        title=f"{session.suite.name}: {len(specs)} of {len(session.specs)} runs to send "
        f"({specs[0].setting})",
        columns=["Run", "Runs", "Memory, MiB", "Smallest GPU, GiB", "Hours", "A job asks for"],
        rows=body,
        notes=notes,
    )


def _memory(
    spec: RunSpec, facts: ClipFacts | None, estimates: Estimates, profile: ClusterProfile
) -> list[str]:
    """Predicted peak of one device, and the smallest GPU that holds it."""
    if facts is None or (peak := estimates.peak_bytes(spec, facts, "cuda")) is None:
        return ["–", "–"]
    size = estimates.smallest_gpu_gib(spec, facts)
    gpu = "none" if size is None else str(size)
    if profile.gpu_memory_gib is not None and (size is None or size > profile.gpu_memory_gib):
        gpu += f" (here {profile.gpu_memory_gib:g})"
    return [f"{peak / MIB:.0f}", gpu]


def _is_measured(spec: RunSpec, facts: ClipFacts | None, estimates: Estimates) -> bool:
    return facts is None or not spec.is_training or estimates.is_measured(spec, facts)


def _hours(spec: RunSpec, facts: ClipFacts | None, estimates: Estimates) -> float | None:
    seconds = None if facts is None else estimates.seconds(spec, facts)
    return None if seconds is None else seconds / 3600


def _array_limit(profile: ClusterProfile) -> int:
    from slurm.queue import largest_array

    if profile.max_array_size is not None:
        return profile.max_array_size
    try:
        return largest_array() or _ARRAY_LIMIT
    except UserError:
        return _ARRAY_LIMIT
