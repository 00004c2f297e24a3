"""An ablation as text: each setting's accuracy, beside what it changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.reporting import cells
from suites.reporting.small_print import describe, provenance_notes
from suites.tables.table import Table

BASE = "base"


@dataclass(frozen=True)
class Words:
    """What a setting changes, and to what."""

    group: str
    label: str


def ablation_tables(rows: Sequence[Row], *, words: Mapping[str, Words], title: str) -> list[Table]:
    """A line a setting, those that change the same thing together."""
    groups = by_mode(rows, words)
    body = []
    for mode, group in groups.items():
        one = next((row for row in group if row["status"] == "ok"), None)
        difference = cells.paired_difference(group, groups[BASE])
        body.append(
            [
                words[mode].group,
                words[mode].label + (" †" if any(row["shipped"] for row in group) else ""),
                cells.percent(group),
                str(sum(row["status"] == "ok" for row in group)),
                ""
                if mode == BASE
                else "–"
                if difference is None
                else cells.with_interval(difference, sign=True),
                cells.percent(group, "video_accuracy") if one else "–",
                f"{one['params']:,}" if one else "–",
                cells.mib(one.get("predicted_cuda_peak_bytes")) if one else "–",
                f"{seconds(group):.0f}" if one else "–",
            ]
        )
    return [
        Table(
            title=f"{title} ({describe([*groups[BASE], *rows])})",
            columns=[
                "Change",
                "to",
                "Clip acc., %",
                "n",
                "vs Table 2's",
                "Video acc., %",
                "Params",
                "Peak on CUDA, pred., MiB",
                "Training, s",
            ],
            rows=body,
            notes=[
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
