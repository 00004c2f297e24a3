"""Which runs are trained, and which are read off them."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stdcf.errors import UserError
from suites.engine.begun import common_stages
from suites.engine.read_off import (
    Source,
    cap_verdict,
    link,
    name_of,
    settle,
    stage_file,
    unlink,
)
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder, run_folders

Named = tuple[RunSpec, str]


@dataclass(frozen=True)
class _Runs:
    """Runs by all of their specs but the stages: those that are asked for, and others there."""

    results: Path
    asked: dict[str, list[Named]]
    there: dict[str, list[Named]]

    def training(self, spec: RunSpec, own: str, apart: str) -> str | None:
        """Whose training is the spec's too: one that has come so far, or the longest to come."""
        asked = self.asked.get(apart, [])
        for other, name in [*asked, *self.there.get(apart, [])]:
            file = stage_file(self.results / name, spec.stages[-1].name)
            if name != own and _contains(other, spec) and file.exists():
                return name
        longest = max(
            (pair for pair in asked if _contains(pair[0], spec) and not self._is_over(pair[1])),
            key=lambda pair: len(pair[0].stages),
            default=None,
        )
        # Of equal ones without a cap any serves a capped one.
        if longest is None or longest[1] == own:
            return None
        is_longer = len(longest[0].stages) > len(spec.stages)
        return longest[1] if is_longer or longest[0].cap_bytes != spec.cap_bytes else None

    def _is_over(self, name: str) -> bool:
        """Whether what it has not left behind will not come."""
        folder = RunFolder(self.results / name)
        result, verdict = folder.result(), cap_verdict(folder)
        ended_well = result is not None and result["status"] == "ok"
        return ended_well or (verdict is not None and verdict.exceeded)

    def under_cap(self, spec: RunSpec, own: str) -> Source | None:
        """The uncapped training, and the longest run under this cap, which tries it for all."""
        free = spec.training_apart("stages", "cap_bytes")
        training = self.training(spec, own, free)
        if training is None or not _can_try(spec):
            return None
        trying = []
        for other, name in self.asked[spec.training_apart("stages")]:
            folder = RunFolder(self.results / name)
            verdict = cap_verdict(folder)
            is_open = not folder.is_done() if verdict is None else verdict.same != "no"
            if is_open and _contains(other, spec) and self.training(other, name, free):
                trying.append((len(other.stages), name))
        return Source(training, max(trying)[1]) if trying else None


def _can_try(spec: RunSpec) -> bool:
    """Whether steps of each stage alone, in one process, tell what a cap changes."""
    return (
        spec.ranks == 1
        # It computes by what the cap leaves.
        and not any(word.startswith("budget") for word in spec.savers)
        and all(stage.fresh_optimizer and not stage.recalibrate for stage in spec.stages)
    )


def find_sources(
    specs: Sequence[RunSpec], results: Path, busy: Collection[str] = ()
) -> list[Source | None]:
    """Of each spec the run that it is read off, among these and those in the results folder.

    A run that has begun in the results folder serves if it has passed the spec's last stage; one
    of `specs`, which will be trained now, serves in any case.

    Args:
        busy: folders (`RunSpec.folder_name`) of runs that have a job of their own.
    """
    names = [spec.folder_name for spec in specs]
    asked: dict[str, list[Named]] = {}
    for spec, name in zip(specs, names, strict=True):
        if spec.is_training:
            asked.setdefault(spec.training_apart("stages"), []).append((spec, name))
    kinds = {*asked, *(s.training_apart("stages", "cap_bytes") for s in specs if s.cap_bytes)}
    there: dict[str, list[Named]] = {}
    for spec, name in _trained(results, frozenset(names)):
        apart = spec.training_apart("stages")
        if apart in kinds:
            there.setdefault(apart, []).append((spec, name))
    runs = _Runs(results, asked, there)
    found = []
    for spec, name in zip(specs, names, strict=True):
        is_open = spec.task == "train" and name not in busy
        is_open = is_open and not RunFolder(results / name).is_done()
        found.append(_source(runs, spec, name) if is_open else None)
    return found


def _source(runs: _Runs, spec: RunSpec, name: str) -> Source | None:
    if spec.cap_bytes is not None and (source := runs.under_cap(spec, name)) is not None:
        return source
    training = runs.training(spec, name, spec.training_apart("stages"))
    return None if training is None else Source(training)


def _trained(results: Path, besides: Collection[str]) -> Iterable[Named]:
    """The other runs in the results folder of which at least one stage has ended."""
    for folder in run_folders(results):
        name = name_of(folder)
        if name not in besides and any(folder.path.glob("stage-*.json")):
            with suppress(UserError):
                yield folder.spec(), name


def _contains(longer: RunSpec, spec: RunSpec) -> bool:
    """Whether the spec's row, with all its columns, follows from the other's training."""
    stages = spec.stages
    return (
        longer.is_training
        and common_stages(longer.stages, stages) == len(stages)
        and spec.published in (None, longer.published)
    )


def prepare(
    folders: Sequence[RunFolder],
    specs: Sequence[RunSpec],
    results: Path,
    busy: Collection[str] = (),
) -> dict[Path, Path]:
    """Links the runs that are read off others, and writes the rows that are there already.

    Returns:
        Folder -> that of its training, of those that have no final row yet.
    """
    waiting = {}
    sources = find_sources(specs, results, busy)
    for folder, source in zip(folders, sources, strict=True):
        if name_of(folder) in busy:
            # A job that is to try its cap reads its link when it starts.
            continue
        if source is not None:
            link(folder, source, results)
            if not settle(folder):
                waiting[folder.path] = results / source.training
        elif not folder.is_done():
            unlink(folder)
    return waiting
