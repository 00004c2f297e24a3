"""The peak memory of a training step, without a GPU and without the memory."""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeCopyMode,
    FakeTensor,
    FakeTensorMode,
)

from stdcf.errors import UserError
from stdcf.memory.cuda_operators import CudaOperators
from stdcf.memory.report import MemoryReport
from stdcf.memory.step import Loss, StepOptions
from stdcf.memory.tracker import LifeTracker

if TYPE_CHECKING:
    from stdcf.training.stage import Stage


def predict_peak(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int],
    *,
    num_classes: int | None = None,
    loss: str | Loss = "cross_entropy",
    optimizer: str = "adam",
    device: str = "cuda",
    autocast: str | torch.dtype | None = None,
    memory_format: str | torch.memory_format | None = None,
    stage: "Stage | None" = None,
    savers: Sequence[Any] = (),
) -> MemoryReport:
    """Predicts a training step's peak memory by the lives of its tensors, on fake ones.

    It is the peak of the second step, when the optimiser's state exists: batch and target are alive
    throughout, gradients are None before forward. What operators allocate within themselves (such
    as cuDNN's workspaces) and the allocator's rounding are not included.

    Args:
        model_fn: builds the model, on fake tensors. Where its constructor reads a tensor's values,
            it is built once more with real parameters.
        input_shape: of a full-size batch, [B, C, T, H, W].
        device: whose operators are modelled, "cuda" or "cpu", not where this runs.
        num_classes, loss, optimizer, autocast, memory_format, stage: see `StepOptions`.
        savers: none are known yet.

    Raises:
        UserError: for an option that does not exist.
    """
    refuse_savers(savers)
    options = StepOptions(num_classes, loss, optimizer, autocast, memory_format, stage)
    on_cuda = device_type(device) == "cuda"
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    model = _build_fake(model_fn, mode)
    with mode, CudaOperators() if on_cuda else nullcontext():
        # On CUDA torch's optimisers default to foreach, whose temporaries are all parameters' size.
        step = options.build(model, input_shape, torch.device("cpu"), on_cuda or None)
        with LifeTracker(step.model, step.optimizer, step.batch) as tracker:
            step()
    return MemoryReport(
        peak_bytes=tracker.peak_bytes,
        breakdown=tracker.breakdown(),
        moment=tracker.peak_moment,
        measured_by="fake_tensors",
        input_shape=tuple(step.clip_BCTHW.shape),
        device=device,
        stage=None if stage is None else stage.name,
    )


def predict_stages(
    model_fn: Callable[[], nn.Module],
    input_shape: Sequence[int],
    stages: Iterable["Stage"],
    **options: Any,
) -> dict[str, MemoryReport]:
    """`predict_peak` of each stage, by its name; a schedule needs the largest.

    Stages that differ in neither clip size, dilation nor frozen parts share one prediction.
    """
    known: dict[tuple[Any, ...], MemoryReport] = {}
    reports = {}
    for stage in stages:
        key = (stage.clip_shape(input_shape), stage.dilation, stage.trains)
        if key not in known:
            known[key] = predict_peak(model_fn, input_shape, stage=stage, **options)
        reports[stage.name] = replace(known[key], stage=stage.name)
    return reports


def device_type(device: str) -> str:
    """ "cuda" or "cpu" of a device's name."""
    kind = device.partition(":")[0]
    if kind not in ("cuda", "cpu"):
        raise UserError(f"device must be cpu or cuda, not {device!r}")
    return kind


def _build_fake(model_fn: Callable[[], nn.Module], mode: FakeTensorMode) -> nn.Module:
    """The model with fake parameters, built so at once or, where that fails, copied so."""
    try:
        with mode:
            model = model_fn()
    except DataDependentOutputException:
        # Some constructors read a tensor's values; such a model needs its parameters' memory.
        with torch.random.fork_rng(devices=()):
            model = model_fn()
    if all(isinstance(parameter, FakeTensor) for parameter in model.parameters()):
        return model
    with FakeCopyMode(mode):
        return copy.deepcopy(model)


def refuse_savers(savers: Sequence[Any]) -> None:
    """Raises a UserError for any."""
    if len(savers):
        raise UserError(f"no memory savers are known yet: savers must be (), not {savers!r}")
