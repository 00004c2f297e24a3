"""Plans under a cap: cheapest, confirmed, what a real step takes, and the same gradients."""

import itertools
import os
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory import StepMeter, measure_peak
from stdcf.memory.mixed.search import BlockPlanner
from stdcf.memory.predict import Predictor
from stdcf.memory.savers import learn
from stdcf.memory.savers.plan import Plan
from stdcf.models import create_model

Shape = tuple[int, int, int, int, int]


def kth() -> nn.Module:
    return create_model("kth_cnn", num_classes=6)


def torchvision(name: str) -> nn.Module:
    from torchvision.models import video

    return getattr(video, name)(num_classes=10)


class Stages(nn.Module):
    """Stages of residual blocks that its forward calls, as a user may write them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, 8, 3, padding=1)
        self.stages = nn.ModuleList([_Block(8) for _ in range(3)])
        self.head = nn.Linear(8, 6)

    def forward(self, clip_BCTHW: torch.Tensor) -> torch.Tensor:
        x = self.stem(clip_BCTHW)
        for stage in self.stages:
            x = F.max_pool3d(stage(x), (1, 2, 2))
        return self.head(x.mean((2, 3, 4)))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(width, width, 3, padding=1) for _ in range(2))
        self.bn = nn.BatchNorm3d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.conv2(F.relu(self.bn(self.conv1(x)))))


SMALL: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "kth_cnn": (kth, (8, 1, 16, 60, 80)),
    "own": (Stages, (8, 1, 8, 32, 32)),
}
# The networks and bars of the command's promise; by hand, with STDCF_PLANS=1.
LARGE: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "kth_cnn": (kth, (16, 1, 16, 60, 80)),
    "r3d_18": (partial(torchvision, "r3d_18"), (4, 3, 16, 112, 112)),
    "resnet3d_50": (
        partial(create_model, "resnet3d_50", num_classes=400, in_channels=3),
        (4, 3, 8, 112, 112),
    ),
    "slowfast_r50_8x8": (lambda: _built("slowfast_r50_8x8"), (2, 3, 32, 112, 112)),
    "mvit_v2_s": (partial(torchvision, "mvit_v2_s"), (2, 3, 16, 224, 224)),
}


def _built(name: str) -> nn.Module:
    from suites.catalog import build

    return build(name, num_classes=400, in_channels=3)


def caps(planner: BlockPlanner) -> list[int]:
    """Five between the leanest way that treats all blocks alike and the plain step."""
    needs = [way.needs_bytes for way in planner.ways()]
    least, plain = min(needs), needs[0]
    return [least + (plain - least) * part // 6 for part in range(1, 6)]


def held(name: str, networks: dict[str, tuple[Callable[[], nn.Module], Shape]]) -> None:
    build, shape = networks[name]
    planner = BlockPlanner(Predictor(build, "cpu"), shape)
    for number, cap_bytes in enumerate(caps(planner)):
        found = planner.best(cap_bytes)
        assert found.fits
        assert found.plan.report.peak_bytes <= cap_bytes
        assert found.whole is not None
        assert found.plan.cost <= found.whole.cost
        assert found.bound <= found.plan.cost * (1 + 1e-6)
        if number == 2:
            assert found.plan.cost <= 0.5 * found.whole.cost
            real = measure_peak(build, shape, device="cpu", savers=[Plan(found.plan.blocks)])
            assert real.peak_bytes == pytest.approx(found.plan.report.peak_bytes, rel=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_a_plan_fits_and_is_never_dearer_than_one_way_for_all(name: str) -> None:
    held(name, SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.skipif("STDCF_PLANS" not in os.environ, reason="minutes: STDCF_PLANS=1 runs it")
def test_so_are_plans_of_whole_networks(name: str) -> None:
    held(name, LARGE)


def test_no_plan_that_fits_is_cheaper() -> None:
    """Every choice for every block, by brute force."""
    shape = SMALL["own"][1]
    predictor = Predictor(Stages, "cpu")
    choices = ("keep", "checkpoint", "offload")
    planner = BlockPlanner(predictor, shape, blocks=["stages.*"], choices=choices)
    costs = []
    for picked in itertools.product(choices, repeat=3):
        blocks = {f"stages.{number}": choice for number, choice in enumerate(picked)}
        planner.ways()
        plan, _ = planner._predicted(blocks, {name: name for name in blocks})
        costs.append((plan.needs_bytes, plan.cost))
    for cap_bytes in caps(planner):
        cheapest = min(cost for needs, cost in costs if needs <= cap_bytes)
        found = planner.best(cap_bytes)
        assert found.plan.cost <= cheapest * 1.02 + 1e-6 * found.step_cost


def test_ten_steps_under_the_plan_hold_the_cap_and_learn_the_same() -> None:
    shape = SMALL["own"][1]
    planner = BlockPlanner(Predictor(Stages, "cpu"), shape)
    cap_bytes = caps(planner)[2]
    found = planner.best(cap_bytes)
    assert found.plan.needs_bytes <= cap_bytes < found.plain.needs_bytes
    assert not found.plan.way
    learnt = []
    for savers in ((), (Plan(found.plan.blocks),)):
        torch.manual_seed(0)
        model = Stages()
        optimizer = torch.optim.Adam(model.parameters())
        meter = StepMeter(model, optimizer, cap_bytes=cap_bytes if savers else None)
        gradients: list[torch.Tensor] = []
        for _ in range(10):
            clip, label = torch.rand(shape), torch.randint(6, shape[:1])
            with meter.step(clip, label):
                learn(model, clip, label, F.cross_entropy, savers)
                optimizer.step()
            gradients += [p.grad.clone() for p in model.parameters() if p.grad is not None]
            optimizer.zero_grad()
        assert len(gradients) == 10 * len(list(model.parameters()))
        learnt.append([*gradients, *model.state_dict().values()])
    assert all(map(torch.equal, *learnt))


def test_where_nothing_fits_the_leanest_is_shown() -> None:
    planner = BlockPlanner(Predictor(Stages, "cpu"), SMALL["own"][1])
    found = planner.best(1)
    assert not found.fits
    assert found.plan.needs_bytes <= min(way.needs_bytes for way in planner.ways())


def test_for_cuda_the_cap_holds_the_allocators_needs() -> None:
    planner = BlockPlanner(Predictor(Stages, "cuda"), SMALL["own"][1], context_bytes=2**20)
    cap_bytes = caps(planner)[2]
    found = planner.best(cap_bytes)
    assert found.fits
    report = found.plan.report
    assert report.smallest_cap_bytes is not None
    assert report.smallest_cap_bytes * 1.05 + 2**20 <= cap_bytes + 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blocks": ["stage*.x"]}, r"no module of Stages is called 'stage\*.x'"),
        ({"choices": ["forget"]}, "unknown choice 'forget'; there are keep, recompute"),
    ],
)
def test_it_refuses(options: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        BlockPlanner(Predictor(Stages, "cpu"), SMALL["own"][1], **options)  # type: ignore[arg-type]


def test_a_block_that_cannot_run_twice_is_planned_otherwise() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Conv3d(8, 8, 3)),
        nn.Sequential(_InPlace(), nn.Conv3d(8, 8, 3, padding=1)),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
    )
    planner = BlockPlanner(Predictor(lambda: model, "cpu"), (4, 1, 8, 32, 32))
    again = {way.way: way.blocks for way in planner.ways()}["checkpoint"]
    assert dict(again) == {"0": "checkpoint"}


class _InPlace(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2)
