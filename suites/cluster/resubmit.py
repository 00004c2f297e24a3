"""``suites.status --resubmit``: sends runs again that ended badly, as they were sent before."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from slurm.profile import parse_overrides
from stdcf.errors import UserError
from suites.cluster.record import read_record
from suites.cluster.run import MORE_MEMORY
from suites.cluster.state import ClusterView
from suites.cluster.submit import Request, confirm_many, send, submitting
from suites.engine.store.folder import RunFolder

# What each word of --resubmit sends again. A loss that became NaN would do so again.
STATUSES = {
    "failed": frozenset({"error", "cancelled", "node_fail", "preempted"}),
    "timeout": frozenset({"timeout"}),
    "oom": frozenset({"oom", "host_oom"}),
}


def resubmit(
    folders: Sequence[RunFolder], results: Path, word: str, options: Sequence[str], yes: bool
) -> list[str]:
    """Sends again the runs that ended like that, from their checkpoints.

    Host memory that was too little is doubled; more of anything comes with `options`.

    Returns:
        The cluster's words for what it refused.

    Raises:
        UserError: for a word that is none, or if SLURM cannot be asked.
    """
    if word not in STATUSES:
        raise UserError(f"--resubmit takes {', '.join(STATUSES)}, not {word!r}")
    with submitting(results):
        view = ClusterView.now()
        if view.unreachable is not None:
            raise UserError(view.unreachable)
        sent_before = [folder for folder in folders if read_record(folder) is not None]
        runs = []
        for run in view.reconcile(sent_before):
            if run.row is None or run.record is None or run.row["status"] not in STATUSES[word]:
                continue
            request = _changed(Request.read(run.record.folder), options)
            if run.row["status"] == "host_oom":
                request = _with_memory(request, options)
            runs.append((run.folder, request))
        if not runs:
            typer.echo(f"nothing ended as {' or '.join(sorted(STATUSES[word]))} on a cluster")
            return []
        confirm_many(len(runs), yes, typer.confirm if sys.stdin.isatty() else None)
        for folder, _ in runs:
            _set_aside(folder)
        sent = send(runs, results)
    typer.echo(f"{sent.jobs} runs sent again")
    return sent.refused


def _changed(request: Request, options: Sequence[str]) -> Request:
    """With the user's changes to the profile."""
    given = parse_overrides(options)
    profile = request.profile.changed(**given)
    resources = request.resources
    if "minutes" in given:
        resources = replace(resources, minutes=given["minutes"])
    if "memory_gib" in given:
        mib = round(given["memory_gib"] * 1024) * resources.tasks_per_node
        resources = replace(resources, memory_mib=mib)
    if "cpus_per_task" in given:
        resources = replace(resources, cpus_per_task=given["cpus_per_task"])
    return replace(request, profile=profile, resources=resources)


def _with_memory(request: Request, options: Sequence[str]) -> Request:
    if "memory_gib" in parse_overrides(options):
        return request
    more = MORE_MEMORY * request.resources.memory_mib
    return replace(request, resources=replace(request.resources, memory_mib=more))


def _set_aside(folder: RunFolder) -> None:
    """A row that counts as final would keep the run from being done again."""
    if not folder.is_done():
        return
    content = json.dumps(folder.result(), indent=1) + "\n"
    (folder.path / "result-before.json").write_text(content)
    (folder.path / "result.json").unlink()
