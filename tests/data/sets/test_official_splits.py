"""UCF101, HMDB51 and JHMDB by their official lists."""

from collections import Counter
from pathlib import Path

import pytest

from stdcf.data.sets import official_splits, video_folder
from stdcf.data.sets.films import film
from stdcf.data.tools.verify import verify
from stdcf.errors import UserError
from suites.engine.catalog import load_dataset

SMALL = {"size": (12, 16), "clip_frames": 8}
UCF = [
    (label, f"v_{label}_g{film:02d}_c{clip:02d}")
    for label in ("Archery", "Biking")
    for film in (1, 2, 8, 9)
    for clip in (1, 2)
]
HMDB = {"brush_hair": (1, 1, 2, 0), "wave": (1, 2, 2, 0)}


def hmdb_name(label: str, number: int) -> str:
    return f"#{number}_A_Film_{label}_u_nm_np1_ba_med_{number}.avi"


def ucf101(root: Path, make_video, end: str = "\r\n") -> Path:
    for seed, (label, stem) in enumerate(UCF):
        make_video(root / "UCF-101" / label / f"{stem}.avi", 16, seed=seed)
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    rows = {"train": "", "test": ""}
    for label, stem in UCF:
        is_test = "_g01" in stem or "_g02" in stem
        number = "" if is_test else f" {1 + (label == 'Biking')}"
        rows["test" if is_test else "train"] += f"{label}/{stem}.avi{number}{end}"
    for part, text in rows.items():
        (lists / f"{part}list01.txt").write_bytes(text.encode())
    return root


def class_lists(root: Path, make_video, folder: str) -> Path:
    (root / folder).mkdir(parents=True)
    for place, (label, codes) in enumerate(HMDB.items()):
        names = [hmdb_name(label, number) for number in range(len(codes))]
        for number, name in enumerate(names):
            make_video(root / "videos" / label / name, 16, seed=10 * place + number)
        text = "".join(f"{name} {code} \n" for name, code in zip(names, codes, strict=True))
        (root / folder / f"{label}_test_split1.txt").write_text(text)
    return root


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_ucf101_goes_by_its_lists(tmp_path: Path, make_video, end: str) -> None:
    root = ucf101(tmp_path / "v", make_video, end)
    data = official_splits.load("ucf101", root, **SMALL, cache_dir=tmp_path / "c")
    assert data.classes == ("Archery", "Biking")
    films = [{name[-11:-8] for name in part.video_names} for part in (data.train, data.test)]
    assert films == [{"g08", "g09"}, {"g01", "g02"}]
    assert data.notes == ()
    assert data.frame_rates == (25.0,)
    assert verify("ucf101", root).sound == 16


@pytest.mark.parametrize(
    ("name", "folder"),
    [("hmdb51", "testTrainMulti_7030_splits"), ("jhmdb", "splits"), ("hmdb51", "")],
)
def test_lists_of_classes(tmp_path: Path, make_video, name: str, folder: str) -> None:
    root = class_lists(tmp_path / "v", make_video, folder)
    data = load_dataset(name, str(root), size=(12, 16), clip_frames=8)
    for part, code in ((data.train, 1), (data.test, 2)):
        assert set(part.video_names) == {
            f"videos/{label}/{hmdb_name(label, number)}"
            for label, codes in HMDB.items()
            for number, given in enumerate(codes)
            if given == code
        }
    counted = verify(name, root)
    assert (counted.sound, counted.faults) == (6, [])


def test_jhmdb_as_two_lists_and_with_other_endings(tmp_path: Path, make_video) -> None:
    for seed, name in enumerate(("jump/a.1", "jump/b", "sit/a.1", "sit/b")):
        make_video(tmp_path / "v" / f"{name}.mp4", 16, seed=seed)
    (tmp_path / "v" / "split1_train.txt").write_text("jump/a.1\nsit/a.1\n")
    (tmp_path / "v" / "split1_test.txt").write_text("jump/b\nsit/b\nsit/absent\n")
    data = official_splits.load("jhmdb", tmp_path / "v", **SMALL, cache_dir=tmp_path / "c")
    assert data.train.video_names == ("jump/a.1.mp4", "sit/a.1.mp4")
    assert data.test.video_names == ("jump/b.mp4", "sit/b.mp4")
    assert data.notes[0].startswith("1 listed clips of jhmdb are not there (sit/absent)")
    assert [fault.file for fault in verify("jhmdb", tmp_path / "v").faults] == ["sit/absent"]


WRONG = [
    ("hmdb51", {"a_test_split1.txt": "x.avi 3\n"}, "line 1: expected a clip and 0, 1 or 2"),
    ("hmdb51", {"a_test_split1.txt": "x.avi 1\nx.avi 2\n"}, "list a/x twice: 'a' in train"),
    ("jhmdb", {"split1_train.txt": "a/x\n", "split1_test.txt": "x\n"}, "expected class/clip"),
    ("ucf101", {"trainlist01.txt": "a/x.avi 1\n"}, "holds no lists of ucf101's split 1"),
    (
        "jhmdb",
        {"split1_train.txt": "a/x\n", "split1_test.txt": "a/y\n"},
        r"No train video of jhmdb in .*\(a/x, …\)",
    ),
]


@pytest.mark.parametrize(("name", "files", "message"), WRONG)
def test_wrong_lists_are_one_line(tmp_path: Path, name: str, files: dict, message: str) -> None:
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=message):
        official_splits.load(name, tmp_path)


def test_only_three_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="split=4: choose 1, 2 or 3"):
        official_splits.find("ucf101", tmp_path, 4)


def test_a_video_folder_of_them_says_so_and_keeps_films_together(
    tmp_path: Path, make_video
) -> None:
    root = ucf101(tmp_path / "v", make_video)
    data = video_folder.load(root / "UCF-101", **SMALL, cache_dir=tmp_path / "c")
    assert data.notes[0].startswith("Split at random: ucf101's official lists are here, which")
    films = [{name[-15:-8] for name in part.video_names} for part in (data.train, data.test)]
    assert not films[0] & films[1]
    with pytest.raises(UserError, match="--dataset ucf101 goes by"):
        video_folder.load(root)


def test_the_real_jhmdb(real_data, tmp_path: Path) -> None:
    """Its README: 928 clips, 660 to train and 268 to test; no film of one is in the other."""
    found = official_splits.find("jhmdb", real_data("jhmdb"))
    assert (len(found.classes), found.missing, found.unlisted) == (21, (), 0)
    assert [len(rows) for rows in found.parts.values()] == [660, 268]
    assert min(Counter(label for label, _ in found.parts["test"]).values()) >= 8
    names = {part: [name for _, name in rows] for part, rows in found.parts.items()}
    films = {part: {film(n) for n in rows} for part, rows in names.items()}
    assert not films["train"] & films["test"]


@pytest.mark.parametrize("name", ["weizmann", "kth"])
def test_sets_of_persons_count_what_they_lack(real_data, name: str) -> None:
    data = load_dataset(name, str(real_data(name)), size=(12, 16))
    listed = {part: of_part["listed"] for part, of_part in data.counts().items()}
    # KTH's 00sequences.txt marks one video of a person in training as missing.
    expected = {"weizmann": {"train": 60, "test": 30}, "kth": {"train": 191, "test": 192}}
    assert listed == expected[name]
    found = sum(of_part["found"] for of_part in data.counts().values())
    assert found == 90 if name == "weizmann" else found < 17
