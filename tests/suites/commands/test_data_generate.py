"""`suites.data generate`: a tree that `verify`, `preview` and the suites take."""

from typing import Any

import pytest

from suites import data


@pytest.mark.parametrize("name", ["kinetics400", "something_v1", "something_v2"])
def test_a_generated_tree_is_sound_and_can_be_looked_at(call: Any, tmp_path, name):
    root = tmp_path / name
    amount = ["--classes", 2, "--train", 1, "--test", 1, "--frames", 9]
    code, out, err = call(data, "generate", name, "--root", root, *amount)
    assert (code, err) == (0, "")
    assert out == f"4 videos in {root}, drawn and not filmed.\n"
    assert call(data, "verify", name, "--root", root)[:2] == (
        0,
        "4 videos sound, 0 broken, 0 missing.\n",
    )
    code, out, _ = call(data, "preview", name, "--root", root, "--out", tmp_path / "sheet.png")
    assert code == 0
    assert "Generated videos, not film" in out
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_line(call: Any, tmp_path):
    (tmp_path / "mine.txt").touch()
    code, _, err = call(data, "generate", "kinetics400", "--root", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "is not empty" in err
    code, _, err = call(data, "generate", "kth", "--root", tmp_path / "kth")
    assert (code, err.count("\n")) == (2, 1)
    assert "choose kinetics400, something_v1, something_v2" in err
    assert not (tmp_path / "kth").exists()
