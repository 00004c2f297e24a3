"""suites.plan: what it says fits does, what it proposes runs, and what it cannot read it names."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from stdcf.memory import predict_peak
from stdcf.models import create_model
from suites import plan, run
from suites.engine.store.folder import run_folders

MIB = 2**20
# Small, so that the line that is proposed can be run here.
ASKED = ("--cap", "3MiB", "--model", "kth_cnn", "--channels", "1", "--classes", "2", "--batch", "8")
CLIP = ("--clip", "8x16x16", "--device", "cpu", "--dataset", "video_folder")


def planned(call: Any, *arguments: object) -> dict[str, Any]:
    code, out, err = call(plan, *arguments, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_what_it_proposes_runs_within_the_cap(
    call: Any, video_root: Path, tmp_path: Path, small_suite_here: Any
) -> None:
    found = planned(call, *ASKED, *CLIP, "--data-root", video_root)
    assert found["cap_bytes"] == 3 * MIB
    best = found["ways"][found["take"]]
    assert best["fits"]
    assert best["confirmed"]
    words = shlex.split(found["command"])
    assert words[:4] == ["python", "-m", "suites.run", "single"]
    code, out, err = call(
        run, *words[3:], "--epochs", 1, "--results", tmp_path / "results", "--workers", 1
    )
    assert (code, err) == (0, ""), out
    (folder,) = run_folders(tmp_path / "results")
    row = folder.result()
    assert row is not None
    assert row["status"] == "ok"
    # The trainer keeps no more than the clip's own bytes beside a planned step.
    assert row["measured_peak_bytes"] == pytest.approx(best["peak_bytes"], rel=0.01)
    assert row["measured_peak_bytes"] <= found["cap_bytes"]


def test_the_largest_batch_is_the_largest_that_is_predicted_to_fit(call: Any) -> None:
    found = planned(call, *ASKED, *CLIP)
    plain = next(
        way for way in found["ways"] if way["schedule"]["name"] == "full" and not way["savers"]
    )

    def peak_bytes(batch: int) -> int:
        return predict_peak(
            lambda: create_model("kth_cnn", num_classes=2, in_channels=1),
            (batch, 1, 8, 16, 16),
            device="cpu",
        ).peak_bytes

    most = plain["largest_batch"]
    assert plain["peak_bytes"] == peak_bytes(8)
    assert peak_bytes(most) <= found["cap_bytes"] * 1.01
    assert peak_bytes(most + 1) > found["cap_bytes"] * 0.99


def test_where_nothing_fits_it_says_what_would(call: Any) -> None:
    asked = [word if word != "3MiB" else "500KiB" for word in ASKED]
    code, out, err = call(plan, *asked, *CLIP)
    assert (code, err) == (1, "")
    assert "nothing fits at 8 clips a step" in out
    assert "take: " not in out


OWN = """
from torch import nn

def build(num_classes=5):
    body = [nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8), nn.ReLU(), nn.AdaptiveAvgPool3d(1)]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(8, num_classes))
"""


def test_a_model_of_the_users_own_file(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(OWN)
    options = ("--cap", "1GiB", "--clip", "8x32x32", "--batch", "2", "--layer", "stdcf")
    code, out, err = call(plan, "--model", "net.py:build", *options)
    assert (code, err) == (0, "")
    assert "take: full size, " in out
    assert "checkpoint is left out: checkpoint finds no blocks in Sequential" in out
    assert "--option model=net.py:build" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cap", "3parsecs"], ["'3parsecs' is not a size", "4GiB"]),
        (["--cap", "0GiB"], ["'0GiB' is not a size"]),
        (["--cap", "6"], ["'6' is not a size", "4GiB"]),
        (["--model", "nope"], ["unknown model 'nope'", "resnet3d_50", "torchvision:r3d_18"]),
        (["--model", "torchvision:r3d_81"], ["'r3d_81'", "r3d_18"]),
        (["--model", "nowhere.net:build"], ["cannot import 'nowhere.net'"]),
        (["--model", "nowhere.py:build"], ["cannot import 'nowhere.py'"]),
        (["--clip", "8x64"], ["--clip", "8x224x224", "'8x64'"]),
        (["--clip", "8x0x64"], ["--clip", "'8x0x64'"]),
        (["--clip", "8x2x2"], ["the model does not take clips 8×1×8×2×2"]),
        (["--batch", "0"], ["--batch must be at least 1"]),
        (["--layer", "stdfc"], ["unknown layer 'stdfc'", "stdcf"]),
        (["--layer-option", "atoms=3"], ["layer regular has no option 'atoms'"]),
        (["--model-option", "drop=0.3"], ["drop", "dropout"]),
        (["--optimizer", "lion"], ["adam, adamw, sgd", "'lion'"]),
        (["--device", "tpu"], ["cpu or cuda", "'tpu'"]),
        (["--itsl", "2"], ["--itsl takes β,γ", "'2'"]),
        (["--dataset", "imagenet"], ["video_folder", "'imagenet'"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_it_refuses(call: Any, arguments: list[str], words: list[str]) -> None:
    code, out, err = call(plan, *ASKED, *CLIP, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


FAULTY = """
from torch import nn

class Net(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.conv, self.way = nn.Conv3d(1, 2, 3), forward

    def forward(self, clip):
        return self.way(self.conv(clip).mean((2, 3, 4)))

def pair():
    return Net(lambda x: (x, x))

def reads():
    return Net(lambda x: x if x.sum() > 0 else -x)

def frozen():
    return nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())

def breaks():
    return {}["weights"]
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("pair", ["the model gives a tuple", "[B, classes]"]),
        ("reads", ["reads a tensor's values", "measure_peak"]),
        ("frozen", ["no parameters to train"]),
        ("breaks", ["KeyError: 'weights' (faulty.py, line 22)"]),
    ],
)
def test_what_is_wrong_with_a_users_model_is_one_line(
    call: Any, tmp_path: Path, function: str, words: list[str]
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    code, out, err = call(plan, *ASKED, *CLIP, "--model", f"{tmp_path / 'faulty.py'}:{function}")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_a_users_file_that_breaks_on_import_is_one_line(call: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("\nraise RuntimeError('no weights\\nhere')\n")
    code, out, err = call(plan, *ASKED, *CLIP, "--model", f"{tmp_path / 'broken.py'}:build")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "RuntimeError: no weights (broken.py, line 2)" in err
