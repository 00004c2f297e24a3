"""Archives of runs that are damaged or hostile: nothing of them comes in."""

import gzip
import io
import json
import os
import pickle
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites import paths, results
from suites.engine.store import archive
from suites.engine.store.index import read_rows
from tests.suites.reporting.many_runs import make_runs

COUNT = 12


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine's runs, and nothing shipped."""
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "shipped")
    make_runs(tmp_path / "theirs", COUNT)
    return tmp_path / "theirs"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def write_tar(file: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(file, "w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return file


def manifest(*names: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    hashes = {name: sha256(content).hexdigest() for name in names}
    text = json.dumps({"format": 1, "files": hashes, **fields}).encode()
    return member("manifest.json", text)


RUN = "kth_table2/weizmann/stdcf-full-s0-000000000000"
ROW = f"{RUN}/result.json"
HOSTILE: dict[str, tuple[list[tuple[tarfile.TarInfo, bytes]], str]] = {
    "nothing": ([], "it is empty"),
    "no manifest": ([member(ROW)], "does not begin with manifest.json"),
    "a manifest that is none": ([member("manifest.json", b"[]")], "manifest.json is damaged"),
    "deep": ([member("manifest.json", b"[" * 100_000)], "manifest.json is damaged"),
    "format": ([manifest(format=2)], "format 2, and this code reads 1"),
    "hash": ([manifest(ROW), member(ROW, b"{}")], "does not have the hash"),
    "missing": ([manifest(ROW)], "1 files of the manifest are missing"),
    "more": (
        [manifest(ROW), member(ROW), member(f"{RUN}/log.txt")],
        "that the archive's manifest lists",
    ),
    "twice": (
        [manifest(ROW), member(ROW), member(ROW)],
        "is not a file that the archive's manifest lists",
    ),
    "up": ([manifest(f"../../{RUN}/log.txt")], "is not a file of a run"),
    "root": ([manifest("/kth_table2/a/b/log.txt")], "is not a file of a run"),
    "dots": ([manifest("a/../b/log.txt")], "is not a file of a run"),
    "pickle": ([manifest(f"{RUN}/checkpoint.pt")], "is not a file of a run"),
    "link": (
        [manifest(ROW), member(ROW, type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        "is not a file that",
    ),
    "hard link": (
        [manifest(ROW), member(ROW, type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        "is not a file that",
    ),
    "device": ([manifest(ROW), member(ROW, type=tarfile.CHRTYPE)], "is not a file that"),
    "large": (
        [manifest(f"{RUN}/spec.json"), member(f"{RUN}/spec.json", b" " * (2**20 + 1))],
        "is larger than 1048576 bytes",
    ),
}


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_archives_leave_nothing(call: Any, theirs: Path, tmp_path: Path, kind: str) -> None:
    members, words = HOSTILE[kind]
    before = contents(tmp_path)
    file = write_tar(tmp_path / "hostile.tar", members)
    ours = tmp_path / "ours"
    code, out, err = call(results, "import", file, "--results", ours)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    file.unlink()
    assert contents(tmp_path) == before
    assert not ours.exists()


@pytest.mark.parametrize("cut", [10, 600, -200])
def test_a_damaged_file_leaves_nothing(call: Any, theirs: Path, tmp_path: Path, cut: int) -> None:
    file, ours = tmp_path / "runs.tar.gz", tmp_path / "ours"
    call(results, "export", file, "--results", theirs)
    file.write_bytes(file.read_bytes()[:cut])
    code, _, err = call(results, "import", file, "--results", ours)
    assert code == 2
    assert "export it again" in err
    assert not ours.exists()
    assert call(results, "import", tmp_path / "none.tar", "--results", ours)[2] == (
        f"error: no file {tmp_path / 'none.tar'}\n"
    )


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Ten thousand times smaller than what it holds; nothing of it is kept in memory."""
    file = tmp_path / "bomb.tar.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        info = tarfile.TarInfo("manifest.json")
        info.size = 2**30
        packed.write(info.tobuf())
        packed.write(bytes(2**16))
    with pytest.raises(UserError, match="is larger than"):
        list(archive.read_archive(file))


def test_a_pickle_is_never_loaded(theirs: Path, tmp_path: Path, call: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    for name in ("checkpoint.pt", "state.json", "frames.npy"):
        (theirs / next(iter(read_rows(theirs))) / name).write_bytes(pickle.dumps(Trap()))
    file = tmp_path / "runs.tar"
    call(results, "export", file, "--results", theirs)
    assert call(results, "import", file, "--results", tmp_path / "ours")[0] == 0
    assert not list((tmp_path / "ours").rglob("checkpoint.pt"))
    assert not (tmp_path / "sprung").exists()
