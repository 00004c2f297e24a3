"""Counts of parameters and multiply-accumulates."""

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from stdcf.errors import UserError
from stdcf.layers.plans import modelled_device


@dataclass(frozen=True)
class Complexity:
    """What a model costs for one clip.

    Attributes:
        params: trainable or not, each counted once.
        macs: with every layer that has plans in its factored form, as the paper counts (§2.4).
        executed_macs: with the plans as they are set, on the device where the model is.
        fvcore_macs: fvcore's total for the factored form; None where fvcore is missing. It includes
            some elementwise work (normalisation), which `macs` does not.
        fvcore_unsupported: operator -> how many calls fvcore left out, of those that multiply.
    """

    params: int
    macs: int
    executed_macs: int
    fvcore_macs: int | None
    fvcore_unsupported: dict[str, int] = field(default_factory=dict)


def count(model: nn.Module, input_shape: Sequence[int], *, fvcore: bool = True) -> Complexity:
    """Counts a model's parameters and the multiply-accumulates of its forward pass.

    The model is left as it is. Only fvcore's count computes anything: one forward pass of one clip.

    Args:
        input_shape: of a clip or a batch, [B, C, T, H, W]; the batch is taken as 1.
        fvcore: take its count too, which a large network's forward pass makes slow.
    """
    if len(input_shape) < 2:
        raise UserError(f"input_shape must be B C T H W, not {input_shape!r}")
    shape = (1, *input_shape[1:])
    fvcore_macs, unsupported = (
        _fvcore(_copy(model, plan="factored"), shape) if fvcore else (None, {})
    )
    return Complexity(
        params=sum(p.numel() for p in model.parameters()),
        macs=_macs(_copy(model, "meta", plan="factored"), shape),
        executed_macs=_executed_macs(model, shape),
        fvcore_macs=fvcore_macs,
        fvcore_unsupported=unsupported,
    )


def _copy(model: nn.Module, device: str | None = None, plan: str | None = None) -> nn.Module:
    """In evaluation mode, with the same parameters (no memory twice), or with some on a device."""
    memo: dict[int, object] = {
        id(b): b if device is None else b.to(device) for b in model.buffers()
    }
    for p in model.parameters():
        memo[id(p)] = p if device is None else nn.Parameter(p.detach().to(device), p.requires_grad)
    copied = copy.deepcopy(model, memo).eval()
    for module in copied.modules():
        if plan is not None and hasattr(module, "plan"):
            module.plan = plan  # type: ignore[assignment]
    return copied


def _macs(model: nn.Module, shape: Sequence[int]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(*shape, device="meta"))
    return counter.get_total_flops() // 2


def _executed_macs(model: nn.Module, shape: Sequence[int]) -> int:
    device = next((p.device.type for p in model.parameters()), "cpu")
    with modelled_device(device):
        return _macs(_copy(model, "meta"), shape)


def _fvcore(model: nn.Module, shape: Sequence[int]) -> tuple[int | None, dict[str, int]]:
    try:
        with _quiet():
            from fvcore.nn import FlopCountAnalysis
    except ImportError:
        return None, {}
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    # fvcore traces, and no meta tensor can be traced: while tracing, sizes are tensors.
    with _quiet(), torch.no_grad():
        analysis = FlopCountAnalysis(model, torch.zeros(*shape, device=device))
        macs = int(analysis.total())
        unsupported = analysis.unsupported_ops()
    return macs, {op: n for op, n in sorted(unsupported.items()) if _multiplies(op)}


# Entry points that reach an operator in torch's table of FLOP formulas under another name.
_ALIASES = {"aten::_convolution_mode", "aten::tensordot", "aten::linear", "aten::matmul"}
_FORMULAS = {str(packet).replace(".", "::") for packet in flop_registry}


def _multiplies(operator: str) -> bool:
    """Whether torch itself counts it, or nobody knows it (a custom operator)."""
    known = operator.startswith(("aten::", "prim::")) and "PythonOp" not in operator
    return not known or operator in _ALIASES | _FORMULAS


@contextmanager
def _quiet() -> Iterator[None]:
    """Without fvcore's log lines and the tracer's warnings."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
