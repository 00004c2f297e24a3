from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stdcf.memory import CapExceeded, LifeTracker

FLOAT = 4


def tracked(function, model=None, **options):
    with LifeTracker(model or nn.Identity(), **options) as tracker:
        function()
    return tracker


def test_views_count_once_and_the_dead_not_at_all():
    def work():
        a = torch.ones(100)
        b = a.view(10, 10)[2:]
        del a
        c = b + 1
        del b, c
        torch.ones(30)

    tracker = tracked(work)
    assert tracker.peak_bytes == (100 + 80) * FLOAT
    assert tracker.current_bytes == 0


def test_a_view_of_what_was_there_before_is_not_ours():
    dataset = torch.zeros(1000)
    tracker = tracked(lambda: dataset[:10].clone())
    assert tracker.peak_bytes == 10 * FLOAT


def test_operators_in_place_allocate_nothing():
    def work():
        a = torch.zeros(50)
        a.add_(1).mul_(2)

    assert tracked(work).peak_bytes == 50 * FLOAT


@pytest.mark.parametrize("in_storage", [False, True])
def test_resized_storages_are_followed(in_storage):
    def work():
        a = torch.zeros(100)
        if in_storage:
            a.untyped_storage().resize_(0)
        else:
            a.resize_(300)
        b = torch.zeros(150)
        del a, b

    original = torch.UntypedStorage.resize_
    tracker = tracked(work)
    assert tracker.peak_bytes == (150 if in_storage else 450) * FLOAT
    assert tracker.current_bytes == 0
    assert torch.UntypedStorage.resize_ is original


def test_what_only_the_graph_holds_is_alive_until_backward():
    x = torch.ones(100, requires_grad=True)

    def work():
        y = x.exp().sin()  # exp keeps its output, sin its input: one tensor
        y.sum().backward()

    tracker = tracked(work)
    # exp's output, sin's output, the sum and its gradient, then sin's and exp's gradients.
    assert tracker.peak_bytes >= 300 * FLOAT
    assert tracker.current_bytes == 100 * FLOAT  # x.grad


@pytest.mark.parametrize("fake", [False, True])
def test_one_step_by_category(fake):
    def step():
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    with FakeTensorMode() if fake else nullcontext():
        model = nn.Sequential(nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64, affine=False))
        x = torch.ones(16, 512)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        step()
        with LifeTracker(model, optimizer, [x]) as tracker:
            step()
    parts = tracker.breakdown()
    assert sum(parts.values()) == tracker.peak_bytes
    weight = 64 * 512 * FLOAT
    assert parts["parameters"] == weight
    assert parts["optimizer_state"] == weight
    assert parts["gradients"] == weight
    assert parts["batch"] == 16 * 512 * FLOAT
    assert parts["buffers"] == (64 + 64) * FLOAT + 8
    assert tracker.peak_moment.phase == "backward"
    assert tracker.peak_moment.module == "0"


@pytest.mark.parametrize(("weights", "phase"), [(1.001, "forward"), (1.5, "backward")])
def test_the_cap_names_the_moment(weights, phase):
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), nn.Linear(500, 500, False)))
    cap_bytes = int(weights * 500 * 500 * FLOAT)
    x = torch.ones(2, 500)
    with pytest.raises(CapExceeded) as caught, LifeTracker(model, cap_bytes=cap_bytes):
        model(x).sum().backward()
    moment = caught.value.moment
    assert (moment.phase, moment.operator, moment.module) == (phase, "aten.mm", "1.1")
    assert caught.value.peak_bytes > caught.value.cap_bytes == cap_bytes
    assert "MiB" in str(caught.value)


def test_a_tracker_leaves_no_hooks():
    from torch.nn.modules import module

    before = len(module._global_forward_hooks), len(module._global_forward_pre_hooks)
    with pytest.raises(CapExceeded), LifeTracker(nn.Identity(), cap_bytes=1):
        torch.zeros(10)
    assert (len(module._global_forward_hooks), len(module._global_forward_pre_hooks)) == before
