"""suites.plan --explain: where one way's memory is, as the prediction has it, and its files."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from stdcf.memory import predict_peak
from stdcf.models import create_model
from suites import plan

ASKED = ("--cap", "1GiB", "--model", "kth_cnn", "--channels", "1", "--classes", "2", "--batch", "8")
CLIP = ("--clip", "8x16x16")


def test_a_way_is_explained_as_it_is_predicted(call: Any, tmp_path: Path) -> None:
    files = ("--timeline", tmp_path / "step.html", "--snapshot", tmp_path / "step.pickle")
    code, out, err = call(plan, *ASKED, *CLIP, "--explain", "full bf16+checkpoint", *files)
    assert (code, err) == (0, "")
    expected = predict_peak(
        lambda: create_model("kth_cnn", num_classes=2, in_channels=1),
        (8, 1, 8, 16, 16),
        savers=["bf16", "checkpoint"],
    )
    assert f"peak: {expected.peak_mib:,.1f} MiB of tensors, {expected.moment}" in out
    assert "full size with bf16 and checkpoint: by kind at the peak" in out
    for kind, n_bytes in expected.breakdown.items():
        if n_bytes:
            words = next(line for line in out.splitlines() if kind.replace("_", " ") in line)
            assert f"{n_bytes / 2**20:,.1f}" in words
    assert "fits into 1GiB: yes" in out
    assert f"timeline: {tmp_path / 'step.html'}" in out
    assert "full size with bf16 and checkpoint" in (tmp_path / "step.html").read_text()
    assert pickle.loads((tmp_path / "step.pickle").read_bytes())["segments"]


def test_as_json_its_parts_sum_to_the_peak(call: Any) -> None:
    code, out, err = call(plan, *ASKED, *CLIP, "--explain", "itsl", "--device", "cpu", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["way"] == "ITSL β=2 γ=2"
    assert sum(found["modules"].values()) == sum(found["breakdown"].values()) == found["peak_bytes"]
    assert found["largest"][0]["bytes"] == max(row["bytes"] for row in found["largest"])


def test_without_explain_the_way_to_take_is_drawn(call: Any, tmp_path: Path) -> None:
    path = tmp_path / "step.html"
    code, out, err = call(plan, *ASKED, *CLIP, "--device", "cpu", "--timeline", path)
    assert (code, err) == (0, "")
    assert "take: full size, " in out
    assert f"timeline: {path}" in out
    assert path.is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--explain", "half"], ["'half'", "bf16"]),
        (["--explain", "itsl 9,9"], ["full, itsl 2,2", "'itsl 9,9'"]),
        (["--explain", "full bf16 checkpoint"], ["joined by +"]),
        (["--explain", "budget=0.5"], ["budget", "cannot be predicted"]),
        (["--explain", "full", "--timeline", "."], ["cannot write", "another file"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_it_refuses(call: Any, arguments: list[str], words: list[str]) -> None:
    code, out, err = call(plan, *ASKED, *CLIP, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_versions_that_do_without_cudnn_are_warned_of(call: Any) -> None:
    versions = ("--torch-version", "2.9.1", "--cudnn-version")
    code, out, err = call(plan, *ASKED, *CLIP, "--explain", "bf16", *versions, "9.10")
    assert (code, err) == (0, "")
    assert "torch 2.9.1 and cuDNN 9.10 run half-precision 3D convolutions without cuDNN" in out
    for way, version in (("full", "9.10"), ("bf16", "9.15")):
        _, out, _ = call(plan, *ASKED, *CLIP, "--explain", way, *versions, version)
        assert "without cuDNN" not in out
