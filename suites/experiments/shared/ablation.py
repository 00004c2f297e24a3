"""Ablations: runs that each change one thing of Table 2's STDCF trained by ITSL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stdcf.stages.stage import Stage
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row
from suites.experiments.shared import kth
from suites.experiments.shared.kth import PROFILES
from suites.reporting import columns
from suites.reporting.columns import Column, Line
from suites.reporting.figures import style
from suites.reporting.small_print import describe, provenance_notes, where_and_when
from suites.reporting.stats import estimate
from suites.tables.table import Table


@dataclass(frozen=True)
class Setting:
    """One row of an ablation.

    Attributes:
        stages: how it is trained.
        layer_options, model_options: beyond Table 2's.
    """

    stages: tuple[Stage, ...]
    layer_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)


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


def specs(
    suite: str, request: Request, manifest: str, settings: Mapping[str, Setting]
) -> list[RunSpec]:
    """Every setting for the first seed, then for the next; settings in the order of their value."""
    asked = request.layer_options.get("stdcf", {})
    return [
        kth.spec(
            suite,
            request,
            manifest,
            "stdcf",
            model_options={**request.model_options, **setting.model_options},
            layer_options={**kth.LAYER_OPTIONS["stdcf"], **asked, **setting.layer_options},
            mode=mode,
            stages=setting.stages,
            seed=seed,
        )
        for seed in request.each_seed(PROFILES[request.profile].seeds)
        for mode, setting in settings.items()
    ]


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
    colour, marker = style.colour("stdcf"), style.marker("stdcf")
    with style.figure_style():
        import matplotlib.pyplot as plt

        height = 0.9 + 0.24 * len(groups)
        figure, axes = plt.subplots(figsize=(style.WIDTH, height), layout="constrained")
        last, place = None, -1.0
        places = []
        for mode, group in groups.items():
            # A gap between those that change different things.
            place += 1.0 if words[mode].group == last else 1.4
            last = words[mode].group
            places.append(place)
            values = [100 * row["accuracy"] for row in group]
            found = estimate(values)
            half = found.half_width or 0.0
            if mode == BASE:
                axes.axvspan(found.mean - half, found.mean + half, color=colour, alpha=0.12, lw=0)
                axes.axvline(found.mean, color=colour, linewidth=0.8, linestyle="--")
            axes.errorbar(
                found.mean,
                place,
                xerr=half or None,
                color=colour,
                marker=marker,
                markersize=6,
                markerfacecolor=colour if mode == BASE else "white",
                capsize=2.5,
                linewidth=1,
                zorder=3,
            )
            if len(values) > 1:
                axes.scatter(values, [place] * len(values), s=7, color="black", zorder=4)
        axes.set_yticks(
            places,
            [f"{words[mode].group}: {words[mode].label}" for mode in groups],
            fontsize=8,
        )
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("Clip accuracy, %")
        axes.set_title(title, loc="left")
        seeds = sorted({len(group) for group in groups.values()})
        style.caption(
            figure,
            [
                "STDCF in kth_cnn; diamonds: means, points: seeds, whiskers: 95% intervals; "
                "filled and dashed: Table 2's setting, band: its interval",
                describe([*groups.get(BASE, []), *ok]),
                f"{where_and_when(ok)}; "
                f"{' to '.join(dict.fromkeys(str(n) for n in (seeds[0], seeds[-1])))} "
                f"seed{'s' * (seeds[-1] > 1)}",
            ],
        )
        return style.save(figure, folder, name)


def changed(stages: Sequence[Stage], **changes: Any) -> tuple[Stage, ...]:
    """Every stage with these changes."""
    return tuple(stage.changed(**changes) for stage in stages)
