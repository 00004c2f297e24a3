"""What a network's layers give: outputs by name, how alike they are, and where they are large."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d


@torch.no_grad()
def outputs_of(model: nn.Module, names: Iterable[str], x_BCTHW: Tensor) -> dict[str, Tensor]:
    """The named modules' outputs in one forward pass, as the model is.

    Raises:
        ValueError: if a name is not a module's, or the model does not call it.
    """
    modules = dict(model.named_modules())
    found: dict[str, Tensor] = {}
    names = list(names)
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"the model has no module {', '.join(unknown)}")

    def keep(name: str) -> object:
        return modules[name].register_forward_hook(
            lambda module, inputs, output: found.update({name: output.detach()})
        )

    handles = [keep(name) for name in names]
    try:
        model(x_BCTHW)
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"the model does not call {', '.join(missing)}")
    return {name: found[name] for name in names}


def similarity(map_BCTHW: Tensor, reference_BCTHW: Tensor) -> Tensor:
    """How alike feature maps are to a reference of the same shape, [B], at most 1.

    Each channel is standardised by the reference's mean and deviation in its clip, so that none
    outweighs the others; then the cosine of the angle between both. 1: equal up to a factor.
    """
    mean, std = _moments(reference_BCTHW)
    a, b = (((x.double() - mean) / std).flatten(1) for x in (map_BCTHW, reference_BCTHW))
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


def share_on_motion(map_BTHW: Tensor, clip_BCTHW: Tensor, part: float = 0.1) -> Tensor:
    """How much of a map that is nowhere negative lies where the clip moves most, [B] in [0, 1].

    Motion is the absolute difference of a frame and the next (the last has the one before it),
    averaged over channels and over each of the map's cells. Of all cells of a clip `part` count as
    moving, those that move most. A map that is the same everywhere, or 0, gets `part`.

    Args:
        map_BTHW: of any size up to the clip's, [B, T', H', W'].
    """
    frames = clip_BCTHW.double().mean(1, keepdim=True)
    change = (frames[:, :, 1:] - frames[:, :, :-1]).abs()
    change = torch.cat([change, change[:, :, -1:]], 2)
    _, t, h, w = map_BTHW.shape
    motion_BP = adaptive_avg_pool3d(change, (t, h, w)).flatten(1)
    map_BP = map_BTHW.double().flatten(1)
    count = math.ceil(part * motion_BP.shape[1])
    chosen = motion_BP.topk(count, dim=1).indices
    total = map_BP.sum(1)
    share = map_BP.gather(1, chosen).sum(1) / total
    return share.where(total > 0, count / motion_BP.shape[1])


def _moments(x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
    std, mean = torch.std_mean(x_BCTHW.double(), dim=(2, 3, 4), keepdim=True, correction=0)
    # A channel that is constant has no direction to be like.
    return mean, std.where(std > 0, torch.inf)
