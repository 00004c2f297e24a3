"""Grad-CAM against its formula, and of a video by networks out of runs' folders."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stdcf.errors import UserError
from stdcf.models import create_model
from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.engine.train import train
from suites.experiments.kinetics_gradcam import suite as kinetics_gradcam
from suites.experiments.kinetics_gradcam.networks import Network, clip_of, network_of
from suites.experiments.kinetics_gradcam.task import measure, names_of
from suites.experiments.shared.gradcam import gradcam
from suites.experiments.shared.stage_maps_task import LAST_MAP
from suites.reporting.pictures import unpacked

SMALL = {"size": [16, 16], "clip_frames": 8, "train_step": 1}


def request(**options: Any) -> Request:
    return Request(profile="quick", dataset=NO_DATA, options=options)


def test_gradcam_is_its_formula() -> None:
    torch.manual_seed(0)
    model = create_model("kth_cnn", num_classes=5, in_channels=1).eval()
    x = torch.randn(3, 1, 8, 16, 16)
    found, scores = gradcam(model, LAST_MAP, x)
    kept: list[Tensor] = []
    model.get_submodule(LAST_MAP).register_forward_hook(lambda *args: kept.append(args[2]))
    logits = model(x)
    (maps,) = kept
    best = logits.argmax(1)
    (gradient,) = torch.autograd.grad(logits[range(3), best].sum(), maps)
    expected = (gradient.mean((2, 3, 4), keepdim=True) * maps).sum(1).relu()
    assert expected.max() > 0
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(scores, logits.softmax(1))
    assert not found.requires_grad
    with pytest.raises(UserError, match=r"no module 'blocks\.9'"):
        gradcam(model, "blocks.9", x)
    with pytest.raises(UserError, match="no feature maps"):
        gradcam(model, "head", x)


def test_a_missing_captum_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    model = create_model("kth_cnn", num_classes=5, in_channels=1).eval()
    with pytest.raises(UserError, match="pip install captum"):
        gradcam(model, LAST_MAP, torch.zeros(1, 1, 8, 16, 16))


@pytest.fixture(scope="module")
def run(video_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of ITSL on a few small clips."""
    from suites.engine.catalog import load_dataset

    (spec,) = (
        spec
        for spec in kinetics_gradcam.specs(Request("quick", "weizmann", epochs=2), "0" * 64)
        if spec.layer == "stdcf"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STDCF_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = load_dataset("video_folder", str(video_root), **SMALL)
        stages = tuple(s.model_copy(update={"epochs": 1, "milestones": ()}) for s in spec.stages)
        changes = {"dataset": "video_folder", "dataset_options": SMALL, "manifest": data.manifest}
        folder = RunFolder.create(
            tmp_path_factory.mktemp("results"),
            spec.model_copy(update={**changes, "stages": stages}),
        )
        train(Run(folder, data_root=str(video_root), num_workers=0))
    return folder.path


@pytest.fixture
def video(video_root: Path) -> Path:
    return next(video_root.rglob("*.avi"))


def test_a_video_by_two_stages(run: Path, video: Path, tmp_path: Path) -> None:
    files = [run / "stage-t3.pt", run / "stage-s3.pt"]
    wanted = kinetics_gradcam.specs(request(video=video, checkpoint=files), NO_DATA)
    (spec,) = kinetics_gradcam.bind(wanted, tmp_path)
    assert str(run) not in spec.model_dump_json()
    folder = RunFolder.create(tmp_path, spec)

    def look(data_root: str | None) -> dict[str, Any]:
        return measure(Run(folder, data_root=data_root))

    row = look(str(video))
    (picture,) = row["pictures"]
    assert list(picture["maps"]) == ["stage-t, iteration 3", "stage-s, iteration 3"]
    clip, _ = clip_of(video, network_of(files[0]))
    assert list(clip.shape) == row["clip_shape"] == [1, 8, 16, 16]
    frames = unpacked(picture["input"], picture["size"])
    assert (frames == clip[0, picture["frames"]].numpy()).all()
    classes = (run / "classes.txt").read_text().split()
    for seen in picture["maps"].values():
        assert sorted(name for name, _ in seen["top"]) == sorted(classes)
        assert sum(probability for _, probability in seen["top"]) == pytest.approx(1)
        assert [p for _, p in seen["top"]] == sorted((p for _, p in seen["top"]), reverse=True)
    with pytest.raises(UserError, match="give --video again"):
        look(None)

    # Each row is drawn and printed from itself alone.
    shown = row | {"mode": "video", "layer": "stdcf", "model": "kth_cnn", "dtype": "float32"}
    shown |= {"device": "cpu x", "finished": "2026-01-01T00:00:00Z", "commit": "0" * 40}
    shown |= {"shipped": False, "dirty": False, "seed": 0}
    (table,) = kinetics_gradcam.tables([shown])
    assert [line[0] for line in table.rows] == list(picture["maps"])
    assert [p.name for p in kinetics_gradcam.SUITE.figures([shown], tmp_path)] == [
        "figure7.png",
        "figure7.svg",
    ]


def test_a_short_video_goes_on_with_its_last_frame(run: Path, video: Path) -> None:
    network = network_of(run / "stage-t3.pt")
    longer = {**network.dataset_options, "clip_frames": 1000}
    clip, _ = clip_of(video, network.model_copy(update={"dataset_options": longer}))
    assert clip.shape[1] == 1000
    assert (clip[:, -1] == clip[:, -2]).all()
    assert not (clip[:, 0] == clip[:, 1]).all()


def test_kinetics_networks_see_the_middle_square(video: Path, run: Path) -> None:
    options = {"frames": 4, "interval": 2, "test_crop": 24, "test_short_side": 32}
    network = network_of(run / "stage-t3.pt").model_copy(
        update={"dataset": "kinetics400", "dataset_options": options}
    )
    clip, pixels = clip_of(video, network)
    assert clip.shape == (3, 4, 24, 24)
    assert len(pixels.mean) == 3


def test_names_tell_networks_apart(run: Path) -> None:
    network = network_of(run / "stage-t3.pt")
    other = network.model_copy(update={"layer": "rank1"})
    full = network.model_copy(update={"stage": "full"})
    assert names_of([network, network, full]) == [
        "stage-t, iteration 3",
        "stage-t, iteration 3 (2)",
        "full size",
    ]
    assert names_of([network, other])[1] == "Rank-1 3D, stage-t, iteration 3"


def damaged(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder / "damaged")
    file = folder / "damaged" / "stage-t3.pt"
    file.write_bytes(file.read_bytes()[:-100])
    return file


def of_another_model(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder / "other")
    spec_file = folder / "other" / "spec.json"
    spec = RunSpec.model_validate_json(spec_file.read_text())
    spec_file.write_text(
        spec.model_copy(update={"layer": "rank1", "layer_options": {}}).model_dump_json()
    )
    return folder / "other" / "stage-t3.pt"


def loose(run: Path, folder: Path) -> Path:
    return Path(shutil.copy(run / "stage-t3.pt", folder))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda run, folder: folder / "none.pt", "no checkpoint"),
        (loose, "not in the folder of a run"),
        (lambda run, folder: run / "checkpoint.pt", "not in the folder of a run"),
        (damaged, "damaged|no weights"),
        (of_another_model, "is not of its run's kth_cnn"),
    ],
)
def test_wrong_checkpoints_are_one_line(
    run: Path, video: Path, tmp_path: Path, make: Callable[[Path, Path], Path], words: str
) -> None:
    file = make(run, tmp_path)
    with pytest.raises(UserError, match=words) as refused:
        kinetics_gradcam.specs(request(video=video, checkpoint=[file]), NO_DATA)
    assert "\n" not in str(refused.value)


def test_wrong_calls_are_one_line(run: Path, video: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    good = run / "stage-t3.pt"
    for options, words in (
        ({"video": tmp_path / "none.avi", "checkpoint": [good]}, "no video"),
        ({"video": text, "checkpoint": [good]}, "Cannot decode"),
        ({"video": video}, "--video needs --checkpoint"),
        ({"checkpoint": [good]}, "give --video"),
        ({"target": "layer4"}, "give --video"),
        ({}, "which video"),
        ({"video": video, "checkpoint": [good], "target": "layer9"}, "no module 'layer9'"),
    ):
        with pytest.raises(UserError, match=words) as refused:
            kinetics_gradcam.specs(request(**options), NO_DATA)
        assert "\n" not in str(refused.value)
    network = network_of(good)
    assert isinstance(network, Network)
    assert network.dilation == (2, 2)
