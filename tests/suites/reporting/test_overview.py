"""The numbers of the page's first charts, against the rows and against each other."""

import json
from collections import defaultdict
from statistics import fmean
from typing import Any

import pytest

from suites.engine.store.index import read_rows
from suites.paths import SHIPPED
from suites.reporting.page.overview import overview


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [
        {**row, "setting": path.split("/")[1]}
        for path, row in read_rows(SHIPPED).items()
        if path.startswith(("kth_table2/", "memory_caps/"))
    ]


def test_accuracy_memory_and_stages_are_means_over_folds(rows: list[dict[str, Any]]) -> None:
    accuracy, stages, _ = overview(rows)["charts"]
    weizmann = [row for row in rows if row["setting"] == "weizmann-half"]
    expected = defaultdict(list)
    for row in weizmann:
        expected[row["layer"], row["mode"]].append(row["recalibrated_accuracy"])
    found = {
        (series["layer"], series["points"][0][2].partition(":")[0]): series["points"][0]
        for series in accuracy["series"]
    }
    assert found.keys() == expected.keys()
    for key, (_, y, words) in found.items():
        assert y == pytest.approx(100 * fmean(expected[key]))
        assert words.endswith(f"n={len(expected[key])}")
    # README's Weizmann: ITSL halves 46.7, 60.4 and 45.9 MiB.
    for layer, peak in (("regular", 23.9), ("rank1", 30.3), ("stdcf", 23.1)):
        assert found[layer, "itsl"][0] == pytest.approx(peak, abs=0.05)
    assert stages["places"] == ["t1", "s1", "t2", "s2", "t3", "s3"]
    for series in stages["series"]:
        # The last stage's accuracy is the run's.
        assert series["points"][-1][1] == pytest.approx(found[series["layer"], "itsl"][1])


def test_what_fits_under_a_cap_grows_with_it_and_with_itsl(rows: list[dict[str, Any]]) -> None:
    caps = overview(rows)["charts"][2]
    clips = {(s["layer"], s["itsl"]): [y for _, y, _ in s["points"]] for s in caps["series"]}
    assert clips.keys() == {(n, i) for n in ("regular", "rank1", "stdcf") for i in (True, False)}
    for (layer, itsl), counts in clips.items():
        assert counts == sorted(counts)
        assert all(isinstance(count, int) for count in counts)
        assert not itsl or all(map(int.__ge__, counts, clips[layer, False]))
    assert "resnet3d_50, clips of 3×8×224×224" in caps["about"]


@pytest.mark.parametrize(
    "kept", [lambda row: row["mode"] == "full", lambda row: False, lambda row: row["seed"] == 1]
)
def test_charts_without_rows_are_left_out(rows: list[dict[str, Any]], kept: Any) -> None:
    found = overview([row for row in rows if row["suite"] == "kth_table2" and kept(row)])
    json.dumps(found, allow_nan=False)
    assert all(chart["series"] for chart in found["charts"])
    assert len(found["charts"]) in (0, 2)
