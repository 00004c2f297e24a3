"""Lists of videos and labels in each form in use."""

from pathlib import Path
from typing import Any

import pytest

from stdcf.data.sets.label_lists import LabelList, check_numbers, read_classes, read_list
from stdcf.errors import UserError

FORMS = {
    "slowfast": ("a/v0.mp4 3\na/v1.mp4 0\n", ["a/v0.mp4", "a/v1.mp4"], ["3", "0"]),
    "videomae": ("a/v0.mp4,3\na/v1.mp4,0\n", ["a/v0.mp4", "a/v1.mp4"], ["3", "0"]),
    "tab": ("a/v0.MP4\t3\na/v1.webm\t0\n", ["a/v0.MP4", "a/v1.webm"], ["3", "0"]),
    "crlf": ("a/v0.mp4 3\r\n\r\na/v1.mp4 0\r\n", ["a/v0.mp4", "a/v1.mp4"], ["3", "0"]),
    "mark": ("\ufeffa/v0.mp4 3\n", ["a/v0.mp4"], ["3"]),
    "spaces": (
        "my videos/v 0.avi 3\nmy videos/v 1.avi 0\n",
        ["my videos/v 0.avi", "my videos/v 1.avi"],
        ["3", "0"],
    ),
    "commas in paths": ("a, b/v0.mp4,3\n", ["a, b/v0.mp4"], ["3"]),
    "quotes": ('"my videos/v0.mp4",jump high\n', ["my videos/v0.mp4"], ["jump high"]),
    "names": ("v0.mp4 jump high\nv1.mp4 run\n", ["v0.mp4", "v1.mp4"], ["jump high", "run"]),
    "dots": ("a.mp4.dir/v0.b.mp4 1\n", ["a.mp4.dir/v0.b.mp4"], ["1"]),
    "no ending": ("Archery/v_0 0\nBiking/v_1 1\n", ["Archery/v_0", "Biking/v_1"], ["0", "1"]),
    "header": (
        "video_path,label\nv0.mp4,jump\nv1.mp4,run\n",
        ["v0.mp4", "v1.mp4"],
        ["jump", "run"],
    ),
    "header with spaces": ("path label\nv0.mp4 1\n", ["v0.mp4"], ["1"]),
    "spaces after separators": ("v0.mp4, 3\nv1.mp4 ;\t0\n", ["v0.mp4", "v1.mp4"], ["3", "0"]),
    "separators at the end": ("v0.mp4,3,\nv1.mp4,0, \n", ["v0.mp4", "v1.mp4"], ["3", "0"]),
    "and without endings": ("a/v0,3,\na/v1,0,\n", ["a/v0", "a/v1"], ["3", "0"]),
    "comments": ("# my list\n#1_film.mp4 3\n", ["#1_film.mp4"], ["3"]),
    "accents of macOS": ("v0.mp4 cafe\u0301\n", ["v0.mp4"], ["caf\xe9"]),
    "ids": ("video_id,class\nv0,jump\n", ["v0"], ["jump"]),
    "other columns": (
        'id,label,path\n7,"hop, skip","a b/v0.mp4"\n8,run,v1.mp4\n',
        ["a b/v0.mp4", "v1.mp4"],
        ["hop, skip", "run"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_paths_and_labels(tmp_path: Path, form: str) -> None:
    text, paths, labels = FORMS[form]
    (tmp_path / "l.txt").write_text(text, newline="")
    found = read_list(tmp_path / "l.txt")
    assert (found.paths, found.labels, found.frames, found.spans) == (paths, labels, [], [])


FRAMES = {
    "TSN's": ("jump/v0 120 3\nrun/v1 96 0\n", ["jump/v0", "run/v1"], [(0, 120), (0, 96)]),
    "numbers alone": ("1 20 3\n2 21 0\n", ["1", "2"], [(0, 20), (0, 21)]),
    "commas": ("1,20,3\n2,21,0\n", ["1", "2"], [(0, 20), (0, 21)]),
    "mmaction2's with offsets": (
        "d/v0 12 61 3\nd/v1 0 20 0\n",
        ["d/v0", "d/v1"],
        [(12, 61), (0, 20)],
    ),
    "spaces": ("my dir/v 0 120 3\nv1 96 0\n", ["my dir/v 0", "v1"], [(0, 120), (0, 96)]),
    "header": (
        "frame_dir,num_frames,label\nd/v0,9,3\nd/v1,8,0\n",
        ["d/v0", "d/v1"],
        [(0, 9), (0, 8)],
    ),
}


@pytest.mark.parametrize("form", FRAMES)
def test_folders_with_their_numbers_of_frames(tmp_path: Path, form: str) -> None:
    text, paths, frames = FRAMES[form]
    (tmp_path / "l.txt").write_text(text)
    found = read_list(tmp_path / "l.txt")
    assert (found.paths, found.labels, found.frames) == (paths, ["3", "0"], frames)


def test_times_and_parts_by_a_header(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "path,label,start,end,split\na.mp4,x,0.5,2,train\na.mp4,y,00:01:02.5,63,val\n"
    )
    found = read_list(tmp_path / "l.csv")
    assert found.spans == [(0.5, 2.0), (62.5, 63.0)]
    assert found.parts == ["train", "val"]


WRONG = [
    ("", "is empty"),
    ("path,label\n", "has a header and nothing below"),
    ("v0.mp4 1\nv1.mp4\n", "line 2: expected a video's path and its label .*, not 'v1.mp4'"),
    ("v0.mp4 0 10.5\nv1.mp4 1 3.2\n", "line 1: expected a video's path and its label"),
    ("v0.mp4 120 3\nv1.mp4 96 0\n", "line 1: .*more columns need a header"),
    ("0 v0.mp4\n1 v1.mp4\n", "line 1: expected a path and a label, not '0 v0.mp4'"),
    ("jump,v0.mp4\n", "line 1: expected a path and a label"),
    ("v0.mp4|0\n", "line 1: expected a path and a label"),
    ("path,label,start,end\nv0.mp4,1,3,2\n", "line 2: expected path,label,start,end"),
    ("v0.mp4 1\nv1.mp4 1 3\n", "line 2: expected a video's path and its label"),
    ("d/v0 12 1\nd/v1\n", "line 2: expected a"),
    ("path,label\nv0.mp4,1\nv1.mp4\n", "line 3: expected path,label"),
    ("label path\n1 v0.mp4\n", "a path first, a label last"),
    ("frame_dir,frames,label\nd,many,1\n", "line 2: expected frame_dir,frames,label"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_list(tmp_path / "l.txt")


@pytest.mark.parametrize(
    ("labels", "made"),
    [
        (["0.0", "01", "1"], ["0", "1", "1"]),
        (["7", "10"], ["7", "10"]),
        (["run", "jump 2"], ["run", "jump 2"]),
        (["0", "-1"], "-1 is no class: take such lines out"),
        (["0", "jump"], "calls a class 0 and .* one 'jump': write numbers or names"),
        (["0", "1.5"], "calls a class 0 and .* one '1.5'"),
    ],
)
def test_one_number_is_one_class(tmp_path: Path, labels: list[str], made: Any) -> None:
    lists = [LabelList(tmp_path / str(n), [f"{n}.mp4"], [label]) for n, label in enumerate(labels)]
    if isinstance(made, str):
        with pytest.raises(UserError, match=made):
            check_numbers(lists)
        return
    check_numbers(lists)
    assert [found.labels[0] for found in lists] == made


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("hop\nrun fast\n", {"0": "hop", "1": "run fast"}),
        ("1 Archery\r\n2 Biking\r\n", {"1": "Archery", "2": "Biking"}),
        ("id,name\n0,hop\n1,run\n", {"0": "hop", "1": "run"}),
        ('{"run": "1", "hop": "0"}', {"0": "hop", "1": "run"}),
    ],
)
def test_names_of_classes(tmp_path: Path, text: str, names: dict[str, str]) -> None:
    (tmp_path / "c").write_text(text)
    assert read_classes(tmp_path / "c") == names


@pytest.mark.parametrize("text", ["", "hop\nhop\n", "1 hop\n1 run\n", "{", '{"a": "b"}'])
def test_wrong_classes_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(UserError, match=r"names|expected a JSON"):
        read_classes(tmp_path / "c")
