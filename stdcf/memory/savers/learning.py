"""Forward and backward of one batch, under any savers."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stdcf.memory.savers.packing import Packing
from stdcf.memory.savers.saver import Saver


def learn(
    model: nn.Module,
    clip_BCTHW: Tensor,
    target: Tensor | None,
    loss: Callable[[Tensor, Tensor], Tensor],
    savers: Sequence[Saver] = (),
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    weigh: Callable[[Tensor], Tensor] = lambda loss: loss,
    make_target: Callable[[Tensor], Tensor] | None = None,
    learnt: Callable[[Tensor, Tensor, Tensor], None] = lambda output, target, loss: None,
) -> None:
    """Adds the gradient of the batch's mean loss to the parameters'.

    Args:
        target: with the clips' first dimension, or None.
        loss: the mean over its clips, of the model's output and the target.
        autocast: around each forward pass.
        weigh: what is differentiated, of the mean loss.
        make_target: gives a target for an output where `target` is None.
        learnt: called after each micro-batch with its output, target and loss, all detached.
    """
    parts = min(max((saver.micro_batches for saver in savers), default=1), len(clip_BCTHW))
    clips = clip_BCTHW.tensor_split(parts)
    targets = [None] * parts if target is None else target.tensor_split(parts)
    for index, (clip, part) in enumerate(zip(clips, targets, strict=True), start=1):
        batch = [clip] if part is None else [clip, part]
        packing = Packing(keep=[*model.parameters(), *model.buffers(), *batch])
        with ExitStack() as stack:
            stack.enter_context(autocast())
            for saver in savers:
                stack.enter_context(saver.forward(model, clip, packing))
            if isinstance(model, DistributedDataParallel) and index < parts:
                stack.enter_context(model.no_sync())
            stack.enter_context(packing.hooks())
            output = model(clip)
            if part is None:
                assert make_target is not None, "there is no target"
                part = make_target(output)
            value = loss(output, part)
        output = output.detach()
        weigh(value if parts == 1 else value * (len(clip) / len(clip_BCTHW))).backward()
        learnt(output, part, value.detach())
        del output, value
