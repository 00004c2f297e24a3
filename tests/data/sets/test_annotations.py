"""Annotation files that somebody got wrong, or means ill with."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stdcf.data.sets import kinetics, something
from stdcf.data.sets.listing import Listing
from stdcf.errors import UserError
from tests.speed import slowness

ABC = "run,abc,0,10,train"
HEADER = "label,youtube_id,time_start,time_end,split"
FIND: dict[str, Callable[[Path], Listing]] = {
    "kinetics": kinetics.find,
    "v1": lambda root: something.find(1, root),
    "v2": lambda root: something.find(2, root),
}


def kinetics_tree(root: Path, train: list[str], header: str = HEADER, end: str = "\n") -> Path:
    lines = [header, "run,val00000001,0,10,val", *train]
    root.mkdir(parents=True, exist_ok=True)
    (root / "all.csv").write_bytes((end.join(lines) + end).encode())
    for name in ("val00000001", "abc"):
        (root / f"{name}_000000_000010.mp4").touch()
    return root


def v1_tree(root: Path, train: str | bytes, validation: str = "2;b\n") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    content = train if isinstance(train, bytes) else train.encode()
    (root / "x-train.csv").write_bytes(content)
    (root / "x-validation.csv").write_text(validation)
    (root / "x-labels.csv").write_text("a\nb\n")
    for name in ("1", "2"):
        (root / name).mkdir(exist_ok=True)
    return root


def v2_tree(root: Path, train: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.json").write_text(train)
    (root / "validation.json").write_text(json.dumps([{"id": "2", "template": "b"}]))
    (root / "labels.json").write_text(json.dumps({"a": "0", "b": "1"}))
    for name in ("1", "2"):
        (root / f"{name}.webm").touch()
    return root


@pytest.mark.parametrize("name", ["../secret", "/etc/secret", "a/../../secret", "..", ".", ""])
def test_no_line_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    """Names are looked up among the files that are there; none is ever made into a path."""
    (tmp_path / "secret_000000_000010.mp4").touch()
    (tmp_path / "secret.webm").touch()
    (tmp_path / "secret").mkdir()
    line, pair = f"run,{name},0,10,train", f"1;a\n{name};a\n"
    trees = {
        "kinetics": kinetics_tree(tmp_path / "k", [ABC, line]),
        "v1": v1_tree(tmp_path / "v1", pair),
        "v2": v2_tree(
            tmp_path / "v2", json.dumps([{"id": i, "template": "a"} for i in ("1", name)])
        ),
    }
    for kind, root in trees.items():
        listing = FIND[kind](root)
        found = [n for files in listing.files.values() for n in files.names]
        assert len(found) == 2
        assert all((root / n).resolve().parent == root.resolve() for n in found)
        assert len(listing.missing) == 1


def test_folders_behind_links_are_not_searched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "far_000000_000010.mp4").touch()
    root = kinetics_tree(tmp_path / "k", [ABC, "run,far,0,10,train"])
    (root / "link").symlink_to(outside)
    assert kinetics.find(root).missing == ("far_000000_000010",)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_marks_and_line_ends_change_nothing(tmp_path: Path, end: str, mark: str) -> None:
    root = kinetics_tree(tmp_path / "k", [ABC], mark + HEADER, end)
    assert [len(files.names) for files in kinetics.find(root).files.values()] == [1, 1]
    root = v1_tree(tmp_path / "v1", f"{mark}1;a{end}")
    assert [len(files.names) for files in something.find(1, root).files.values()] == [1, 1]


def test_a_line_that_comes_twice_counts_once(tmp_path: Path) -> None:
    root = kinetics_tree(tmp_path / "k", 2 * [ABC])
    assert kinetics.find(root).files["train"].names == ("abc_000000_000010.mp4",)


WRONG = [
    ("kinetics", lambda r: kinetics_tree(r, [ABC, "hop,abc,0,10,train"]),
     "twice: 'run' in train, 'hop' in train"),
    ("kinetics", lambda r: kinetics_tree(r, ["run,val00000001,0,10,train"]), "twice"),
    ("kinetics", lambda r: kinetics_tree(r, [], HEADER.replace(",", ";")),
     "lacks the columns"),
    ("kinetics", lambda r: kinetics_tree(r, ["run,abc"]), "cut short"),
    ("kinetics", lambda r: kinetics_tree(r, ["run,abc,0,inf,train"]), "no times in seconds"),
    ("kinetics", lambda r: kinetics_tree(r, ["run,abc,0,nan,train"]), "no times in seconds"),
    ("kinetics", lambda r: kinetics_tree(r, [f"{'x' * 200_000},abc,0,10,train"]), "not a CSV"),
    ("v1", lambda r: v1_tree(r, "1;a\n1;b\n"), "twice: 'a' in train, 'b' in train"),
    ("v1", lambda r: v1_tree(r, "1;a\n2;b\n"), "twice: 'b' in train, 'b' in test"),
    ("v1", lambda r: v1_tree(r, "1;hop\n"), "lacks the label 'hop'"),
    ("v1", lambda r: v1_tree(r, "1,a\n"), "expected lines id;label"),
    ("v1", lambda r: v1_tree(r, "1;\xe9\n".encode("latin-1")), "not a CSV in UTF-8"),
    ("v2", lambda r: v2_tree(r, '[{"id": "1", "template": 7}]'), "expected a list of objects"),
    ("v2", lambda r: v2_tree(r, '{"id": "1"}'), "expected a list of objects"),
    ("v2", lambda r: v2_tree(r, "[" * 100_000), "is not JSON"),
    ("v2", lambda r: v2_tree(r, '[{"id": "1", "template": "hop"}]'), "lacks the label 'hop'"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "make", "words"), WRONG)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, kind: str, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(UserError, match=words) as raised:
        FIND[kind](make(tmp_path / "root"))
    assert str(raised.value).isprintable()


def test_a_million_lines_take_five_seconds_at_most(tmp_path: Path) -> None:
    lines = [f"run,{index:011d},0,10,train" for index in range(10**6)]
    root = kinetics_tree(tmp_path / "k", [ABC, *lines])
    pairs = "".join(f"{index};a\n" for index in range(10**6))
    for kind, tree in (("kinetics", root), ("v1", v1_tree(tmp_path / "v1", pairs, "x;b\n"))):
        started = time.process_time()
        listing = FIND[kind](tree)
        assert time.process_time() - started <= 5 * slowness()
        assert len(listing.missing) >= 10**6 - 2
