"""Small trees of data sets in their published layouts."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from stdcf.data.sets.kth_sequences import ACTIONS
from stdcf.data.video.encode import Codec, write_video


def video(file: Path, frames: int = 12, seed: int = 0) -> None:
    """Noise; another seed gives another one."""
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 24, 32, 3), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_video(file, noise, Codec("mpeg4", {}), fps=25)


def pictures(folder: Path, name: str, frames: int = 12) -> None:
    """Of which the brightness, divided by ten, is the number from 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(frames):
        shade = np.full((24, 32, 3), 10 * index, np.uint8)
        Image.fromarray(shade).save(folder / name.format(index + 1), quality=95)


def jester(root: Path) -> None:
    for number in range(1, 5):
        pictures(root / "20bn-jester-v1" / str(number), "{:05d}.jpg")
    (root / "jester-v1-labels.csv").write_text("Swiping Left\nSwiping Right\n")
    (root / "jester-v1-train.csv").write_text("1;Swiping Left\n2;Swiping Right\n")
    (root / "jester-v1-validation.csv").write_text("3;Swiping Left\n4;Swiping Right\n")


def something_v2_frames(root: Path) -> None:
    for number in range(1, 5):
        pictures(root / "frames" / str(number), "{:06d}.jpg")
    rows = [{"id": str(n), "template": f"Moving [something] {'up' * (n % 2)}"} for n in range(1, 5)]
    (root / "labels").mkdir(parents=True)
    (root / "labels/train.json").write_text(json.dumps(rows[:2]))
    (root / "labels/validation.json").write_text(json.dumps(rows[2:]))


def diving(root: Path) -> None:
    for number in range(4):
        video(root / "rgb" / f"dive_{number:05d}.mp4", seed=number)
    rows = [
        {"vid_name": f"dive_{n:05d}", "label": n % 2, "start_frame": 0, "end_frame": 11}
        for n in range(4)
    ]
    (root / "Diving48_V2_train.json").write_text(json.dumps(rows[:2]))
    (root / "Diving48_V2_test.json").write_text(json.dumps(rows[2:]))
    vocabulary = [["Back", "15som", "05Twis", "FREE"], ["Back", "15som", "15Twis", "FREE"]]
    (root / "Diving48_vocab.json").write_text(json.dumps(vocabulary))


EPIC_HEAD = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)


def epic_row(film: str, start: int, stop: int, verb: int, noun: int) -> str:
    """start, stop: the first and the last frame, from 1, at 25 a second."""
    times = [f"00:00:{frame / 25:05.2f}" for frame in (start - 1, stop)]
    return (
        f"{film}_{start},{film[:3]},{film},{times[0]},{times[0]},{times[1]},{start},{stop},"
        f"do it,v{verb},{verb},n{noun},{noun},\"['n{noun}']\",[{noun}]\n"
    )


def epic_lists(root: Path) -> None:
    root.mkdir(exist_ok=True)
    train = epic_row("P01_01", 1, 10, 0, 1) + epic_row("P01_01", 6, 15, 3, 1)
    validation = epic_row("P02_01", 11, 20, 0, 1) + epic_row("P02_01", 1, 10, 3, 2)
    (root / "EPIC_100_train.csv").write_text(EPIC_HEAD + train)
    (root / "EPIC_100_validation.csv").write_text(EPIC_HEAD + validation)
    verbs = "id,key,instances,category\n0,take,\"['take']\",retrieve\n3,wash,\"['wash']\",clean\n"
    (root / "EPIC_100_verb_classes.csv").write_text(verbs)
    (root / "EPIC_100_noun_classes.csv").write_text("id,key,instances\n1,tap,[]\n2,plate,[]\n")


def epic_films(root: Path) -> None:
    epic_lists(root)
    for number, film in enumerate(("P01_01", "P02_01")):
        video(root / film[:3] / "videos" / f"{film}.MP4".lower(), 25, number)
        (root / film[:3] / "videos" / f"{film}.mp4".lower()).rename(
            root / film[:3] / "videos" / f"{film}.MP4"
        )


def kinetics_csv(root: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split\n"
    for part, split in (("train", "train"), ("val", "validate")):
        rows = ""
        for number in range(2):
            name = f"{part[0]}{number}".ljust(11, "-")
            video(root / part / f"{name}_000001_000011.mp4", seed=number)
            rows += f"{('hop', 'run')[number]},{name},1,11,{split}\n"
        (root / f"{part}.csv").write_text(head + rows)


def something_v1(root: Path) -> None:
    for number in range(1, 5):
        pictures(root / "20bn-something-something-v1" / str(number), "{:05d}.jpg")
    (root / "something-something-v1-labels.csv").write_text("Moving up\nMoving down\n")
    for part, first in (("train", 1), ("validation", 3)):
        text = f"{first};Moving up\n{first + 1};Moving down\n"
        (root / f"something-something-v1-{part}.csv").write_text(text)


def something_v2(root: Path) -> None:
    something_v2_frames(root)
    for number in range(1, 5):
        folder = root / "frames" / str(number)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        video(root / "20bn-something-something-v2" / f"{number}.mp4", seed=number)
    (root / "frames").rmdir()


def ucf101(root: Path) -> None:
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    rows: dict[str, str] = {"train": "", "test": ""}
    for place, label in enumerate(("Archery", "Biking"), 1):
        for group in (1, 2, 8, 9):
            name = f"{label}/v_{label}_g{group:02d}_c01.avi"
            video(root / "UCF-101" / name, 16, 10 * place + group)
            rows["train" if group > 7 else "test"] += name + f" {place}\r\n" * (group > 7)
            rows["test"] += "\r\n" * (group < 8)
    for split in (1, 2, 3):
        (lists / f"trainlist0{split}.txt").write_text(rows["train"], newline="")
        (lists / f"testlist0{split}.txt").write_text(rows["test"], newline="")
    (lists / "classInd.txt").write_text("1 Archery\r\n2 Biking\r\n", newline="")


def class_lists(root: Path, folder: str) -> None:
    """HMDB51's and JHMDB's: a list a class, of clips and 1 (train), 2 (test) or 0."""
    (root / folder).mkdir(parents=True)
    for place, label in enumerate(("brush_hair", "wave")):
        rows = ""
        for number, code in enumerate((1, 1, 2, 0)):
            name = f"Film{number}_{label}_u_nm_np1_ba_med_{number}.avi"
            video(root / label / name, 16, 10 * place + number)
            rows += f"{name} {code} \n"
        (root / folder / f"{label}_test_split1.txt").write_text(rows)


def hmdb51(root: Path) -> None:
    class_lists(root, "testTrainMulti_7030_splits")


def jhmdb(root: Path) -> None:
    class_lists(root, "splits")


def weizmann(root: Path) -> None:
    for place, person in enumerate(("daria", "eli", "ira", "shahar")):
        for number, action in enumerate(("bend", "jack")):
            video(root / f"{person}_{action}.avi", 20, 10 * place + number)


def kth(root: Path) -> None:
    rows = ""
    for person in (11, 19):
        for place, action in enumerate(ACTIONS):
            name = f"person{person}_{action}_d1"
            video(root / action / f"{name}_uncomp.avi", 20, 10 * person + place)
            rows += f"{name}\t\tframes\t1-20\r\n"
    (root / "00sequences.txt").write_text(rows, newline="")


def video_folder(root: Path) -> None:
    for place, label in enumerate(("jump", "run")):
        for number in range(3):
            video(root / label / f"{number}.mp4", 20, 10 * place + number)


def video_list(root: Path) -> None:
    for number in range(6):
        video(root / "my videos" / f"{number}.mp4", 20, number)
    rows = [f"my videos/{number}.mp4 {number % 2}\n" for number in range(6)]
    (root / "train.txt").write_text("".join(rows[:4]))
    (root / "val.txt").write_text("".join(rows[4:]))
    (root / "classes.txt").write_text("jump\nrun\n")


def frame_list(root: Path) -> None:
    for number in range(4):
        pictures(root / "frames" / f"clip_{number}", "img_{:05d}.jpg", 20)
    rows = [f"frames/clip_{number} 20 {number % 2}\n" for number in range(4)]
    (root / "train.txt").write_text("".join(rows[:2]))
    (root / "val.txt").write_text("".join(rows[2:]))
    (root / "frame_lists").mkdir()
    for part, numbers in (("train", (0, 1)), ("val", (2, 3))):
        text = "original_vido_id video_id frame_id path labels\n"
        for number in numbers:
            for frame in range(20):
                path = f"clip_{number}/img_{frame + 1:05d}.jpg"
                text += f"clip_{number} {number} {frame} {path} {number % 2}\n"
        (root / "frame_lists" / f"{part}.csv").write_text(text)


# By the folders that docs/data.md calls them.
TREES: dict[str, Callable[[Path], None]] = {
    "kth": kth,
    "weizmann": weizmann,
    "jhmdb": jhmdb,
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "kinetics400": kinetics_csv,
    "kinetics600": kinetics_csv,
    "kinetics700": kinetics_csv,
    "something_v1": something_v1,
    "something_v2": something_v2,
    "jester": jester,
    "diving48": diving,
    "epic100": epic_films,
    "video_folder": video_folder,
    "videos": video_list,
    "frames": frame_list,
}
