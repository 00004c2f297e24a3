"""What every predictor says of one step, and what is said where torch-kitsune is missing."""

import json
import sys
from typing import Any

import pytest

from suites.planning import predictors

SMALL = ("--model", "kth_cnn", "--channels", "1", "--classes", "6", "--clip", "8x16x16")


def counts(call: Any, *arguments: object) -> dict[str, dict[str, Any]]:
    code, out, err = call(predictors, *SMALL, "--batch", 4, "--json", *arguments)
    assert (code, err) == (0, "")
    return {row["count"]: row for row in json.loads(out)}


def test_predictions_stand_beside_a_real_step(call: Any) -> None:
    found = {name: row["peak_bytes"] for name, row in counts(call, "--measure").items()}
    tensors = found["measured on CPU, real tensors"]
    assert found["predicted, tensors on CPU"] == pytest.approx(tensors, rel=0.01)
    events = found["measured on CPU, allocator's events"]
    assert tensors < events
    assert found["predicted, with operators' own buffers"] == pytest.approx(events, rel=0.03)
    blocks = found["predicted, CUDA allocator's blocks"]
    assert found["predicted, tensors on CUDA"] < blocks <= found["predicted, reserved on CUDA"]


def test_without_torch_kitsune_it_says_how_to_get_it(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kitsune", None)
    monkeypatch.setitem(sys.modules, "kitsune.predict", None)
    row = counts(call)["predicted by torch-kitsune"]
    assert row["peak_bytes"] is None
    assert "pip install --no-deps torch-kitsune==0.7.0" in row["by"]
    code, out, err = call(predictors, *SMALL, "--batch", 4)
    assert (code, err) == (0, "")
    assert "predicted by torch-kitsune" in out


def test_torch_kitsune_guesses_too_much_for_r3d_18(call: Any) -> None:
    """Its formula gave 3.02 GiB where tensors take 1.76."""
    pytest.importorskip("kitsune")
    code, out, _ = call(predictors, "--json")
    assert code == 0
    found = {row["count"]: row["peak_bytes"] / 2**30 for row in json.loads(out)}
    assert found["predicted by torch-kitsune"] == pytest.approx(3.02, abs=0.01)
    assert found["predicted, tensors on CPU"] == pytest.approx(1.76, abs=0.01)


def test_a_clip_that_is_none_is_one_line(call: Any) -> None:
    code, out, err = call(predictors, "--clip", "16x112")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
