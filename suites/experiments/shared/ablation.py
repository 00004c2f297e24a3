"""Ablations: runs that each change one thing of Table 2's STDCF trained by ITSL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stdcf.stages.stage import Stage
from suites.engine.spec import RunSpec
from suites.engine.suite import TRAINS, Request, Row, Suite
from suites.experiments.shared import kth
from suites.experiments.shared.kth import PROFILES
from suites.reporting import columns
from suites.reporting.columns import Column, Line
from suites.reporting.figures import parts, seeds, style
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table


@dataclass(frozen=True)
class Setting:
    """One row of an ablation.

    Attributes:
        stages: how it is trained.
        layer_options, model_options: beyond Table 2's.
        one_rate: atoms have no rate of their own.
    """

    stages: tuple[Stage, ...]
    layer_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    one_rate: bool = False


# Beside Table 2's, with 12 runs a seed, so many runs must be shorter to be done in minutes.
_QUICK_EPOCHS = 2


def epochs_of(request: Request) -> int:
    """Of a stage: what was asked for, else the profile's."""
    return request.epochs or (
        _QUICK_EPOCHS if request.profile == "quick" else PROFILES[request.profile].epochs
    )


def milestones(request: Request, epochs: int) -> tuple[int, ...]:
    """The rate falls after the same part of a stage's epochs as in Table 2."""
    fall = int(epochs * PROFILES[request.profile].rate_falls_after)
    return (fall,) if fall else ()


def _as_table_2s(request: Request, setting: Setting, person: str | None) -> tuple[Stage, ...]:
    """The stages at the rates of Table 2's STDCF, tested as its are."""
    stages = setting.stages
    rate = kth.rate_of(request, "stdcf", "full" if len(stages) == 1 else "itsl", person)
    if setting.one_rate:
        rate = rate._replace(atom_lr=1.0)
    own = {**rate._asdict(), "recalibrate": PROFILES[request.profile].recalibrate}
    return tuple(stage.changed(**own) for stage in stages)


def specs(
    suite: str, request: Request, manifest: str, settings: Mapping[str, Setting]
) -> list[RunSpec]:
    """Every setting, seed by seed and fold by fold; settings in the order of their value."""
    asked = request.layer_options.get("stdcf", {})
    runs = [
        kth.spec(
            suite,
            request,
            manifest,
            "stdcf",
            dataset_options=kth.clips(request, person),
            model_options={**request.model_options, **setting.model_options},
            layer_options={**kth.LAYER_OPTIONS["stdcf"], **asked, **setting.layer_options},
            mode=mode,
            stages=_as_table_2s(request, setting, person),
            seed=seed,
        )
        for seed in request.each_seed(PROFILES[request.profile].seeds)
        for person in kth.folds(request)
        for mode, setting in settings.items()
    ]
    # Where the base has one rate, so have others, and settings of one rate are theirs again.
    return list({run.run_id: run for run in reversed(runs)}.values())[::-1]


BASE = "base"


@dataclass(frozen=True)
class Words:
    """What a setting changes, and to what."""

    group: str
    label: str


def ablation_tables(rows: Sequence[Row], *, words: Mapping[str, Words], title: str) -> list[Table]:
    """A line a setting, those that change the same thing together."""
    groups = by_mode(rows, words)
    base = groups[BASE]
    return [
        columns.table(
            f"{title} ({describe([*base, *rows])})",
            [
                Column[Line]("Change", lambda line: words[line.key].group),
                columns.marked("to", lambda line: words[line.key].label),
                columns.percent("Clip acc., %"),
                columns.count(),
                columns.difference("vs Table 2's"),
                columns.more_percent("Video acc., %", "video_accuracy"),
                columns.params(),
                columns.mib("Peak on CUDA, pred., MiB", "predicted_cuda_peak_bytes"),
                Column("Training, s", lambda x: f"{seconds(x.rows):.0f}" if x.ok else "–"),
            ],
            [
                Line(group, mode, base=None if mode == BASE else base)
                for mode, group in groups.items()
            ],
            [
                "STDCF in kth_cnn, one change at a time from Table 2's setting: ITSL, E=3, β=γ=2, "
                "M=3, N=2; vs Table 2's in points, paired by seed",
                *provenance_notes(rows),
            ],
        )
    ]


def by_mode(rows: Sequence[Row], words: Mapping[str, Words]) -> dict[str, list[Row]]:
    """Mode -> its rows; modes that change the same thing follow one another, by their labels."""
    whats = list(dict.fromkeys(one.group for one in words.values()))
    modes = sorted(words, key=lambda mode: (whats.index(words[mode].group), words[mode].label))
    return {mode: [row for row in rows if row["mode"] == mode] for mode in modes}


def seconds(rows: Sequence[Row]) -> float:
    """Mean time of training of the runs that are ok."""
    found = [row["train_seconds"] for row in rows if row["status"] == "ok"]
    return sum(found) / len(found)


def ablation_suite(
    name: str,
    title: str,
    *,
    settings: Callable[[Request], Mapping[str, Setting]],
    words: Mapping[str, Words],
    table_title: str,
    **own: Any,
) -> Suite:
    """The suite of an ablation.

    Args:
        settings: mode -> its setting; the first is what the others change.
        words: mode -> what stands for it in the table and the figure.
        own: other fields of `Suite`.
    """

    def runs(request: Request, manifest: str) -> list[RunSpec]:
        return specs(name, request, manifest, settings(request))

    return Suite(
        name=name,
        title=title,
        profiles=tuple(PROFILES),
        datasets=kth.DATASETS,
        dataset_options=kth.dataset_options,
        specs=runs,
        tables=partial(ablation_tables, words=words, title=table_title),
        figures=partial(draw, words=words, name=name, title=table_title),
        options=("rates",),
        takes=(*TRAINS, "folds", "ranks"),
        **own,
    )


def draw(
    rows: Sequence[Row], folder: Path, words: Mapping[str, Words], name: str, title: str
) -> list[Path]:
    """Writes `name`.png and .svg; nothing where no run is ok yet.

    Large marks are means, small points the seeds, whiskers 95% intervals; the band is the base's.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    groups = {mode: group for mode, group in by_mode(ok, words).items() if group}
    if not groups:
        return []
    places: dict[str, float] = {}
    for mode in groups:
        # A gap between those that change different things.
        last = next(reversed(places), None)
        new = last is None or words[mode].group != words[last].group
        places[mode] = (places[last] if last else 0.0) + (1.4 if new else 1.0)
    accuracies = {mode: [100 * row["accuracy"] for row in group] for mode, group in groups.items()}
    with parts.page(height=0.9 + 0.24 * len(groups)) as (figure, (axes,)):
        look = style.colour("stdcf")
        if base := accuracies.get(BASE):
            axes.axvspan(*seeds.interval(base), color=look, alpha=0.12, lw=0)
            axes.axvline(seeds.mean(base), color=look, linewidth=0.8, linestyle="--")
        for fill in ("full", "none"):
            frame = seeds.tidy(
                (places[mode], "stdcf", values)
                for mode, values in accuracies.items()
                if (mode == BASE) == (fill == "full")
            )
            seeds.points(axes, frame, across=True, **style.filled(fill))
        names = [f"{words[mode].group}: {words[mode].label}" for mode in groups]
        axes.set_yticks(list(places.values()), names, fontsize=8)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("Clip accuracy, %")
        axes.set_title(title, loc="left")
        counts = sorted({len(group) for group in groups.values()})
        return parts.save(
            figure,
            folder,
            name,
            [*groups.get(BASE, []), *ok],
            "STDCF in kth_cnn; diamonds: means over "
            f"{' to '.join(dict.fromkeys(str(n) for n in (counts[0], counts[-1])))} "
            f"seed{'s' * (counts[-1] > 1)}, dots: seeds, whiskers: 95% intervals; filled and "
            "dashed: Table 2's setting, band: its interval",
        )


def changed(stages: Sequence[Stage], **changes: Any) -> tuple[Stage, ...]:
    """Every stage with these changes."""
    return tuple(stage.changed(**changes) for stage in stages)
