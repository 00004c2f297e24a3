"""suites.plan for models of any arguments: --inputs and --loss, and transformers' classifiers."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.memory import predict_peak
from suites import plan

TWO = """
import torch
from torch import nn
from torch.nn import functional as F

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, slow, fast, *, labels):
        pooled = sum(F.relu(self.conv(clip)).mean((2, 3, 4)) for clip in (slow, fast))
        return {"scores": self.head(pooled), "labels": labels}

def build():
    return Two()

def inputs(batch, clip_shape):
    fast = torch.rand(clip_shape)
    return (fast[:, :, ::2].clone(), fast), {"labels": torch.zeros(batch, dtype=torch.int64)}

def plain_inputs(batch):
    return inputs(batch, (batch, 3, 8, 32, 32))

def loss(output, batch):
    return F.cross_entropy(output["scores"], batch[1]["labels"])
"""
ASKED = ("--cap", "1GiB", "--clip", "8x32x32", "--batch", "4", "--device", "cpu")


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The file's names; it lies in the present folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text(TWO)
    names: dict[str, Any] = {}
    exec(TWO, names)
    return names


def test_a_users_file_gives_inputs_and_loss(call: Any, two: dict[str, Any]) -> None:
    own = ("--model", "two.py:build", "--inputs", "two.py:inputs", "--loss", "two.py:loss")
    code, out, err = call(plan, *ASKED, *own, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    best = found["ways"][found["take"]]
    expected = predict_peak(
        two["build"], (4, 3, 8, 32, 32), inputs=two["inputs"], loss=two["loss"], device="cpu"
    )
    assert best["peak_bytes"] == expected.peak_bytes
    assert {way["schedule"]["name"] for way in found["ways"]} == {"full", "itsl 2,2"}
    assert found["command"] is None
    assert found["testing_needs_bytes"] < best["peak_bytes"]


def test_inputs_without_a_clip_shape_leave_itsl_out(call: Any, two: dict[str, Any]) -> None:
    own = ("--model", "two.py:build", "--inputs", "two.py:plain_inputs", "--loss", "two.py:loss")
    code, out, err = call(plan, *ASKED, *own)
    assert (code, err) == (0, "")
    assert "itsl 2,2 is left out: stage" in out
    assert "give inputs= a parameter clip_shape" in out
    assert "run: in a loop of your own" in out


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class StandInConfig:
    def __init__(
        self, image_size: int = 224, num_frames: int = 16, num_channels: int = 3, width: int = 8,
        num_labels: int = 2,
    ) -> None:  # fmt: skip
        self.image_size, self.num_frames, self.num_channels = image_size, num_frames, num_channels
        self.width, self.num_labels = width, num_labels


class StandIn(nn.Module):
    """Takes and gives what VideoMAEForVideoClassification does, at one size of clip."""

    config_class = StandInConfig

    def __init__(self, config: StandInConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv3d(config.num_channels, config.width, (2, 16, 16), (2, 16, 16))
        self.classifier = nn.Linear(config.width, config.num_labels)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Output:
        _, frames, _, height, _ = pixel_values.shape
        if (frames, height) != (self.config.num_frames, self.config.image_size):
            raise ValueError(f"Input image size ({height}) doesn't match model")
        logits = self.classifier(self.embed(pixel_values.transpose(1, 2)).mean((2, 3, 4)))
        return Output(None if labels is None else F.cross_entropy(logits, labels), logits)


@pytest.fixture
def _transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("transformers")
    module.VideoMAEForVideoClassification = StandIn  # type: ignore[attr-defined]
    module.ResNetModel = type("ResNetModel", (nn.Module,), {"config_class": object})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformers", module)


VIDEO_MAE = ("--model", "transformers:VideoMAEForVideoClassification", "--classes", "7")


@pytest.mark.usefixtures("_transformers")
def test_a_classifier_of_transformers_is_planned_for(call: Any) -> None:
    code, out, err = call(plan, *ASKED, *VIDEO_MAE, "--model-option", "width=32", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    best = found["ways"][found["take"]]

    def inputs(size: int) -> Any:
        pixels = torch.rand(size, 8, 3, 32, 32)
        return (), {"pixel_values": pixels, "labels": torch.zeros(size, dtype=torch.int64)}

    expected = predict_peak(
        lambda: StandIn(StandInConfig(32, 8, 3, 32, 7)),
        4,
        inputs=inputs,
        loss=lambda output, batch: output.loss,
        device="cpu",
    )
    assert best["peak_bytes"] == expected.peak_bytes
    assert best["schedule"]["name"] == "full"


@pytest.mark.usefixtures("_transformers")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "transformers:Nope"], ["transformers has no model 'Nope'"]),
        (["--model", "transformers:ResNetModel"], ["no num_frames", "--inputs FILE.py:inputs"]),
        ([*VIDEO_MAE, "--mixed"], ["--mixed plans for models of one clip"]),
        ([*VIDEO_MAE, "--layer", "stdcf"], ["takes no --layer"]),
        ([*VIDEO_MAE, "--clip", "8x32x48"], ["square clips", "32×48"]),
        ([*VIDEO_MAE, "--model-option", "depth=3"], ["--model-option depth", "no such entry"]),
        (["--model", "kth_cnn", "--inputs", "nowhere.py:f"], ["cannot import 'nowhere.py'"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_it_refuses(call: Any, arguments: list[str], words: list[str]) -> None:
    code, out, err = call(plan, *ASKED, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_without_transformers_it_says_so(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, out, err = call(plan, *ASKED, *VIDEO_MAE)
    assert (code, out) == (2, "")
    assert "pip install transformers" in err
