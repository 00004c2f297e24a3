"""Forward and backward of one batch, under any savers."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from stdcf.errors import UserError
from stdcf.memory.savers.batch import Batch, Inputs, cuts_of, total_loss
from stdcf.memory.savers.company import no_accumulation, no_scaler
from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.trees import batch_size, map_tensors, part_of_batch
from stdcf.memory.tracking.lives import tensors


def learn(
    model: nn.Module,
    clip_BCTHW: Any,
    target: Any,
    loss: Callable[[Any, Any], Any],
    savers: Sequence[Saver] = (),
    *,
    optimizer: Optimizer | None = None,
    inputs: Inputs | None = None,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    weigh: Callable[[Tensor], Tensor] = lambda loss: loss,
    make_target: Callable[[Any], Any] | None = None,
    learnt: Callable[[Any, Any, Tensor], None] = lambda output, target, loss: None,
) -> None:
    """Adds the gradient of the batch's mean loss to the parameters'.

    Args:
        clip_BCTHW: the clips; for a model of other arguments the pair (args, kwargs), or a batch as
            a loader gives it, or its size, of which `inputs` makes them.
        target: with the clips' first dimension, or a tree of such; or None.
        loss: the mean over its clips, of the model's output and the target; where there is neither
            a target nor `make_target`, of the output and the batch: the loader's, or
            (args, kwargs). Several losses, in a list, tuple or mapping, are summed.
        optimizer: whose step follows; savers that change it must be given it.
        inputs: gives (args, kwargs) of the model for a batch, or for a batch size.
        autocast: around each forward pass.
        weigh: what is differentiated, of the mean loss.
        make_target: gives a target for an output where `target` is None.
        learnt: called after each micro-batch with its output, target and loss, all detached.

    Micro-batches cut what has the batch's size as its first dimension, and lists of as many items.

    Raises:
        UserError: if the batch is none of these or cannot be cut, the loss is not a number, or a
            saver cannot do with what is given.
    """
    for saver in savers:
        saver.prepare(model)
    made = None if _is_of_loader(clip_BCTHW, inputs) else batch_of(clip_BCTHW, inputs)
    size = (batch_size(clip_BCTHW) or 0) if made is None else made.size
    asked = max((saver.micro_batches for saver in savers), default=1)
    parts = min(asked, size) if size else asked
    if made is not None:
        batches: Iterable[Batch] = made.split(parts)
    elif parts == 1 or not size:
        batches = batch_of(clip_BCTHW, inputs).split(parts)
    else:
        cut_up = (part_of_batch(clip_BCTHW, size, cut) for cut in cuts_of(size, parts))
        batches = (batch_of(part, inputs) for part in cut_up)
    targets = [target]
    if parts > 1:
        targets = [part_of_batch(target, size, cut) for cut in cuts_of(size, parts)]
    with ExitStack() as around:
        for saver in savers:
            if saver.needs_optimizer:
                around.enter_context(saver.step(model, _checked(saver, optimizer, parts, weigh)))
        for index, (batch, part) in enumerate(zip(batches, targets, strict=True), start=1):
            keep = [*model.parameters(), *model.buffers(), *tensors(batch.pair), *tensors(part)]
            packing = Packing(keep=keep)
            against = part
            with ExitStack() as stack:
                stack.enter_context(autocast())
                for saver in savers:
                    stack.enter_context(saver.forward(model, batch.first, packing))
                if isinstance(model, DistributedDataParallel) and index < parts:
                    stack.enter_context(model.no_sync())
                stack.enter_context(packing.hooks())
                output = model(*batch.args, **batch.kwargs)
                if part is None:
                    against = batch.for_loss if make_target is None else make_target(output)
                value = total_loss(loss(output, against))
            output = map_tensors(Tensor.detach, output)
            weigh(value if parts == 1 else value * (batch.size / size)).backward()
            learnt(output, against, value.detach())
            del output, value, against


def _checked(
    saver: Saver, optimizer: Optimizer | None, parts: int, weigh: Callable[[Tensor], Tensor]
) -> Optimizer:
    if optimizer is None:
        raise UserError(
            f"saver {saver.name} changes the optimiser's step: give learn optimizer=, or leave "
            f"{saver.name} out"
        )
    if saver.updates and parts > 1:
        raise UserError(no_accumulation(saver))
    if saver.updates and isinstance(getattr(weigh, "__self__", None), torch.amp.GradScaler):
        raise UserError(no_scaler(saver))
    return optimizer


def batch_of(given: Any, inputs: Inputs | None = None) -> Batch:
    """What a model is called with, of a batch in any of the forms that `learn` takes.

    Raises:
        UserError: if it is in none of them.
    """
    if isinstance(given, Batch):
        return given
    if inputs is None:
        if isinstance(given, Tensor):
            return Batch((given,), size=len(given))
        if isinstance(given, int):
            raise UserError("a batch's size takes inputs=, a function that makes the batch")
        return Batch.of_pair(given)
    if isinstance(given, int):
        return Batch.made(inputs, given)
    return Batch.of_pair(inputs(given), batch_size(given) or 0, given)


def _is_of_loader(given: Any, inputs: Inputs | None) -> bool:
    return inputs is not None and not isinstance(given, int | Batch)
