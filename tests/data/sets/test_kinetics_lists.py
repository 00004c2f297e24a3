"""Kinetics by the lists that people have: which are read, which are named and not read."""

from pathlib import Path

import pytest

from stdcf.data.sets import kinetics
from stdcf.errors import UserError

HEAD = "label,youtube_id,time_start,time_end,split\n"
WHOLE = "run,{0},0,10,train\nhop,{1},0,10,train\n"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def pairs(listing, part: str) -> list[tuple[str, str]]:
    files = listing.files[part]
    return [(n, listing.classes[i]) for n, i in zip(files.names, files.labels, strict=True)]


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("{0}.mp4 {1}", ""),
        ("{0}.mp4,{1}", ""),
        ("my videos/{0}.mp4 {1}", "my videos/"),
        ("/disk/k400/train/{0}.mp4 {1}", "train/"),
        ("{0}.mp4\t{1}", "below/"),
    ],
)
@pytest.mark.parametrize("ending", ["train.csv", "kinetics400_train_list_videos.txt"])
def test_lists_of_path_and_label(tmp_path: Path, line: str, folder: str, ending: str) -> None:
    touch(tmp_path, *(f"{folder}v{n}.mp4" for n in range(4)))
    rows = [line.format(f"v{n}", 10 - n % 2) for n in range(4)]
    (tmp_path / ending).write_text("\n".join(rows[:2]) + "\n")
    (tmp_path / ending.replace("train", "val")).write_text("\n".join(rows[2:]))
    listing = kinetics.find(tmp_path)
    assert listing.classes == ("9", "10")
    assert pairs(listing, "train") == [(f"{folder}v0.mp4", "10"), (f"{folder}v1.mp4", "9")]
    assert pairs(listing, "test") == [(f"{folder}v2.mp4", "10"), (f"{folder}v3.mp4", "9")]
    (tmp_path / "labels.csv").write_text("id,name\n9,hop\n10,run\n")
    assert kinetics.find(tmp_path).classes == ("hop", "run")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a/v0.mp4 0\nb/v0.mp4 1\nv1.mp4\n", "line 3: expected a video's path and the number"),
        ("v0.mp4 0\n", "may be a/v0.mp4 or b/v0.mp4"),
        ("a/v0.mp4 0\na/v0.mp4 1\n", "twice: '0' in train, '1' in train"),
    ],
)
def test_wrong_lists_of_paths_are_one_line(tmp_path: Path, rows: str, message: str) -> None:
    touch(tmp_path, "a/v0.mp4", "b/v0.mp4", "c.mp4")
    (tmp_path / "train.csv").write_text(rows)
    (tmp_path / "val.csv").write_text("c.mp4 0\n")
    with pytest.raises(UserError, match=message):
        kinetics.find(tmp_path)


def test_no_path_of_a_list_leads_out(tmp_path: Path) -> None:
    touch(tmp_path, "secret.mp4", "k/v0.mp4", "k/v1.mp4")
    (tmp_path / "k/train.csv").write_text(f"v0.mp4 0\n../secret.mp4 1\n{tmp_path}/secret.mp4 1\n")
    (tmp_path / "k/val.csv").write_text("v1.mp4 0\n")
    listing = kinetics.find(tmp_path / "k")
    assert pairs(listing, "train") == [("v0.mp4", "0")]
    assert listing.missing == ("../secret.mp4", f"{tmp_path}/secret.mp4")


def test_other_files_beside_the_lists_are_named(tmp_path: Path) -> None:
    names = [f"{c * 11}_000000_000010" for c in "abcd"]
    touch(tmp_path, *(f"videos/{name}.MP4" for name in names))
    (tmp_path / "train.csv").write_text(HEAD + WHOLE.format(*(n[:11] for n in names[:2])))
    val = WHOLE.format(*(n[:11] for n in names[2:])).replace("train", "valid")
    (tmp_path / "valid.csv").write_text(HEAD + val)
    (tmp_path / "kinetics_400_labels.csv").write_text("id,name\n0,hop\n1,run\n")
    (tmp_path / "downloads.csv").write_text("url;state\n")
    listing = kinetics.find(tmp_path)
    assert [len(files.names) for files in listing.files.values()] == [2, 2]
    assert [i.name for i in listing.left_out] == ["downloads.csv", "kinetics_400_labels.csv"]
    (tmp_path / "valid.csv").write_text("url;state\n")
    with pytest.raises(UserError, match=r"valid.csv lacks the columns label"):
        kinetics.find(tmp_path)


def test_another_csv_beside_folders_of_classes(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{label}/0.mp4" for part in ("train", "val") for label in "ab"))
    (tmp_path / "downloads.csv").write_text("url;state\n")
    listing = kinetics.find(tmp_path)
    assert listing.classes == ("a", "b")
    assert [item.name for item in listing.left_out] == ["downloads.csv"]


def test_linked_folders_are_named_where_videos_lack(tmp_path: Path) -> None:
    names = [f"{c * 11}_000000_000010" for c in "ab"]
    touch(tmp_path, *(f"disk/{name}.mp4" for name in names))
    root = tmp_path / "k"
    root.mkdir()
    (root / "train.csv").write_text(HEAD + f"run,{names[0][:11]},0,10,train\n")
    (root / "val.csv").write_text(HEAD + f"run,{names[1][:11]},0,10,val\n")
    (root / "videos").symlink_to(tmp_path / "disk")
    with pytest.raises(UserError, match=r"Left out: videos .a linked folder"):
        kinetics.load(root)


def test_one_film_of_two_segments_is_refused_unless_it_holds_both(
    tmp_path: Path, make_video
) -> None:
    touch(tmp_path, "aaaaaaaaaaa.mp4", "bbbbbbbbbbb.mp4")
    train, val = tmp_path / "train.csv", tmp_path / "val.csv"
    train.write_text(HEAD + "run,aaaaaaaaaaa,0,10,train\n")
    val.write_text(HEAD + "run,bbbbbbbbbbb,0,10,val\n")
    assert kinetics.find(tmp_path).notes[0].startswith("2 segments are cut from films")
    train.write_text(HEAD + "run,aaaaaaaaaaa,0,10,train\nhop,aaaaaaaaaaa,10,20,train\n")
    with pytest.raises(UserError, match="in the class 'run' and in the class 'hop'"):
        kinetics.find(tmp_path)
    make_video(tmp_path / "aaaaaaaaaaa.mp4", 300)
    assert len(kinetics.find(tmp_path).files["train"].names) == 2
    train.write_text(HEAD + "run,aaaaaaaaaaa,0,10,train\nrun,bbbbbbbbbbb,20,30,train\n")
    with pytest.raises(UserError, match="is in train and in test"):
        kinetics.find(tmp_path)
    train.write_text(HEAD + "run,aaaaaaaaaaa,0,6,train\nhop,aaaaaaaaaaa,0,6,train\n")
    with pytest.raises(UserError, match=r"aaaaaaaaaaa_000000_000006 twice"):
        kinetics.find(tmp_path)


def test_rows_of_no_known_part_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a_000000_000010.mp4", "b_000000_000010.mp4")
    rows = "run,a,0,10,train\nrun,b,0,10,val\nrun,c,0,10,holdout\n"
    (tmp_path / "all.csv").write_text(HEAD + rows)
    (note,) = kinetics.find(tmp_path).notes
    assert note.startswith("1 listed videos are in no part known and not used (c_000000_000010)")
