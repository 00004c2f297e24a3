"""The embedded data set: KTH's layout, the same bytes for a seed, limbs that move as they do."""

import hashlib
import re
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stdcf.data.sets import kth, synthetic_actions
from stdcf.data.sets.kth_sequences import parse_sequences
from stdcf.data.synthetic.figures import FPS
from stdcf.data.synthetic.motion import ACTIONS, GAITS, TEMPO_HZ, Body, pose
from stdcf.errors import UserError

SMALL = {"persons": (11, 19), "scenarios": (1, 2), "frames_per_video": 20}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "small"
    synthetic_actions.generate(root, **SMALL)
    return root


def _hashes(root: Path) -> dict[str, str]:
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


def test_layout_is_kth(small: Path) -> None:
    files = {file.relative_to(small).as_posix() for file in small.rglob("*.avi")}
    assert len(files) == 2 * 6 * 2
    assert "walking/person11_walking_d2_uncomp.avi" in files
    text = (small / "00sequences.txt").read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n")
    videos = parse_sequences(text.decode("ascii"))
    assert {video.file for video in videos} == files
    assert {video.ranges for video in videos} == {((1, 16), (17, 20))}


def test_line_format_equals_the_official_one(small: Path, real_data: Callable[[str], Path]) -> None:
    official = real_data("kth/00sequences.txt").read_text(encoding="latin-1")
    ours = (small / "00sequences.txt").read_text(encoding="latin-1")
    line = re.compile(r"person\d\d_[a-z]+_d\d\t+frames\t\d+-\d+(?:, \d+-\d+)*\s*")
    for text in (official, ours):
        listed = [row for row in text.splitlines() if row.startswith("person")]
        assert sum(bool(line.fullmatch(row)) for row in listed) > 0.9 * len(listed) > 0


def test_videos_decode_to_what_was_drawn(small: Path) -> None:
    av = pytest.importorskip("av")
    look = synthetic_actions.FULL.look
    recipe = synthetic_actions.Recipe((11,), (1,), 20, look)
    drawn_THW = synthetic_actions.video_frames(recipe, 11, "boxing", 1)
    with av.open(str(small / "boxing/person11_boxing_d1_uncomp.avi")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (160, 120, 25)
        seen_THW = np.stack([f.to_ndarray(format="gray") for f in container.decode(stream)])
    assert seen_THW.shape == drawn_THW.shape == (20, 120, 160)
    assert np.abs(seen_THW.astype(int) - drawn_THW.astype(int)).mean() < 4  # gray levels


def test_same_seed_same_bytes_whatever_else_is_made(small: Path, tmp_path: Path) -> None:
    synthetic_actions.generate(tmp_path / "again", **SMALL, workers=1)
    assert _hashes(tmp_path / "again") == _hashes(small)
    fewer = SMALL | {"persons": (19,), "scenarios": (2,)}
    synthetic_actions.generate(tmp_path / "fewer", **fewer)
    everything = _hashes(small)
    for name, value in _hashes(tmp_path / "fewer").items():
        if name.endswith(".avi"):
            assert everything[name] == value
    synthetic_actions.generate(tmp_path / "other", **fewer, seed=1)
    name = "running/person19_running_d2_uncomp.avi"
    assert _hashes(tmp_path / "other")[name] != everything[name]


def test_two_at_once_and_again(tmp_path: Path) -> None:
    root = tmp_path / "shared"
    options = SMALL | {"scenarios": (1,)}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            synthetic_actions.generate(root, **options, workers=1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]
    before = _hashes(root)
    calls: list[str] = []
    synthetic_actions.generate(root, **options, progress=lambda *a: calls.append(a[2]))
    assert not calls
    assert _hashes(root) == before


def test_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic_actions.generate(tmp_path / "root", **SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_load_reads_it_with_the_kth_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path))
    tiny = synthetic_actions.Recipe((11, 19), (1,), 32, synthetic_actions.QUICK.look)
    monkeypatch.setitem(synthetic_actions.VARIANTS, "quick", tiny)
    data = synthetic_actions.load(variant="quick", size=(30, 40))
    assert (data.name, data.synthetic) == ("synthetic_actions", True)
    assert data.train.clip_shape == (1, 16, 30, 40)
    assert len(data.train) == len(data.test) == 6 * 2
    assert "not film" in data.notes[-1]
    [root] = (tmp_path / "synthetic_actions").iterdir()
    plain = kth.load(root, size=(30, 40))
    assert plain.manifest == data.manifest
    assert synthetic_actions.load(variant="quick", size=(30, 40)).manifest == data.manifest
    halved = synthetic_actions.load(variant="quick", size=(30, 40), frames="every_second")
    single = synthetic_actions.load(variant="quick", size=(30, 40), frames="one")
    assert len({data.manifest, halved.manifest, single.manifest}) == 3
    for index in (0, len(data.test) - 1):
        clip_CTHW, label, _ = data.test[index]
        halved_CTHW, halved_label, _ = halved.test[index]
        single_CTHW, single_label, _ = single.test[index]
        assert label == halved_label == single_label
        np.testing.assert_array_equal(halved_CTHW, clip_CTHW[:, ::2])
        assert single_CTHW.shape == (1, 4, 30, 40)
        assert (single_CTHW == clip_CTHW[:, 8:9]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"persons": (0, 11)}, r"persons=\[0, 11\]: choose some of 1 to 25"),
        ({"persons": ()}, "persons="),
        ({"scenarios": (5,)}, r"scenarios=\[5\]: choose some of 1 to 4"),
        ({"frames_per_video": 0}, "frames_per_video=0"),
    ],
)
def test_wrong_numbers(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        synthetic_actions.generate(tmp_path / "root", **(SMALL | options))


def test_refuses_a_folder_of_something_else(tmp_path: Path, small: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        synthetic_actions.generate(tmp_path, **SMALL)
    with pytest.raises(UserError, match="holds something else"):
        synthetic_actions.generate(small, **SMALL, seed=3)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    with pytest.raises(UserError, match=r"variant='slow': choose full or quick"):
        synthetic_actions.load(small, variant="slow")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"frames='two': choose all, every_second, one"):
        synthetic_actions.load(small, frames="two")  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ACTIONS)
def test_limbs_keep_their_lengths(action: str) -> None:
    body = Body.draw(np.random.default_rng(1))
    joints = pose(action, body, 40, FPS, np.random.default_rng(2))
    for side in ("left", "right"):
        for chain, length in (
            (("shoulder", "elbow", "hand"), body.arm / 2),
            (("hip", "knee", "ankle"), body.leg / 2),
        ):
            for start, stop in pairwise(chain):
                bone_T3 = joints[f"{side}_{stop}"] - joints[f"{side}_{start}"]
                np.testing.assert_allclose(np.linalg.norm(bone_T3, axis=1), length, rtol=0.02)


@pytest.mark.parametrize("action", GAITS)
def test_gaits_keep_their_tempo(action: str) -> None:
    """The thigh's swing has its spectral peak within the action's range, at 0.125 Hz resolution."""
    body = Body.draw(np.random.default_rng(3))
    joints = pose(action, body, 200, FPS, np.random.default_rng(4))
    swing_T = (joints["left_knee"] - joints["left_hip"])[:, 0]
    spectrum = np.abs(np.fft.rfft(swing_T - swing_T.mean()))
    peak_hz = np.fft.rfftfreq(200, 1 / FPS)[spectrum.argmax()]
    low, high = TEMPO_HZ[action]
    assert 0.95 * low - 0.125 <= peak_hz <= 1.05 * high + 0.125


def test_gaits_fold_onto_each_other_at_half_the_frames() -> None:
    """Of every second frame, running's flicker (two steps a cycle) folds into walking's range."""
    folded = [FPS / 2 - 2 * hz for hz in TEMPO_HZ["running"]]
    walking = [2 * hz for hz in TEMPO_HZ["walking"]]
    assert max(TEMPO_HZ["running"]) * 2 < FPS / 2
    assert min(folded) < max(walking)
    assert max(folded) > min(walking)


def test_arms_go_where_the_action_says() -> None:
    body = Body.draw(np.random.default_rng(5))
    hands_T3 = {
        action: pose(action, body, 50, FPS, np.random.default_rng(6))["left_hand"]
        for action in ACTIONS[3:]
    }
    chest_y = pose("boxing", body, 1, FPS, np.random.default_rng(6))["chest"][0, 1]
    boxing, clapping, waving = (hands_T3[action] for action in ACTIONS[3:])
    assert np.ptp(boxing[:, 0]) > 3 * np.ptp(boxing[:, 2])  # forward and back
    assert np.ptp(clapping[:, 2]) > 1.5 * np.ptp(clapping[:, 0])  # to the side and back
    assert waving[:, 1].min() > chest_y > clapping[:, 1].max()
