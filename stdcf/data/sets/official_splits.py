"""UCF101, HMDB51 and JHMDB, in their official splits: no film is in both parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stdcf.data.clips.splits import VideoData, check_options
from stdcf.data.frames.cache import Progress
from stdcf.data.sets.roots import data_root
from stdcf.data.sets.split_lists import ListedClips, Read, class_lists, find_listed, part_lists
from stdcf.data.sets.tree import notes
from stdcf.data.sets.whole_videos import decoded_clips
from stdcf.errors import UserError

# Soomro et al., 2012; Kuehne et al., 2011; Jhuang et al., 2013: the forms of each one's lists.
FORMS: Mapping[str, Sequence[Read]] = {
    "ucf101": [part_lists({"train": "trainlist0{}.txt", "test": "testlist0{}.txt"})],
    "hmdb51": [class_lists],
    "jhmdb": [
        class_lists,
        part_lists({"train": "split{}_train.txt", "test": "split{}_test.txt"}),
    ],
}
# Folders of lists, as the archives of each call them.
_FOLDERS = {"ucfTrainTestlist": "ucf101", "testTrainMulti_7030_splits": "hmdb51"}


def load(
    name: str,
    root: str | Path | None = None,
    *,
    split: int = 1,
    size: tuple[int, int] = (60, 80),
    clip_frames: int = 16,
    channels: int = 1,
    train_step: int = 4,
    test_step: int = 16,
    fps: float | None = None,
    workers: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> VideoData:
    """Whole frames of `find`'s clips scaled to `size` (height, width), every few frames.

    Training takes a clip every train_step frames; testing one every test_step and the last of each
    video. Raises UserError where a part has no video.
    """
    check_options(size, clip_frames, train_step, test_step)
    found = find(name, root, split)
    left_out = notes(found.left_out)
    for part, rows in found.parts.items():
        if not rows:
            raise UserError(
                f"No {part} video of {name} in {found.root}: none of those listed is there "
                f"({found.missing[0]}, …). {' '.join(left_out)}".rstrip()
            )
    return decoded_clips(
        name,
        found.root,
        found.classes,
        found.parts,
        size=size,
        clip_frames=clip_frames,
        channels=channels,
        train_step=train_step,
        test_step=test_step,
        fps=fps,
        options={"split": split},
        notes=[*found.notes(name), *left_out],
        listed=found.listed,
        workers=workers,
        cache_dir=cache_dir,
        progress=progress,
    )


def find(name: str, root: str | Path | None = None, split: int = 1) -> ListedClips:
    """The clips of an official split (1, 2 or 3), anywhere below a folder, with any ending.

    UCF101: trainlist01.txt and testlist01.txt (class/clip). HMDB51 and JHMDB:
    <class>_test_split1.txt; JHMDB also as split1_train.txt and split1_test.txt (class/clip). The
    lists lie in the folder or in one below it.

    Raises:
        UserError: where the lists are not there or are wrong; for a clip under two labels or in
            both parts.
    """
    folder = data_root(name, root, f"{name}'s clips and its official lists")
    return find_listed(name, folder, split, FORMS[name])


def set_beside(folder: Path) -> str | None:
    """The set whose lists lie in a folder or beside it, by the name of their own folder."""
    for place in (folder, folder.absolute().parent):
        for name, of_set in _FOLDERS.items():
            if (place / name).is_dir():
                return of_set
    return None
