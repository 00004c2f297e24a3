"""Passes in evaluation, and the buckets of DistributedDataParallel."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from stdcf.memory import LifeTracker, predict_evaluation, predict_peak
from stdcf.memory.buckets import assigned
from stdcf.models import create_model

SHAPE = (4, 1, 16, 30, 40)


def model() -> nn.Module:
    return create_model("kth_cnn", num_classes=6)


def wide() -> nn.Module:
    """Of layers larger and smaller than a bucket."""
    sizes = [64, 32768, 1024, 16384, 4]
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", None])
def test_evaluation_is_predicted_as_it_runs(optimizer: str | None) -> None:
    predicted = predict_evaluation(model, SHAPE, optimizer=optimizer, device="cpu")
    real, clip = model().eval(), torch.rand(SHAPE)
    tracker = LifeTracker(real, None, [clip])
    with tracker, torch.no_grad():
        real(clip)
    parameters = predicted.breakdown["parameters"]
    state = {"adam": 2, "sgd": 1, None: 0}[optimizer] * parameters
    assert predicted.breakdown["optimizer_state"] == pytest.approx(state, rel=0.001)
    assert predicted.peak_bytes - predicted.breakdown["optimizer_state"] == pytest.approx(
        tracker.peak_bytes, rel=0.001
    )
    assert predicted.breakdown["gradients"] == 0
    assert predicted.timeline().kind.isin(["gradients"]).sum() == 0


def test_on_cuda_a_test_has_a_smallest_cap_and_needs_less_than_a_step() -> None:
    test, step = predict_evaluation(model, SHAPE), predict_peak(model, SHAPE)
    assert test.allocated_bytes <= test.smallest_cap_bytes < step.smallest_cap_bytes
    half = predict_evaluation(model, SHAPE, autocast="bfloat16")
    assert half.peak_bytes < test.peak_bytes


@pytest.mark.parametrize("make", [model, wide])
def test_buckets_are_torchs_own(make, tmp_path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        network = DistributedDataParallel(make(), gradient_as_bucket_view=True)
        sizes: list[int] = []

        def hook(
            state: object, bucket: torch.distributed.GradBucket
        ) -> torch.futures.Future[torch.Tensor]:
            sizes.append(bucket.buffer().nbytes)
            done = torch.futures.Future()
            done.set_result(bucket.buffer())
            return done

        network.register_comm_hook(None, hook)
        for _ in range(3):
            # The buckets are laid out anew after the first step.
            sizes.clear()
            network(torch.rand(SHAPE if make is model else (2, 64))).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    ours = [sum(4 * p.numel() for p in bucket) for bucket in assigned(list(make().parameters()))]
    assert sorted(ours) == sorted(sizes)
    assert len(sizes) == (1 if make is model else 3)


@pytest.mark.parametrize("savers", [[], ["accumulate=2"]])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_gradients_lie_in_buckets_that_stay(device: str, savers: list[str]) -> None:
    alone = predict_peak(model, SHAPE, device=device, savers=savers)
    one_of_two = predict_peak(model, SHAPE, device=device, savers=savers, ranks=2)
    parameters = alone.breakdown["parameters"]
    assert one_of_two.breakdown["gradient_buckets"] == parameters
    assert "gradient_buckets" not in alone.breakdown
    more = one_of_two.peak_bytes - alone.peak_bytes
    # Raw gradients of all but the last micro-batch lie beside the buckets.
    assert 0 < more <= parameters
    assert sum(one_of_two.breakdown.values()) == one_of_two.peak_bytes
    assert predict_peak(model, SHAPE, device=device, savers=savers).peak_bytes == alone.peak_bytes
