"""Measures the plans of a whole model's layers at once."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from stdcf.layers import auto, plan_book
from stdcf.layers.layout import layout_of
from stdcf.layers.plans import modelled_device
from stdcf.layers.stdcf_conv import STDCFConv3d

# A layer's name, and its input's shape, type and layout.
_Call = tuple[str, tuple[int, ...], torch.dtype, torch.memory_format]


def tune(
    model: nn.Module,
    input_shape: Sequence[int],
    dtype: torch.dtype | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> dict[str, str]:
    """Measures what plan="auto" may take in each STDCF layer of a model, on the model's device.

    Each distinct shape is measured once, forward and backward, and kept in the book of plans
    (`plan_book.book_file()`); what is there already is not measured again. Call it under the
    autocast, and with the dilations, that the model will run with. The model is left as it is, and
    so are random numbers.

    Args:
        input_shape: of the model's input, with the batch, [B, C, T, H, W].
        dtype: of the input; that of the parameters if None.
        memory_format: of the input.

    Returns:
        Layer -> the plan that it takes from now on; the last one where it runs more than once.
        Layers with another plan than "auto" are left out.

    Raises:
        torch.OutOfMemoryError: if a layer's step does not fit beside what is in memory.
    """
    like = next(model.parameters())
    found = {}
    example = (like.device, dtype or like.dtype, memory_format)
    calls = _calls(model, input_shape, *example)
    cuda = [like.device] if like.is_cuda else []
    with torch.random.fork_rng(cuda):
        for name, shape, of, layout in calls:
            layer = model.get_submodule(name)
            assert isinstance(layer, STDCFConv3d)
            x = torch.empty(shape, dtype=of, device="meta", memory_format=layout)
            with modelled_device(like.device.type):
                situation = auto.situation(*layer._call(x))
            path = plan_book.book_file()
            if situation.key not in plan_book.read(path, plan_book.changed_ns(path)):
                layer.tune(shape, of, layout)
            found[name] = auto.choose(situation, layer.memory_limit_bytes).plan
    return found


def _calls(
    model: nn.Module,
    shape: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> list[_Call]:
    """The inputs of all layers that choose, found on fake tensors: nothing is computed."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    memo: dict[int, Any] = {id(b): fake.from_tensor(b) for b in model.buffers()}
    memo |= {
        id(p): nn.Parameter(fake.from_tensor(p.detach()), p.requires_grad)
        for p in model.parameters()
    }
    copied = copy.deepcopy(model, memo).eval()
    calls: list[_Call] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def hook(_: nn.Module, args: tuple[Tensor]) -> None:
            (x,) = args
            calls.append((name, tuple(x.shape), x.dtype, layout_of(x)))

        return hook

    for name, module in copied.named_modules():
        if isinstance(module, STDCFConv3d) and module.plan == "auto":
            module.register_forward_pre_hook(note(name))
    with fake, torch.no_grad():
        copied(torch.empty(*shape, dtype=dtype, device=device).to(memory_format=layout))
    return calls
