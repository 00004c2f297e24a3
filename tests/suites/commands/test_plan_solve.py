"""suites.plan --solve: the largest frames or size under a cap, exact and with few predictions."""

import json
import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stdcf.memory import predict_evaluation, predict_peak
from suites import plan
from suites.planning.planner import Planner
from suites.planning.report import Asked, notes
from suites.planning.solve import Largest, Solver
from suites.planning.ways import Way

MIB = 2**20
ASKED = ("--model", "kth_cnn", "--channels", "1", "--classes", "2", "--batch", "4")
ON_CPU = ("--device", "cpu", "--clip", "8x16x20", "--cap", "4MiB")


class CountingPlanner:
    def __init__(self, needs: Callable[[int, int, int], float]) -> None:
        self.needs, self.looks = needs, 0

    def needs_bytes(self, way: Way, clip: tuple[int, int, int]) -> int:
        self.looks += 1
        return int(self.needs(*clip))


def solved(
    needs: Callable[[int, int, int], float], unknown: str, cap_bytes: int
) -> tuple[Largest, int]:
    planner = CountingPlanner(needs)
    way = cast(Way, SimpleNamespace(fixed_bytes=90 * MIB, needs_bytes=0))
    found = Solver(cast(Planner, planner), unknown, (16, 224, 224), cap_bytes).largest(way)
    return found, planner.looks


@pytest.mark.parametrize("cap", [400 * MIB, 4000 * MIB])
@pytest.mark.parametrize("unknown", ["frames", "size"])
@pytest.mark.parametrize(
    "needs",
    [
        lambda t, h, w: 100 * MIB + t * h * w * 200,
        lambda t, h, w: 50 * MIB + t * h * w * 100 + 2 * (t * h * w / 256) ** 2,
        lambda t, h, w: 100 * MIB + (t * h * w * 200 // (8 * MIB)) * 8 * MIB,
        lambda t, h, w: 300 * MIB if t * h * w < 10**6 else t * h * w * 300,
    ],
    ids=["affine", "quadratic", "in steps", "with a floor"],
)
def test_it_finds_the_largest_by_few_looks(
    needs: Callable[[int, int, int], float], unknown: str, cap: int
) -> None:
    found, looks = solved(needs, unknown, cap)
    assert found.clip is not None
    assert found.along is not None
    frames, height, width = found.clip
    more = (frames + 1, height, width) if unknown == "frames" else (frames, height + 16, width + 16)
    assert needs(*found.clip) <= cap < needs(*more)
    assert looks <= 16
    grown = found.along[0] / 16 if unknown == "frames" else found.along[1] / 224
    twice = [2 * n for n in found.along]
    doubled = (twice[0], 224, 224) if unknown == "frames" else (16, *twice[1:])
    assert math.log2(grown).is_integer()
    assert needs(*found.along) <= cap < needs(*doubled)


def test_nothing_fits_and_nothing_is_claimed() -> None:
    found, _ = solved(lambda t, h, w: 500 * MIB + t, "frames", 400 * MIB)
    assert (found.clip, found.along, found.needs_bytes) == (None, None, 0)


LAYER_NORM = """
from torch import nn

def build(num_classes=5):
    flat = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten())
    head = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, num_classes))
    return nn.Sequential(nn.Conv3d(3, 8, 3), nn.GELU(), flat, head)
"""


def test_what_it_says_fits_is_predicted_to(
    call: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(LAYER_NORM)
    options = ("--clip", "8x16x20", "--batch", "4", "--device", "cpu", "--cap", "4MiB")
    code, out, err = call(plan, "--model", "net.py:build", *options, "--solve", "frames", "--json")
    assert (code, err) == (0, "")
    ways = json.loads(out)["ways"]
    plain = next(way for way in ways if way["schedule"] == "full" and not way["savers"])
    names: dict[str, Any] = {}
    exec(LAYER_NORM, names)

    def peak_bytes(frames: int) -> int:
        build = partial(names["build"], num_classes=400)
        return predict_peak(build, (4, 3, frames, 16, 20), device="cpu").peak_bytes

    frames = plain["clip"][0]
    assert plain["needs_bytes"] == peak_bytes(frames) <= 4 * MIB < peak_bytes(frames + 1)
    volumes = [(way["clip"] or [0])[0] for way in ways]
    assert volumes == sorted(volumes, reverse=True)


def test_batchnorm_is_named_only_where_there_is_one(
    call: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(LAYER_NORM)
    (tmp_path / "normed.py").write_text(LAYER_NORM.replace("nn.GELU()", "nn.BatchNorm3d(8)"))
    options = ("--clip", "4x16x16", "--batch", "8", "--device", "cpu", "--cap", "270KiB", "--all")
    for name, named in (("net", False), ("normed", True)):
        _, out, err = call(plan, "--model", f"{name}.py:build", *options)
        assert err == ""
        assert ("BatchNorm" in out) is named, out


def test_ranks_share_the_batch(call: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(LAYER_NORM)
    options = ("--model", "net.py:build", "--clip", "4x16x16", "--batch", "8", "--device", "cpu")
    code, out, err = call(plan, *options, "--cap", "8MiB", "--ranks", "2", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    plain = found["ways"][found["take"]]
    names: dict[str, Any] = {}
    exec(LAYER_NORM, names)
    build = partial(names["build"], num_classes=400)
    shape = (4, 3, 4, 16, 16)
    assert plain["peak_bytes"] == predict_peak(build, shape, device="cpu", ranks=2).peak_bytes
    test = predict_evaluation(build, shape, device="cpu")
    assert found["testing_needs_bytes"] == test.peak_bytes < plain["peak_bytes"]
    assert "--executor slurm --ranks 2" in found["command"]


def test_a_test_that_needs_more_than_training_is_named() -> None:
    way = cast(
        Way,
        SimpleNamespace(
            fits=lambda cap: True, savers=(), schedule=SimpleNamespace(name="full"), needs_bytes=MIB
        ),
    )
    asked = Asked(
        *("2MiB", 2 * MIB, "net", "regular", (8, 3, 4, 16, 16), "adam", "cpu", "kth", None, "", 0),
        {},
        {},
    )
    assert not any("testing" in line for line in notes(asked, [way], 1, {}, MIB))
    small, large = (notes(asked, [way], 1, {}, n * MIB)[1] for n in (2, 3))
    assert small == "  testing needs more than training: 2 MiB for 8 clips of 4×16×16"
    assert "over the cap" in large


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--solve", "depth"], ["--solve must be one of batch, frames, size", "'depth'"]),
        (["--solve", "size", "--explain", "full"], ["without --explain"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_it_refuses(call: Any, arguments: list[str], words: list[str]) -> None:
    code, out, err = call(plan, *ASKED, *ON_CPU, *arguments)
    assert (code, out) == (2, "")
    assert all(word in err for word in words), err
