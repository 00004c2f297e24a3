"""Which parameters of a layer are spatial, temporal or joint."""

from collections.abc import Iterator

from torch import nn

PARTS = ("spatial", "temporal", "joint")


def parts_of(module: nn.Module) -> dict[str, list[nn.Parameter]] | None:
    """The convolution filters of one layer, sorted into `PARTS`; None if it is no 3D convolution.

    A layer says so itself by a method ``parts()``. An ``nn.Conv3d`` without one couples space and
    time, so its weight is "joint". Biases belong to no part.
    """
    own = getattr(module, "parts", None)
    if callable(own):
        return own()
    if isinstance(module, nn.Conv3d):
        return {"spatial": [], "temporal": [], "joint": [module.weight]}  # type: ignore[list-item]
    return None


def layers_with_parts(model: nn.Module) -> Iterator[tuple[str, dict[str, list[nn.Parameter]]]]:
    """Name and parts of every 3D convolution layer; a layer that has ``parts()`` is not entered."""
    entered: set[str] = set()
    for name, module in model.named_modules():
        if any(name.startswith(f"{outer}.") or outer == "" for outer in entered):
            continue
        parts = parts_of(module)
        if parts is not None:
            entered.add(name)
            yield name, parts
