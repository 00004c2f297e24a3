"""What a suite would run: ``--dry-run``."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from stdcf.stages.stage import total_cost
from suites.engine.begun import common_stages
from suites.engine.clip_facts import ClipFacts
from suites.engine.estimates import Estimates
from suites.engine.sources import find_sources
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Suite
from suites.tables.table import Table

TRAINED, TRIED, READ_OFF = "trained", "cap tried", "read off"
# A process's start, data and predictions.
_START_SECONDS = 180.0
# Two steps without the cap and two with it, of each kind of stage.
_TRIED_STEPS = 4
_GIB = 2**30


@dataclass(frozen=True)
class Planned:
    """A run, and how its row will come about.

    Attributes:
        how: trained, cap tried, or read off.
        training: the run that is trained for it; it may be itself.
        state: of its folder, as `state` says.
        begun: how many stages an earlier training has done for it, where they follow one another.
    """

    spec: RunSpec
    how: str
    training: RunSpec
    state: str
    begun: int = 0

    @property
    def is_done(self) -> bool:
        return self.state == "done"


def planned(specs: Sequence[RunSpec], results: Path) -> list[Planned]:
    """How each run's row will come about. Needs no data."""
    by_name = {spec.folder_name: spec for spec in specs}
    earlier: dict[str, list[RunSpec]] = {}
    found = []
    for spec, source in zip(specs, find_sources(specs, results), strict=True):
        training = spec if source is None else by_name.get(source.training)
        how = TRAINED if source is None else READ_OFF
        if source is not None and source.cap == spec.folder_name:
            how = TRIED
        begun = 0
        if how == TRAINED and spec.is_training:
            alike = earlier.setdefault(spec.training_apart("stages"), [])
            begun = max((_begun(other, spec) for other in alike), default=0)
            alike.append(spec)
        found.append(Planned(spec, how, training or spec, state(results, spec), begun))
    return found


def _begun(other: RunSpec, spec: RunSpec) -> int:
    """With how many of another training's stages the spec goes on (see `suites.engine.begun`)."""
    common = common_stages(other.stages, spec.stages)
    return common if all(stage.fresh_optimizer for stage in spec.stages[common:][:1]) else 0


class Hours:
    """Estimated hours of one GPU, whatever device the runs are for here.

    Args:
        facts: of a run's clips; None of one without.
    """

    def __init__(self, estimates: Estimates, facts: Callable[[RunSpec], ClipFacts | None]) -> None:
        self.estimates, self._facts = estimates, facts

    def of(self, one: Planned) -> float:
        """Of what is left to do for this row alone."""
        facts = self._facts(one.spec)
        if one.is_done or one.how == READ_OFF or facts is None:
            return 0.0
        spec = one.spec.changed(device="cuda")
        if one.how == TRAINED and one.begun < len(spec.stages):
            spec = spec.changed(stages=spec.stages[one.begun :])
            return spec.ranks * (self.estimates.seconds(spec, facts) or 0.0) / 3600
        kinds = {(stage.clip_shape(facts.clip_shape), stage.trains) for stage in spec.stages}
        steps = _TRIED_STEPS * len(kinds)
        # An epoch of as many clips.
        clips = ClipFacts(facts.clip_shape, facts.classes, steps * spec.batch_size, 0.0)
        once = spec.stages[0].changed(epochs=1, warmup_epochs=0, milestones=())
        seconds = self.estimates.seconds(spec.changed(stages=(once,)), clips) or 0.0
        return (_START_SECONDS + seconds) / 3600

    def basis(self, spec: RunSpec) -> str:
        """What an estimate rests on."""
        facts = self._facts(spec)
        return "" if facts is None else self.estimates.basis(spec.changed(device="cuda"), facts)

    def peak_bytes(self, spec: RunSpec) -> int | None:
        """Predicted, of one GPU."""
        facts = self._facts(spec)
        return None if facts is None else self.estimates.peak_bytes(spec, facts, "cuda")


def trainings_table(suite: Suite, runs: Sequence[Planned], hours: Hours) -> Table:
    """What is trained, for how many rows, and how long; and what all of it takes."""
    of_training: dict[str, list[Planned]] = {}
    for one in runs:
        of_training.setdefault(one.training.folder_name, []).append(one)
    groups: dict[tuple[str, str], list[Planned]] = {}
    for one in runs:
        if one.how == TRAINED and one.spec.is_training:
            words = (one.spec.layer or one.spec.model, one.spec.mode)
            groups.setdefault(words, []).append(one)
    body = []
    for words, members in groups.items():
        spec = members[0].spec
        with_it = of_training[spec.folder_name]
        each = [hours.of(one) for one in members]
        peak_bytes = hours.peak_bytes(spec)
        body.append(
            [
                *words,
                str(len(members)),
                str(len(with_it)),
                "–" if peak_bytes is None else f"{peak_bytes / _GIB:.2f}",
                _caps(peak_bytes, [one.spec for one in with_it]),
                f"{max(each):,.1f}" if max(each) else "done",
                f"{sum(each):,.1f}",
            ]
        )
    counts = Counter(one.how for one in runs)
    total = {how: sum(hours.of(one) for one in runs if one.how == how) for how in counts}
    begun = sum(one.begun > 0 for one in runs)
    bases = Counter(hours.basis(members[0].spec) for members in groups.values())
    notes = [
        f"{counts[TRAINED]} trainings, {total.get(TRAINED, 0):,.0f} GPU-hours; "
        f"{counts[TRIED]} caps tried by real steps, {total.get(TRIED, 0):,.0f} GPU-hours; "
        f"{counts[READ_OFF]} rows read off these, none",
        *(
            [f"{begun} trainings go on from stages of another, where they follow one another"]
            if begun
            else []
        ),
        "peak: a training step's on one GPU, the largest stage's; all tensors alive, without "
        "cuDNN's workspace; whether a cap is kept is a prediction here",
        f"hours rest on {', '.join(basis for basis, _ in bases.most_common())}",
        *_how_estimated(hours.estimates),
    ]
    return Table(
        title=f"{suite.name}: {len(runs)} points, {counts[TRAINED]} trainings, about "
        f"{sum(total.values()):,.0f} GPU-hours (ESTIMATE)",
        columns=[
            *("Layer", "Training", "Seeds", "Rows of each", "Peak, GiB", "Caps kept"),
            *("Hours of each", "Hours"),
        ],
        rows=body,
        notes=notes,
    )


def _caps(peak_bytes: int | None, specs: Sequence[RunSpec]) -> str:
    """Which caps the training's rows have, and whether they will be kept."""
    caps = sorted({spec.cap_bytes for spec in specs if spec.cap_bytes is not None})
    if peak_bytes is None:
        return ""
    kept = [f"{cap / _GIB:g} GiB {'yes' if peak_bytes <= cap else 'no'}" for cap in caps]
    return ", ".join(kept)


def _how_estimated(estimates: Estimates) -> list[str]:
    """Which device's hours these are, and how far such hours have been off."""
    name = estimates.device("cuda")
    if name is None:
        return ["no row of a GPU is known here: hours are from an assumed speed"]
    notes = [
        f"hours of one {name}: the multiplications that the plans execute, and the bytes that "
        "other operators move, at its rows' speed; decoding is not counted"
    ]
    for basis, ratios in estimates.errors("cuda").items():
        worst = max(ratios, key=lambda ratio: max(ratio, 1 / ratio))
        notes.append(
            f"by {basis}, {len(ratios)} rows of it would have been estimated at "
            f"{median(ratios):.2f} times what they took (median; {worst:.2f} at worst)"
        )
    return notes


def plan_table(suite: Suite, specs: Sequence[RunSpec], results: Path) -> Table:
    """One line a run: stages, computation, whether it is done. Needs no data."""
    runs = planned(specs, results)
    folds = any(spec.fold for spec in specs)
    body = []
    for one in runs:
        spec = one.spec
        body.append(
            [
                spec.layer or spec.model,
                spec.mode,
                *([(spec.fold or "").removeprefix("fold-")] if folds else []),
                str(spec.seed),
                " ".join(f"{stage.name}×{stage.epochs}" for stage in spec.stages),
                f"{total_cost(spec.stages):g}" if spec.stages else "—",
                _state(one),
            ]
        )
    missing = sum(row[-1] != "done" for row in body)
    own = Counter(one.how for one in runs if not one.is_done)
    notes = [f"results in {results}", "full-size epochs: computation in epochs at full size"]
    if own[READ_OFF] or own[TRIED]:
        notes.append(
            f"{own[TRAINED]} of them are trained; {own[TRIED]} try their cap by real steps, and "
            f"{own[READ_OFF]} are read off others"
        )
    return Table(
        title=f"{suite.name}: {missing} of {len(specs)} runs to do ({specs[0].setting})",
        columns=[
            *("Layer", "Mode"),
            *(["Tested on"] if folds else []),
            *("Seed", "Stages × epochs", "Full-size epochs", "State"),
        ],
        rows=body,
        notes=notes,
    )


def _state(one: Planned) -> str:
    if one.state != "to do" or one.how == TRAINED:
        return one.state
    what = "tries its cap, " if one.how == TRIED else ""
    return f"{what}read off {one.training.mode}"


def state(results: Path, spec: RunSpec) -> str:
    """Whether a run is done, resumes, runs again or is to do."""
    # Without the id, which depends on data that is not opened here.
    name = spec.folder_name.rpartition("-")[0]
    folders = [RunFolder(path) for path in results.glob(f"{name}-*") if path.is_dir()]
    if any(folder.is_done() for folder in folders):
        return "done"
    for folder in folders:
        result = folder.result()
        if result is not None:
            return f"{result['status']}, runs again"
    if any((folder.path / "checkpoint.pt").exists() for folder in folders):
        return "resumes"
    return "to do"
