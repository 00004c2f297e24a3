"""What a power cut leaves at every boundary of a write: the old file or the new one, whole.

The disk is simulated at its worst: what was not synced is gone, whether a rename that its folder
has not synced happened is open, and both are looked at before and after every call that matters.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stdcf.data.frames import cache
from stdcf.training.checkpoint import save_checkpoint
from stdcf.whole_file import whole_file, write_atomically
from suites.engine.store.folder import RunFolder

NOWHERE = b"(no file)"
LOST = b"(lost)"


class Disk:
    """What may be found under each name if the power goes now."""

    def __init__(self, patch: pytest.MonkeyPatch, watched: Path) -> None:
        self.watched = watched
        self.synced: dict[int, bytes] = {}
        # Which inodes the name may stand for; 0 is none.
        self.inodes = [0]
        self.seen: list[set[bytes]] = []
        if watched.exists():
            self.inodes = [watched.stat().st_ino]
            self.synced[self.inodes[0]] = watched.read_bytes()
        fsync, replace = os.fsync, Path.replace

        def synced(descriptor: int) -> None:
            self.look()
            fsync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_dir():
                self.inodes = self.inodes[-1:] if path == watched.parent else self.inodes
            else:
                self.synced[path.stat().st_ino] = path.read_bytes()
            self.look()

        def replaced(source: Path, target: Path) -> Path:
            self.look()
            inode = source.stat().st_ino
            found = replace(source, target)
            if target == watched:
                self.inodes.append(inode)
            self.look()
            return found

        patch.setattr(os, "fsync", synced)
        patch.setattr(Path, "replace", replaced)

    def look(self) -> None:
        self.seen.append(self.possible())

    def possible(self) -> set[bytes]:
        return {self.synced.get(i, LOST) if i else NOWHERE for i in self.inodes}


# Each writes the file that it names into a folder, another content for each number.
WRITERS: dict[str, tuple[str, Callable[[Path, int], Any]]] = {
    "row": ("result.json", lambda folder, n: RunFolder(folder).write_result({"seed": n})),
    "state": ("state.json", lambda folder, n: RunFolder(folder).write_state(fraction=n)),
    "curves": ("curves.csv", lambda folder, n: RunFolder(folder).write_curves([{"epoch": n}])),
    "text": ("any", lambda folder, n: write_atomically(folder / "any", f"{n}")),
    "checkpoint": ("c.pt", lambda folder, n: save_checkpoint(folder / "c.pt", {"n": n})),
    "cache": ("f.npy", lambda folder, n: cache._write(folder / "f.npy", np.full((9, 1), n, "u1"))),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_power_cut_leaves_the_old_file_or_the_new_one(writer: str, tmp_path: Path) -> None:
    name, write = WRITERS[writer]
    before = NOWHERE
    for number in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, tmp_path / name)
            write(tmp_path, number)
        after = (tmp_path / name).read_bytes()
        assert after not in (before, b"")
        # Before and after the file's sync, the rename and the folder's sync.
        assert len(disk.seen) >= 6
        assert set().union(*disk.seen) == {before, after}
        # What was said to be written is there.
        assert disk.possible() == {after}
        before = after


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a").write_text("old")

    def write() -> None:
        with whole_file(tmp_path / "a") as file:
            file.write(b"half of what was ")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]
