"""A cap on CPU holds in every step and every test batch, and counts what steps leave behind."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.memory import CapExceeded, StepMeter

WIDTH = 16


class Net(nn.Module):
    """One map of 16 channels, kept for backward, that its `kept` may go on holding."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, WIDTH, 3, padding=1), nn.Linear(WIDTH, 2)
        self.kept: list[Tensor] | None = None

    def forward(self, clip_BCTHW):
        maps = self.conv(clip_BCTHW)
        if self.kept is not None:
            self.kept.append(maps.detach())
        return self.head(maps.mean((2, 3, 4)))


def map_bytes(clip):
    return clip.numel() // 3 * WIDTH * 4


class Run:
    def __init__(self, cap_bytes):
        torch.manual_seed(0)
        self.model = Net().train()
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.meter = StepMeter(self.model, self.optimizer, cap_bytes=cap_bytes)

    def step(self, size=8):
        clip, target = torch.randn(2, 3, 4, size, size), torch.tensor([0, 1])
        with self.meter.step(clip, target):
            F.cross_entropy(self.model(clip), target).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


def peak_bytes(size):
    run = Run(None)
    run.step(size)
    run.step(size)
    assert run.meter.report is not None
    return run.meter.report.peak_bytes


@pytest.mark.parametrize("later", [2, 3, 7])
def test_a_larger_clip_in_any_later_step(later):
    # Room for a small step and for the large clip, but not for its map.
    run = Run(map_bytes(torch.empty(2, 3, 4, 64, 64)))
    assert peak_bytes(8) < map_bytes(torch.empty(2, 3, 4, 64, 64)) / 10
    for _ in range(later):
        run.step()
    with pytest.raises(CapExceeded) as caught:
        run.step(64)
    assert caught.value.moment.phase == "forward"
    assert caught.value.moment.module == "conv"
    assert caught.value.peak_bytes > map_bytes(torch.empty(2, 3, 4, 64, 64))


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_leak_ends_at_the_step_where_it_passes(steps):
    """Each step leaves its map behind, and has itself done so when its backward peaks."""
    clip = torch.empty(2, 3, 4, 16, 16)
    run = Run(round(peak_bytes(16) + (steps + 0.5) * map_bytes(clip)))
    run.model.kept = []
    for _ in range(steps):
        run.step(16)
    with pytest.raises(CapExceeded):
        run.step(16)


def test_a_graph_that_is_kept_is_a_leak_and_one_that_is_freed_is_none():
    peak = peak_bytes(16)
    run = Run(round(1.05 * peak))
    for _ in range(20):
        run.step(16)
    kept = []

    def keep_graphs():
        for _ in range(20):
            clip = torch.randn(2, 3, 4, 16, 16)
            with run.meter.step(clip):
                kept.append(run.model(clip).sum())

    with pytest.raises(CapExceeded):
        keep_graphs()
    # The clip and the map's mean are in the graph; the map itself is not.
    assert 1 <= len(kept) < 20


def test_the_watch_counts_to_the_byte_what_the_tracker_counts():
    exact = Run(peak_bytes(16))
    exact.step(16)
    exact.step(16)
    less = Run(peak_bytes(16) - 1)
    less.step(16)
    with pytest.raises(CapExceeded):
        less.step(16)


@pytest.mark.parametrize("batch", [0, 1, 4])
def test_a_larger_batch_anywhere_in_a_test(batch):
    sizes = [8] * batch + [64]
    run = Run(2**20)
    run.step()
    seen = []

    def test():
        for size in sizes:
            run.model(torch.randn(2, 3, 4, size, size))
            seen.append(size)

    with torch.no_grad(), pytest.raises(CapExceeded), run.meter.test():
        test()
    assert seen == [8] * batch
    # The model is as it was.
    assert "forward" not in vars(run.model)
    run.step()


@dataclass(slots=True)
class Batch:
    clip: Tensor
    masks: dict[str, list[Tensor]]


def test_any_batch_counts():
    run = Run(2**20)
    batch = Batch(torch.randn(1, 3, 4, 8, 8), {"masks": [torch.zeros(2**20, dtype=torch.uint8)]})
    with pytest.raises(CapExceeded, match="start"), run.meter.step(batch):
        raise AssertionError("nothing runs")


def test_garbage_in_cycles_is_no_leak():
    run = Run(round(peak_bytes(16) + 1.5 * map_bytes(torch.empty(2, 3, 4, 16, 16))))
    for _ in range(10):
        cycle = [torch.zeros(0)]
        cycle.append(cycle)
        run.model.kept = cycle
        run.step(16)


def test_the_report_stays_that_of_its_own_step():
    run = Run(2**30)
    run.step(16)
    run.step(16)
    report = run.meter.report
    run.step(32)
    assert run.meter.report is report
