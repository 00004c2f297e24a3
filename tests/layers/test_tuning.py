"""`stdcf.tune`: every layer of a model at once, once; and before a stage's first step."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stdcf import STDCFConv3d, tune
from stdcf.layers import auto, plan_book
from stdcf.training import tuned
from stdcf.training.distributed import ALONE
from stdcf.training.step import Numerics

SHAPE = (2, 4, 3, 8, 8)


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "plans.json"
    monkeypatch.setenv("STDCF_PLANS", str(path))
    return path


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        STDCFConv3d(4, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        STDCFConv3d(8, 8, 3, padding=1, plan="composed"),
        nn.MaxPool3d((1, 2, 2)),
        STDCFConv3d(8, 8, 3, padding=1),
        STDCFConv3d(8, 8, 3, padding=1),
    )


def entries(book: Path) -> list[dict[str, object]]:
    return [json.loads(key) for key in json.loads(book.read_text())["measured"]]


def test_each_shape_of_a_model_is_measured_once(book: Path) -> None:
    model = network()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    found = tune(model, SHAPE, memory_format=torch.channels_last_3d)
    assert list(found) == ["0", "4", "5"]
    # The last two are given the same shape.
    assert [entry["input_shape"] for entry in entries(book)] == [
        [2, 4, 3, 8, 8],
        [2, 8, 3, 4, 4],
    ]
    assert all(entry["channels_last"] for entry in entries(book))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model.training
    for name, plan in found.items():
        layer = model.get_submodule(name)
        shape = SHAPE if name == "0" else (2, 8, 3, 4, 4)
        text = layer.explain(shape, None, torch.channels_last_3d)
        assert text.startswith(f"{plan} (measured)")
    # What is known is not measured again.
    before = plan_book.changed_ns(book)
    assert tune(model, SHAPE, memory_format=torch.channels_last_3d) == found
    assert plan_book.changed_ns(book) == before


def test_under_autocast_it_is_of_autocast(book: Path) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        tune(network(), SHAPE)
    assert {entry["dtype"] for entry in entries(book)} == {"bfloat16"}


@pytest.mark.parametrize(
    ("change", "steps", "called"),
    [
        ({}, 0, 1),
        ({}, 1, 0),
        ({"is_cuda": False}, 0, 0),
        ({"STDCF_TUNE": "0"}, 0, 0),
        ({"problem": "no Triton"}, 0, 0),
        ({"plan": "composed"}, 0, 0),
    ],
)
def test_a_stages_first_step_on_a_gpu_tunes(
    change: dict[str, str], steps: int, called: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(tuned, "tune", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(tuned, "problem", lambda: change.get("problem"))
    monkeypatch.setattr(tuned, "layout_of", lambda x: torch.contiguous_format)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setenv("STDCF_TUNE", change.get("STDCF_TUNE", "1"))
    model = STDCFConv3d(4, 8, 3, plan=change.get("plan", "auto"))
    x = SimpleNamespace(is_cuda=change.get("is_cuda", True), shape=SHAPE, dtype=torch.float32)
    tuned.tune_at_start(model, x, Numerics(torch.device("cpu")), ALONE, steps)
    assert len(calls) == called


def test_too_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(tuned, "tune", short)
    monkeypatch.setattr(tuned, "problem", lambda: None)
    monkeypatch.setattr(tuned, "layout_of", lambda x: torch.contiguous_format)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    x = SimpleNamespace(is_cuda=True, shape=SHAPE, dtype=torch.float32)
    with pytest.warns(UserWarning, match="too little memory"):
        tuned.tune_at_start(STDCFConv3d(4, 8, 3), x, Numerics(torch.device("cpu")), ALONE, 0)


def test_a_compiled_graph_takes_what_was_faster_in_every_size(book: Path) -> None:
    from stdcf.layers.plans import modelled_device

    layer = STDCFConv3d(16, 16, 3, padding=1)

    def compiled() -> str:
        shapes = tuple(tuple(p.shape) for p in layer._parameters_in_order)
        one = (1, 1, 1)
        return auto._compiled_plan("cuda", torch.float32, shapes, one, one, one, 1, None)

    def add(frames: int, **seconds: float) -> None:
        x = torch.empty(2, 16, frames, 8, 8, device="meta")
        with modelled_device("cuda"):
            plan_book.add(auto.situation(*layer._call(x)).key, seconds)

    pytest.importorskip("triton")
    assert compiled() == "composed"
    add(4, composed=2.0, factored=1.0)
    assert compiled() == "factored"
    add(8, composed=1.0, factored=2.0)
    assert compiled() == "composed"
