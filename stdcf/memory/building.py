"""A model on fake tensors, whatever its build function does."""

import copy
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.parameter import is_lazy

from stdcf.errors import UserError
from stdcf.memory.tracking.lives import attribute_tensors

_NO_GPU = (
    "the build function asks for a GPU, and there is none: build the model on the CPU; "
    "device='cuda' already counts as CUDA does"
)


def build_fake(model_fn: Callable[[], nn.Module], mode: FakeTensorMode) -> nn.Module:
    """The model with fake tensors: built on them or, where that fails, built for real and copied.

    Raises:
        UserError: if it asks for a GPU that is not there, is compiled, is not fully built, cannot
            be copied, or is not a module.
    """
    try:
        with quiet(), mode:
            model = model_fn()
    except Exception:
        # Conversions, lazy modules, file readers and whatever reads values need real tensors.
        model = _built_for_real(model_fn)
    if not isinstance(model, nn.Module):
        raise UserError(
            f"the build function gives a {type(model).__name__}; it must give a torch.nn.Module"
        )
    refuse_compiled(model)
    tensors = _tensors(model)
    lazy = [name for name, p in model.named_parameters() if is_lazy(p)]
    if lazy:
        raise UserError(
            f"parameter {lazy[0]} has no size yet: pass one clip through the lazy modules in the "
            "build function"
        )
    if any(t.device.type == "cuda" for t in tensors) and not torch.cuda.is_available():
        raise UserError(_NO_GPU)
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
    on_cpu = all(t.device.type == "cpu" for t in tensors)
    if on_cpu and all(isinstance(t, FakeTensor) for t in tensors):
        return model
    if scripted:
        raise UserError(
            "a scripted or traced module with real tensors cannot be predicted: give the module it "
            "was made from, or measure it with measure_peak"
        )
    return _copied(model, tensors, mode)


def refuse_compiled(model: nn.Module) -> None:
    """A compiled module runs other kernels than can be seen.

    Raises:
        UserError: if the model or one of its modules is compiled.
    """
    # The compiler takes seconds to import, and who compiles has done so.
    dynamo = sys.modules.get("torch._dynamo")
    for name, module in model.named_modules():
        wrapped = dynamo is not None and isinstance(module, dynamo.OptimizedModule)
        compiled = wrapped or getattr(module, "_compiled_call_impl", None) is not None
        if compiled:
            where = f"module {name}" if name else "the model"
            raise UserError(
                f"{where} is compiled and cannot be predicted: torch's compiler decides when it "
                "runs; give it without torch.compile, or measure it with measure_peak"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's own lines about what a model does on fake tensors."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled


def _built_for_real(model_fn: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=()):
            return model_fn()
    except Exception as error:
        no_gpu = ("NVIDIA driver", "CUDA GPUs are available", "not compiled with CUDA")
        if not torch.cuda.is_available() and any(words in str(error) for words in no_gpu):
            raise UserError(_NO_GPU) from error
        raise


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers(), *attribute_tensors(model)]


def _copied(model: nn.Module, tensors: list[Tensor], mode: FakeTensorMode) -> nn.Module:
    """A deep copy whose tensors are fake; the model stays as it is."""
    memo: dict[int, Any] = {}
    for tensor in tensors:
        if id(tensor) not in memo:
            memo[id(tensor)] = fake_tensor(tensor, mode)
    try:
        with quiet():
            return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError, AttributeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"the model can be neither built on fake tensors nor copied ({first}), so its step "
            "cannot be predicted; measure_peak runs it"
        ) from error


def fake_tensor(tensor: Tensor, mode: FakeTensorMode) -> Tensor:
    """A fake tensor on the CPU of the same sizes; what is one stays."""
    if isinstance(tensor, FakeTensor) and tensor.device.type == "cpu":
        return tensor
    with torch.no_grad(), mode:
        if tensor.device.type == "cpu":
            fake: Tensor = mode.from_tensor(tensor.detach())
        else:
            # A GPU is modelled by CPU's tensors.
            fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    if not isinstance(tensor, nn.Parameter):
        return fake
    parameter = nn.Parameter(fake, requires_grad=tensor.requires_grad)
    for name, value in vars(tensor).items():
        setattr(parameter, name, value)
    return parameter
