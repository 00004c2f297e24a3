"""Where the memory is: lives that sum to the report, as rows, as a picture, for torch's viewer."""

import json
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.cuda import _memory_viz

from stdcf.errors import UserError
from stdcf.memory import MemoryReport, measure_peak, predict_peak
from stdcf.memory.timeline import module_groups
from stdcf.models import create_model

SHAPE = (4, 1, 16, 30, 40)


def model() -> nn.Module:
    return create_model("kth_cnn", num_classes=6)


def two_convolutions() -> nn.Module:
    first = nn.Conv3d(1, 2, 3, padding=1, bias=False)
    second = nn.Conv3d(2, 4, 3, padding=1, bias=False)
    return nn.Sequential(first, second, nn.AdaptiveAvgPool3d(1), nn.Flatten())


@pytest.fixture(scope="module")
def predicted() -> MemoryReport:
    return predict_peak(model, SHAPE)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("savers", ["", "checkpoint", "offload", "accumulate=2"])
def test_the_rows_at_the_peak_are_the_breakdown(device: str, savers: str) -> None:
    words = [savers] if savers else []
    report = predict_peak(model, SHAPE, device=device, savers=words)
    frame = report.timeline()
    there = frame[frame.at_peak & ~frame.on_host & (frame.kind != "workspaces")]
    assert there.groupby("kind").bytes.sum().to_dict() == {
        kind: n_bytes for kind, n_bytes in report.breakdown.items() if n_bytes
    }
    assert there.bytes.sum() == report.peak_bytes == sum(report.lives.module_bytes().values())
    alive = frame[(frame.born <= report.lives.peak_time) & (frame.died > report.lives.peak_time)]
    assert set(there.index) <= set(alive.index)


def test_a_rows_name_place_and_size_by_hand() -> None:
    frame = predict_peak(two_convolutions, (2, 1, 4, 8, 8), optimizer="sgd").timeline()
    clip = 2 * 4 * 8 * 8 * 4
    maps = frame[(frame.operator == "aten.convolution") & (frame.phase == "forward")]
    assert maps[["module", "shape", "bytes", "phase", "dtype"]].values.tolist() == [
        ["0", (2, 2, 4, 8, 8), 2 * clip, "forward", "float32"],
        ["1", (2, 4, 4, 8, 8), 4 * clip, "forward", "float32"],
    ]
    named = frame[frame.name.str.startswith("1.weight")]
    assert named[["name", "kind", "module", "bytes"]].values.tolist() == [
        ["1.weight", "parameters", "1", 4 * 2 * 27 * 4],
        ["1.weight.grad", "gradients", "1", 4 * 2 * 27 * 4],
        ["1.weight.momentum_buffer", "optimizer_state", "1", 4 * 2 * 27 * 4],
    ]
    assert frame[frame.name == "1.weight.grad"].phase.item() == "backward"


def test_a_measured_step_has_the_same_rows() -> None:
    def rows(report: MemoryReport) -> Counter[Any]:
        frame = report.timeline()
        frame = frame[frame.kind.isin(["parameters", "gradients", "activations", "batch"])]
        return Counter(zip(frame.name, frame.kind, frame.module, frame.bytes, strict=True))

    options: dict[str, Any] = {"device": "cpu", "optimizer": "sgd"}
    expected, real = predict_peak(model, SHAPE, **options), measure_peak(model, SHAPE, **options)
    there = real.timeline()
    assert there[there.at_peak].bytes.sum() == real.peak_bytes
    without_target = {row: n for row, n in rows(expected).items() if row[0] != "target"}
    assert without_target.items() <= rows(real).items()


def test_an_allocators_report_says_that_it_knows_no_tensors(tmp_path: Path) -> None:
    report = measure_peak(model, SHAPE, device="cpu", count="allocator")
    for show in (report.timeline, lambda: report.save_snapshot(tmp_path / "a.pickle")):
        with pytest.raises(UserError, match="by cpu_allocator knows no tensors"):
            show()


def test_a_report_is_numbers_and_names_without_its_tensors(predicted: MemoryReport) -> None:
    content = predicted.as_dict()
    assert "lives" not in content
    assert content["peak_bytes"] == predicted.peak_bytes
    assert content["moment"]["phase"] == "backward"


def sizes(trace: list[dict[str, Any]], more: str, less: str) -> tuple[int, int]:
    """The most bytes at once, and those at the end."""
    now = peak = 0
    for entry in trace:
        now += entry["size"] * ((entry["action"] == more) - (entry["action"] == less))
        peak = max(peak, now)
    return peak, now


@pytest.mark.parametrize("alloc_conf", ["", "expandable_segments:True"])
def test_torchs_own_viewer_opens_the_snapshot(alloc_conf: str, tmp_path: Path) -> None:
    report = predict_peak(model, SHAPE, alloc_conf=alloc_conf)
    path = report.save_snapshot(tmp_path / "step.pickle", alloc_conf)
    data = pickle.loads(path.read_bytes())
    words = _memory_viz.segsum(data)
    reserved = sum(segment["total_size"] for segment in data["segments"])
    assert f"total_reserved: {_memory_viz.Bytes(reserved)}" in words
    assert reserved == report.reserved_bytes
    assert "entries" in _memory_viz.trace(data)
    flames: list[str] = []
    _memory_viz.memory(data, format_flamegraph=lambda text: flames.append(text) or "")
    assert ";blocks.0.0:0:blocks.0.0.weight " in flames[0]
    for plot in (_memory_viz.trace_plot, _memory_viz.segment_plot):
        assert "snapshot.pickle" in plot(data)
    # What is in use at the end was there at the beginning.
    (trace,) = data["device_traces"]
    kept = sum(b["requested_size"] for s in data["segments"] for b in s["blocks"])
    peak, end = sizes(trace, "alloc", "free_completed")
    assert kept == end
    assert peak <= report.allocated_bytes <= peak * 1.01
    more = "segment_map" if alloc_conf else "segment_alloc"
    assert sizes(trace, more, "segment_free")[0] == report.reserved_bytes


def test_no_two_tensors_of_a_snapshot_overlap(predicted: MemoryReport, tmp_path: Path) -> None:
    data = pickle.loads(predicted.save_snapshot(tmp_path / "step.pickle").read_bytes())
    segments: dict[int, int] = {}
    alive: dict[int, int] = {}
    for entry in data["device_traces"][0]:
        start, end = entry["addr"], entry["addr"] + entry["size"]
        if entry["action"] == "segment_alloc":
            segments[start] = end
        elif entry["action"] == "alloc":
            assert any(first <= start and end <= last for first, last in segments.items())
            assert all(end <= a or b <= start for a, b in alive.items())
            alive[start] = end
        elif entry["action"] == "free_completed":
            assert alive.pop(start) == end


def test_large_groups_of_modules_are_split_and_few(predicted: MemoryReport) -> None:
    assert predicted.lives is not None
    group = module_groups(predicted.lives, most=6)
    shown = {group(life.module) for life in predicted.lives.on_device}
    assert len(shown) <= 6
    assert any("." in name for name in shown)
    assert "" in shown


def drawn(html: str) -> dict[str, Any]:
    """What the page's script gets."""
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    found: dict[str, Any] = json.loads(content)
    return found


def test_the_picture_holds_every_tensor_and_loads_nothing(
    predicted: MemoryReport, tmp_path: Path
) -> None:
    html = predicted.save_timeline(tmp_path / "step.html").read_text()
    data, lives = drawn(html), predicted.lives
    assert lives is not None
    live = [
        sum(n for n, born, died, *_ in data["lives"] if born <= t < died)
        for t in range(len(data["moments"]))
    ]
    assert max(live) == live[data["peak"]] == max(lives.live_bytes())
    assert {data["kinds"][life[3]] for life in data["lives"]} >= {"activations", "workspaces"}
    assert not re.search(r"https?:|//[a-z]|src=|@import", html)
    assert "default-src 'none'" in html


def test_names_in_a_picture_are_text(tmp_path: Path) -> None:
    owned = "</script><script>document.title='owned'</script>"

    def hostile() -> nn.Module:
        layers = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
        outer = nn.Sequential()
        outer.add_module(owned.replace(".", "_"), layers)
        return outer

    report = predict_peak(hostile, (1, 1, 4, 8, 8), device="cpu")
    html = report.save_timeline(tmp_path / "step.html", owned).read_text()
    assert owned not in html
    assert drawn(html)["title"] == owned
    assert html.count("<script") == 2


def test_a_folder_is_no_file(predicted: MemoryReport, tmp_path: Path) -> None:
    for save in (predicted.save_timeline, predicted.save_snapshot):
        with pytest.raises(UserError, match="give another file"):
            save(tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_on_a_gpu_has_a_timeline_on_request() -> None:
    report = measure_peak(model, SHAPE, device="cuda", timeline=True)
    frame = report.timeline()
    assert frame[frame.at_peak].bytes.sum() == pytest.approx(report.peak_bytes, rel=0.5)
