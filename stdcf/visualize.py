"""What a network's convolutions give: their outputs by name, and how alike two sets of them are."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def outputs_of(model: nn.Module, names: Iterable[str], x_BCTHW: Tensor) -> dict[str, Tensor]:
    """The named modules' outputs in one forward pass, as the model is.

    Raises:
        ValueError: if a name is no module's, or the model does not call it.
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


def _moments(x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
    std, mean = torch.std_mean(x_BCTHW.double(), dim=(2, 3, 4), keepdim=True, correction=0)
    # A channel that is constant has no direction to be like.
    return mean, std.where(std > 0, torch.inf)
