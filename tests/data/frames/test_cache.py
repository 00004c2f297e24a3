import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from stdcf.data.frames import cache
from stdcf.data.frames.cache import cache_videos, default_cache_dir, read_frames
from stdcf.data.video.decode import decode_video
from stdcf.errors import UserError

SIZE = (12, 16)


def entry(files: list[Path], folder: Path) -> Path:
    return cache_videos(files, SIZE, cache_dir=folder)[0].frames_file


def forbid_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache, "decode_versioned", refuse)


def test_frames_come_back_as_decoded_and_are_decoded_once(tmp_path, make_video, monkeypatch):
    files = [tmp_path / "a.avi", tmp_path / "b.avi"]
    for seed, file in enumerate(files):
        make_video(file, 20 + seed, seed=seed)
    seen = []
    first = cache_videos(
        files, SIZE, cache_dir=tmp_path / "c", progress=lambda *step: seen.append(step)
    )
    assert seen == [(1, 2, "a.avi"), (2, 2, "b.avi")]
    assert [video.num_frames for video in first] == [20, 21]
    for file, video in zip(files, first, strict=True):
        frames = read_frames(video.frames_file)
        assert isinstance(frames, np.memmap)
        assert np.array_equal(frames, decode_video(file, SIZE))
    forbid_decoding(monkeypatch)
    assert cache_videos(files, SIZE, cache_dir=tmp_path / "c") == first


def test_the_content_is_the_key_not_the_name(tmp_path, make_video, monkeypatch):
    make_video(tmp_path / "a.avi")
    found = entry([tmp_path / "a.avi"], tmp_path / "c")
    (tmp_path / "a.avi").rename(tmp_path / "other.avi")
    with monkeypatch.context() as patch:
        forbid_decoding(patch)
        assert entry([tmp_path / "other.avi"], tmp_path / "c") == found
    make_video(tmp_path / "other.avi", seed=1)
    assert entry([tmp_path / "other.avi"], tmp_path / "c") != found


def test_sizes_and_channels_do_not_mix(tmp_path, make_video):
    make_video(tmp_path / "a.avi")
    videos = [
        cache_videos([tmp_path / "a.avi"], size, channels, cache_dir=tmp_path / "c")[0]
        for size in (SIZE, (16, 12))
        for channels in (1, 3)
    ]
    assert len({video.frames_file for video in videos}) == 4


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: flip(file, 5000),
        lambda file: flip(file, 20),
        lambda file: flip(file, -1),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"rubbish" * 50),
    ],
    ids=["pixel", "header", "checksum", "truncated", "empty", "rubbish"],
)
def test_a_damaged_entry_is_built_again(tmp_path, make_video, damage):
    make_video(tmp_path / "a.avi")
    file = entry([tmp_path / "a.avi"], tmp_path / "c")
    sound = file.read_bytes()
    damage(file)
    assert entry([tmp_path / "a.avi"], tmp_path / "c") == file
    assert file.read_bytes() == sound


def build(file: Path, folder: Path, start: float) -> None:
    while time.time() < start:  # both at once
        pass
    cache_videos([file] * 4, SIZE, cache_dir=folder)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_processes_build_the_same_entry(tmp_path, make_video):
    make_video(tmp_path / "a.avi", 60)
    context = multiprocessing.get_context("fork")
    start = time.time() + 0.2
    workers = [
        context.Process(target=build, args=(tmp_path / "a.avi", tmp_path / "c", start))
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    file = entry([tmp_path / "a.avi"], tmp_path / "c")
    assert np.array_equal(read_frames(file), decode_video(tmp_path / "a.avi", SIZE))
    assert [path.name for path in file.parent.iterdir()] == [file.name]  # nothing temporary is left


def test_an_unwritable_cache_is_one_clear_error(tmp_path, make_video):
    make_video(tmp_path / "a.avi")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="STDCF_CACHE"):
        entry([tmp_path / "a.avi"], tmp_path / "file" / "c")


def test_a_broken_video_leaves_the_others_cached(tmp_path, make_video, monkeypatch):
    make_video(tmp_path / "a.avi")
    (tmp_path / "b.avi").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"b\.avi"):
        entry([tmp_path / "a.avi", tmp_path / "b.avi"], tmp_path / "c")
    forbid_decoding(monkeypatch)
    entry([tmp_path / "a.avi"], tmp_path / "c")


def test_hashes_are_remembered_until_the_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "a"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    first = cache.Fingerprints(tmp_path / "f.json")
    digest = first.sha256(file)
    first.save()
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert cache.Fingerprints(tmp_path / "f.json").sha256(file) == digest
    file.write_bytes(b"two")
    assert cache.Fingerprints(tmp_path / "f.json").sha256(file) != digest


@pytest.mark.parametrize("content", ["", "[1]", '{"/a": 3}', "{"])
def test_damaged_memory_of_hashes_is_ignored(tmp_path, content):
    (tmp_path / "f.json").write_text(content)
    (tmp_path / "a").write_bytes(b"one")
    expected = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"  # sha256sum
    assert cache.Fingerprints(tmp_path / "f.json").sha256(tmp_path / "a") == expected


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path / "frames"
    monkeypatch.delenv("STDCF_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "stdcf" / "frames"
