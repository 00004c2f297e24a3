"""How networks start that are trained from scratch: all of them alike, whatever their layers."""

from collections.abc import Iterable

from torch import nn
from torch.nn import init

# PySlowFast's, of the classifier.
HEAD_STD = 0.01


def initialise(
    network: nn.Module, last_norms: Iterable[nn.Module] = (), *, skip: Iterable[nn.Module] = ()
) -> None:
    """Draws a residual network's parameters as PySlowFast and ResNet's authors do.

    Filters are normal with variance 2 / fan_out (He et al., 2015) and biases of convolutions 0;
    the last BatchNorm of each block begins at 0, so that a block begins as its shortcut (Goyal et
    al., 2017); the classifier is N(0, 0.01) with biases of 0. A layer with a method
    ``reset_by_fan_out()`` is asked, and gives its dense filter that variance. Of other layers only
    nn.Conv2d and nn.Conv3d are drawn; one of a kind of its own (with `parts` or `set_dilation`)
    stays as it drew itself.

    Args:
        last_norms: of each residual branch.
        skip: modules that start in a way of their own.
    """
    _draw(network, set(skip))
    for norm in last_norms:
        init.zeros_(norm.weight)  # type: ignore[arg-type]


def draw_head(linear: nn.Linear, std: float = HEAD_STD) -> nn.Linear:
    """Normal weights, biases of 0; the same module."""
    init.normal_(linear.weight, std=std)
    init.zeros_(linear.bias)
    return linear


def draw_filter(conv: nn.Conv2d | nn.Conv3d) -> None:
    """Normal with variance 2 / fan_out, bias 0."""
    init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        init.zeros_(conv.bias)


def _draw(module: nn.Module, skip: set[nn.Module]) -> None:
    own = getattr(module, "reset_by_fan_out", None)
    if module in skip:
        return
    if callable(own):
        own()
    elif isinstance(module, nn.Conv2d | nn.Conv3d):
        draw_filter(module)
    elif isinstance(module, nn.Linear):
        draw_head(module)
    elif not hasattr(module, "parts") and not hasattr(module, "set_dilation"):
        for child in module.children():
            _draw(child, skip)
