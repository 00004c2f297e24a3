"""What is said of the data under every table and in its title."""

from typing import Any

import pytest

from suites.reporting.small_print import describe, least_share, provenance_notes, video_notes


def counts(listed: int, found: int, broken: int) -> dict[str, int]:
    return {"listed": listed, "found": found, "broken": broken, "used": found - broken}


def row(**changes: Any) -> dict[str, Any]:
    common = {"dataset": "ucf101", "profile": "quick", "dtype": "float32", "status": "ok"}
    common |= {"shipped": False, "commit": "0" * 40, "dirty": False}
    return common | changes


def test_counts_stand_under_the_table() -> None:
    videos = {"train": counts(9, 9, 1), "test": counts(4, 3, 0)}
    expected = "train 9 listed, 9 found, 1 broken, 8 used; test 4 listed, 3 found, 0 broken, 3 used"
    assert f"videos: {expected}" in provenance_notes([row(videos=videos), row()])
    other = {"train": counts(8, 8, 0), "test": counts(5, 5, 0)}
    assert video_notes([row(videos=videos), row(videos=other)]) == [
        f"videos (of 2 splits the first): {expected}"
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [(95, "ucf101, quick"), (94, "ucf101, 94% OF THE LISTED VIDEOS, quick")],
)
def test_a_title_names_a_set_of_which_much_is_missing(found: int, words: str) -> None:
    videos = {"train": counts(60, found - 40, 0), "test": counts(40, 40, 0)}
    assert describe([row(), row(videos=videos)]).startswith(words)
    # Broken videos lack as missing ones do.
    broken = {"train": counts(60, 60, 100 - found), "test": counts(40, 40, 0)}
    assert describe([row(videos=broken)]).startswith(words)


@pytest.mark.parametrize("videos", [None, {}, "many", {"train": 3}, {"train": {"listed": "x"}}])
def test_rows_without_counts_say_nothing(videos: Any) -> None:
    rows = [row(videos=videos)]
    assert least_share(rows) == 1.0
    assert video_notes(rows) == []


def test_folds_of_different_sizes_are_told_as_a_range() -> None:
    shared = {"status": "ok", "dataset": "weizmann", "clip_shape": [1, 16, 30, 40]}
    shared |= {"profile": "half", "dtype": "float32"}
    rows = [shared | {"train_clips": n, "test_clips": 1000 - n} for n in (900, 950, 900)]
    assert describe(rows).startswith("weizmann, 16×30×40 clips, 900 to 950 train, 50 to 100 test")
    assert "900 train, 100 test" in describe(rows[:1])
