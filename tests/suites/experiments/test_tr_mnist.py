"""tr_mnist: its clips against geometry, its training resumed, its tables and figures from rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stdcf.data.sets import tr_mnist as clips_module
from stdcf.data.sets.digit_images import load_digits
from stdcf.data.sets.tr_mnist import MovingDigits, load
from stdcf.errors import UserError
from stdcf.memory.tracking.tracker import CapExceeded
from stdcf.stages.apply import to_channels_last
from stdcf.training.checkpoint import load_checkpoint
from stdcf.training.trainer import Stopped
from suites.engine.catalog import build, build_model
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.tr_mnist import task as tr_mnist_task
from suites.experiments.tr_mnist.figure2 import frames
from suites.experiments.tr_mnist.suite import SUITE, specs, widened
from suites.experiments.tr_mnist.task import psnr_db

SMALL = {"size": [16, 16], "clip_frames": 4, "train_clips": 6, "test_clips": 3}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like MNIST's of a few made-up digits: bright boxes of different shapes."""
    images = np.zeros((12, 28, 28), np.uint8)
    for n, image in enumerate(images):
        image[4 : 12 + n, 8:20] = 255 - n
    labels = np.arange(12, dtype=np.uint8) % 10
    file = tmp_path_factory.mktemp("digits") / "mnist.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images[::-1], y_test=labels[::-1])
    return file


def test_clips_are_those_of_the_seed(digits: Path) -> None:
    data = load(digits, **SMALL)
    again, other = load(digits, **SMALL), load(digits, **SMALL, seed=1)
    first, label, video = data.train[2]
    assert first.shape == (1, 4, 16, 16)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again.train[2][0])
    assert not torch.equal(first, other.train[2][0])
    assert (data.manifest == again.manifest, data.manifest == other.manifest) == (True, False)
    # A clip is what it is whatever else is asked for.
    many, labels, videos = data.train.__getitems__([5, 2])
    assert torch.equal(many[1], first)
    assert (int(labels[1]), int(videos[1])) == (label, video)
    assert (len(data.train), len(data.test), data.train.clip_shape) == (6, 3, (1, 4, 16, 16))
    # More clips leave those before them as they are.
    more = load(digits, **{**SMALL, "train_clips": 9})
    assert torch.equal(more.train[2][0], first)


def test_digits_lie_where_their_path_says_between_pixels() -> None:
    """The centre of brightness of a round, centred digit is its path, to 0.05 pixels."""
    y, x = np.mgrid[:28, :28] - 13.5
    blob = (255 * np.exp(-(x**2 + y**2) / 30)).astype(np.uint8)[None]
    motion = clips_module.Motion(digits=1)
    common: dict[str, Any] = {"clip_frames": 8, "motion": motion, "seed": 3, "stream": 0}
    clips = MovingDigits(blob, np.array([0]), 4, size=(64, 96), **common)
    at_y, at_x = np.mgrid[:64, :96].astype(float)
    for index in range(4):
        film = clips[index][0][0].numpy().astype(float)
        places, _ = clips.path(index)
        for frame, (px, py) in zip(film, places[0], strict=True):
            mass = frame.sum()
            assert (frame * (at_x - 47.5)).sum() / mass == pytest.approx(px, abs=0.05)
            assert (frame * (at_y - 31.5)).sum() / mass == pytest.approx(py, abs=0.05)
        steps = np.linalg.norm(np.diff(places[0], axis=0), axis=1)
        assert steps.max() <= 64 * 4 / 64 + 1e-9


def test_digits_turn_as_their_angle_says() -> None:
    """The long axis of a bar, from its second moments, is the path's angle."""
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[0, 13:15, 4:24] = 255
    common: dict[str, Any] = {"clip_frames": 6, "seed": 5, "stream": 0}
    motion = clips_module.Motion(digits=1, speed=(0.0, 0.0))
    clips = MovingDigits(bar, np.array([0]), 3, size=(64, 64), motion=motion, **common)
    at_y, at_x = np.mgrid[:64, :64].astype(float)
    for index in range(3):
        _, angles = clips.path(index)
        for frame, angle in zip(clips[index][0][0].numpy().astype(float), angles[0], strict=True):
            weight = frame / frame.sum()
            dx, dy = at_x - (weight * at_x).sum(), at_y - (weight * at_y).sum()
            xx, yy, xy = ((weight * a * b).sum() for a, b in ((dx, dx), (dy, dy), (dx, dy)))
            # Of a line 180° apart is the same.
            turned = 0.5 * np.arctan2(2 * xy, xx - yy) - angle
            assert abs(np.sin(turned)) < 0.03


def test_boxes_stay_in_the_frame() -> None:
    images = np.full((1, 28, 28), 255, np.uint8)
    motion = clips_module.Motion(digits=2, speed=(0.2, 0.3), spin=(0.0, 0.0))
    clips = MovingDigits(
        images, np.array([0]), 5, size=(32, 48), clip_frames=40, motion=motion, seed=0, stream=0
    )
    for index in range(5):
        places, _ = clips.path(index)
        assert np.abs(places[..., 0]).max() <= (48 - 14) / 2 + 1e-9
        assert np.abs(places[..., 1]).max() <= (32 - 14) / 2 + 1e-9


def test_which_digits(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_digits(digits).name == "MNIST"
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(UserError, match=r"bad\.npz cannot be read as digits"):
        load_digits(tmp_path / "bad.npz")
    with pytest.raises(UserError, match="digits='mnst': choose auto, mnist, sklearn"):
        load_digits(None, "mnst")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"No MNIST in .*, and it is not there .*--data-root FILE"):
        load_digits(tmp_path / "none")
    with pytest.raises(UserError, match="channels must be 1, not 3"):
        load(digits, channels=3)
    with pytest.raises(UserError, match="must be at least 1"):
        load(digits, test_clips=0)


def test_without_mnist_scikit_learns_digits_are_labelled_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys
    import types

    import torchvision.datasets

    def unreachable(*args: Any, **options: Any) -> None:
        raise RuntimeError("Error downloading train-images")

    monkeypatch.setattr(torchvision.datasets, "MNIST", unreachable)
    monkeypatch.setenv("STDCF_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"could not be fetched .*not installed"):
        load_digits(None)
    found = types.SimpleNamespace(
        images=np.tile(np.arange(64.0).reshape(1, 8, 8) / 4, (1797, 1, 1)),
        target=np.arange(1797) % 10,
    )
    package = types.ModuleType("sklearn.datasets")
    package.load_digits = lambda: found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sklearn", types.ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", package)
    data = load(None, **SMALL)
    assert data.notes == (
        "Made from scikit-learn's digits, NOT MNIST: not comparable with the paper's.",
    )
    images = load_digits(None)
    assert (len(images.train), len(images.test), images.train.max()) == (1437, 360, 251)


def run_of(digits: Path, folder: Path, **changes: Any) -> RunFolder:
    request = Request("quick", "tr_mnist", epochs=3, data_options=SMALL)
    spec = specs(request, load(digits, **SMALL).manifest)[0]
    return RunFolder.create(folder, spec.model_copy(update=changes))


def measured(folder: RunFolder, digits: Path, should_stop: Any = lambda: False) -> dict[str, Any]:
    threads = torch.get_num_threads()
    try:
        return tr_mnist_task.reconstruct(
            Run(folder, data_root=str(digits), should_stop=should_stop)
        )
    finally:
        torch.set_num_threads(threads)


def test_a_stopped_run_ends_as_an_undisturbed_one(digits: Path, tmp_path: Path) -> None:
    whole = measured(run_of(digits, tmp_path / "a"), digits)
    folder = run_of(digits, tmp_path / "b")
    asked = iter([False, True])
    with pytest.raises(Stopped):
        measured(folder, digits, lambda: next(asked))
    assert (folder.path / "checkpoint.pt").exists()
    # A step an epoch: the second was stopped within, and its row is not there yet.
    assert len((folder.path / "curves.csv").read_text().splitlines()) == 2
    resumed = measured(folder, digits)
    assert resumed["psnr_db_of_clips"] == whole["psnr_db_of_clips"]
    assert resumed["strip"] == whole["strip"]
    assert len((folder.path / "curves.csv").read_text().splitlines()) == 4


def test_training_is_the_plain_loop_to_the_last_bit(digits: Path, tmp_path: Path) -> None:
    """Shipped rows were trained by such a loop, with an order of [seed, epoch]."""
    folder = run_of(digits, tmp_path, batch_size=4)
    measured(folder, digits)
    spec, data = folder.spec(), load(digits, **SMALL)
    torch.manual_seed(spec.seed)
    model = to_channels_last(build_model(spec, 10, 1))
    optimizer = torch.optim.Adam(model.parameters())
    clips = data.train.__getitems__(range(6))[0]
    for epoch in range(3):
        # A cosine from 3e-3 towards 0.
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 + np.cos(np.pi * epoch / 3)) / 2
        order = np.random.default_rng([spec.seed, epoch]).permutation(6)
        for chosen in torch.from_numpy(order).split(4):
            x = (clips[chosen].float() / 255).to(memory_format=torch.channels_last_3d)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), x).backward()
            optimizer.step()
    found = load_checkpoint(folder.path / "stage-full.pt")
    for name, expected in model.state_dict().items():
        assert torch.equal(found[name], expected), name


def test_a_cap_ends_the_run(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(CapExceeded):
        measured(run_of(digits, tmp_path, cap_bytes=10_000), digits)


def test_the_ratio_is_that_of_its_definition() -> None:
    clip = torch.zeros(2, 1, 2, 4, 4)
    output = clip.clone()
    output[0] += 0.1
    output[1, 0, 0, 0, 0] = 1.0
    # 1/0.01 and 32 pixels with one error of 1.
    assert psnr_db(output, clip).tolist() == pytest.approx([20.0, 10 * np.log10(32)])


def test_equal_parameters_are_as_near_as_whole_channels_allow() -> None:
    wide = {"widths": [16, 16]}
    runs = specs(Request("paper", "tr_mnist", model_options=wide), "0" * 64)
    assert len(runs) == 21
    assert [run.seed for run in runs[:7]] == [0] * 7

    def params(run: Any) -> int:
        model = build(
            "autoencoder3d",
            num_classes=10,
            in_channels=1,
            layer=run.layer,
            layer_options=run.layer_options,
            **run.model_options,
        )
        return sum(parameter.numel() for parameter in model.parameters())

    by_name = {(run.layer, run.mode): params(run) for run in runs[:7]}
    regular = by_name["regular", "equal_width"]
    for layer in ("stdcf", "rank1"):
        assert by_name[layer, "equal_params"] == pytest.approx(regular, rel=0.06)
    assert by_name["rank1", "equal_width"] < regular
    # 16² pairs of the middle layer, 16 each of the outer ones, have MN coefficients; so many atoms.
    for mode, m, n in (("equal_width", 9, 3), ("equal_width_m6n2", 6, 2)):
        dense = regular - 27 * (256 + 32)
        assert by_name["stdcf", mode] - dense == m * n * (256 + 32) + 3 * (9 * m + 3 * n)
    assert widened("rank1", {}, {"widths": [2, 2]})[0] >= 2


def row(layer: str, mode: str, seed: int, psnr: float, made: dict[str, Any]) -> dict[str, Any]:
    common = {"shipped": False, "commit": "c" * 40, "dirty": False, "device": "cpu X"}
    common |= {"finished": "2026-11-26T10:00:00Z", "dataset": "tr_mnist", "profile": "quick"}
    own = {"layer": layer, "mode": mode, "seed": seed, "psnr_db": psnr, "dtype": "float32"}
    return {**common, **made, **own}


def test_tables_and_figures_come_from_rows_alone(digits: Path, tmp_path: Path) -> None:
    made = json.loads(json.dumps(measured(run_of(digits, tmp_path / "run"), digits)))
    assert frames(made, "input").shape == (2, 4, 16, 16)
    clip = load(digits, **SMALL).test[0][0][0].numpy()
    assert np.array_equal(frames(made, "input")[0], clip)
    rows = [
        row(layer, mode, seed, psnr + seed, made)
        for layer, mode, psnr in (
            ("stdcf", "equal_width", 24.0),
            ("rank1", "equal_width", 21.0),
            ("regular", "equal_width", 25.0),
            ("stdcf", "equal_width_m3n2", 20.0),
            ("stdcf", "equal_params", 26.0),
        )
        for seed in range(2)
    ]
    [table] = SUITE.tables(rows)
    lines = {(line[0], line[1]): dict(zip(table.columns, line, strict=True)) for line in table.rows}
    stdcf = lines["STDCF M=9, N=3", "equal width"]
    assert (stdcf["Paper"], stdcf["Paper's"]) == ("24.60", "+3.1")
    # 24 and 25: mean 24.5, half width 12.706 · 0.5; the difference is 3 for both seeds.
    assert stdcf["PSNR, dB"] == "24.50 ± 6.35"
    assert stdcf["vs rank-1"] == "+3.00 ± 0.00"
    assert lines["STDCF M=3, N=2", "equal width"]["vs rank-1"] == "-1.00 ± 0.00"
    assert lines["Rank-1 3D", "equal parameters"]["PSNR, dB"] == "not run"
    assert lines["STDCF M=3, N=2", "equal parameters"]["vs rank-1"] == "–"
    drawn = SUITE.figures(rows, tmp_path)
    names = [path.name for path in drawn]
    assert names == ["figure2.png", "figure2.svg", "psnr.png", "psnr.svg"]
    assert SUITE.figures([], tmp_path) == []
