"""Dilating every 3D convolution of a model (§2.3)."""

import copy
from collections.abc import Callable, Iterable

from torch import nn

from stdcf.layers.dense import other_forward, padded_elsewhere, tensors_of
from stdcf.layers.padding import Triple, extent, pad_sides, padding_for_extent, triple


def set_dilation(
    model: nn.Module, temporal: int = 2, spatial: int = 1, skip: Iterable[str] = ()
) -> "Dilated":
    """Sets the dilation of a model's spatiotemporal convolutions; output sizes stay.

    The numbers are absolute, not factors. A module with its own ``set_dilation(temporal, spatial)``
    is asked and not entered; of the rest, each nn.Conv3d with kT > 1 and kH·kW > 1 is changed, but
    for those that something else pads or cuts: subclasses with a forward or a padding of their own
    (causal convolutions), convolutions with hooks, after a padding layer, in a module whose forward
    pads, or without the padding that keeps the number of frames and in a module whose forward puts
    tensors together or slices them. Their outputs would see other frames than before. The latter
    holds for convolution layers with a ``set_dilation`` of their own, too.

    Args:
        skip: names of modules, as in ``named_modules``, that stay, with all that is inside them. A
            model's attribute ``dilation_skip`` adds to them (a stem of its own, for instance), also
            where that model is part of another.

    Returns:
        The names of the modules that were set, a list whose attribute ``skipped`` names those that
        are padded by something else, each with the reason.

    Raises:
        ValueError: if a dilation is below 1, ``skip`` names no module, or no whole padding keeps a
            layer's output size (an even kernel); nothing is changed then.
    """
    if temporal < 1 or spatial < 1:
        raise ValueError(
            f"dilations must be at least 1, not temporal={temporal}, spatial={spatial}"
        )
    modules = dict(model.named_modules())
    skipped = set(skip)
    for name, module in modules.items():
        own = getattr(module, "dilation_skip", ())
        skipped.update(f"{name}.{inner}" if name else inner for inner in own)
    unknown = skipped - modules.keys()
    if unknown:
        raise ValueError(f"skip names no module of the model: {', '.join(sorted(unknown))}")

    padded: dict[str, str] = {}
    setters = list(_setters(model, "", skipped, padded, []))
    for name, layer, setter in setters:
        # Tried on a copy that shares the tensors, so that a failure leaves the model as it was.
        shared = tensors_of(layer)
        trial = copy.deepcopy(layer, {id(tensor): tensor for tensor in shared})
        try:
            setter(trial, temporal, spatial)
        except ValueError as error:
            raise ValueError(f"{name or type(layer).__name__}: {error}") from error
    for _, layer, setter in setters:
        setter(layer, temporal, spatial)
    return Dilated([name for name, _, _ in setters], padded)


class Dilated(list[str]):
    """Names of modules whose dilation was set.

    Attributes:
        skipped: convolutions that stayed as they were, and why.
    """

    def __init__(self, names: Iterable[str], skipped: dict[str, str]) -> None:
        super().__init__(names)
        self.skipped = skipped


Setter = Callable[[nn.Module, int, int], None]


def _setters(
    module: nn.Module,
    name: str,
    skipped: set[str],
    padded: dict[str, str],
    parents: list[nn.Module],
) -> Iterable[tuple[str, nn.Module, Setter]]:
    if name and name in skipped:
        return
    if callable(getattr(module, "set_dilation", None)):
        reason = padded_elsewhere(parents, module) if _is_convolution(module) else None
        if reason is None:
            yield name, module, _ask
        else:
            padded[name] = reason
    elif isinstance(module, nn.Conv3d):
        k_t, k_h, k_w = module.kernel_size
        if k_t == 1 or k_h * k_w == 1:
            return
        reason = other_forward(module) or padded_elsewhere(parents, module)
        if reason is None:
            yield name, module, _set_conv3d
        else:
            padded[name] = reason
    else:
        for child_name, child in module.named_children():
            path = f"{name}.{child_name}" if name else child_name
            yield from _setters(child, path, skipped, padded, [*parents, module])


def _is_convolution(module: nn.Module) -> bool:
    """Whether a module with its own set_dilation goes by nn.Conv3d's arguments."""
    return all(isinstance(getattr(module, n, None), tuple) for n in ("kernel_size", "padding"))


def _ask(layer: nn.Module, temporal: int, spatial: int) -> None:
    layer.set_dilation(temporal, spatial)  # type: ignore[operator]


def _set_conv3d(layer: nn.Module, temporal: int, spatial: int) -> None:
    assert isinstance(layer, nn.Conv3d)
    dilate_conv3d(layer, (temporal, spatial, spatial))


def dilate_conv3d(conv: nn.Conv3d, dilation: Triple) -> None:
    """Sets one nn.Conv3d's dilation in place; the padding follows.

    Raises:
        ValueError: if no whole padding keeps the output size; nothing is changed then.
    """
    kernel_size: Triple = tuple(conv.kernel_size)  # type: ignore[assignment]
    padding = dilated_padding(conv, dilation)
    conv.padding, conv.dilation = padding, dilation
    # nn.Conv3d keeps what F.pad needs for "same" and for padding modes beside the padding itself.
    sides = pad_sides(padding, kernel_size, dilation)
    conv._reversed_padding_repeated_twice = [amount for side in reversed(sides) for amount in side]


def dilated_padding(conv: nn.Conv3d, dilation: Triple) -> str | Triple:
    """The padding with which an nn.Conv3d keeps its output size at another dilation.

    Raises:
        ValueError: if that is not a whole number, or a dilation is below 1.
    """
    kernel_size: Triple = tuple(conv.kernel_size)  # type: ignore[assignment]
    old = extent(kernel_size, tuple(conv.dilation))  # type: ignore[arg-type]
    new = extent(kernel_size, triple(dilation, "dilation"))
    return padding_for_extent(conv.padding, old, new)  # type: ignore[arg-type]
