"""Grad-CAM by captum: how much each place of a layer speaks for the predicted class."""

import torch
from torch import Tensor, nn

from stdcf.errors import UserError


def gradcam(model: nn.Module, layer: str, x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient-weighted class activation maps (Selvaraju et al., ICCV 2017).

    Args:
        layer: name of a module whose output is [B, C, T, H, W].
        x_BCTHW: clips as the model takes them, which must be in eval mode.

    Returns:
        Maps of the class with the highest score, nowhere negative, [B, T', H', W'] of the layer's
        own size, and the probabilities [B, K].

    Raises:
        UserError: where captum is missing, the model has no such module, or its output is of
            another kind.
    """
    try:
        from captum.attr import LayerGradCam
    except ModuleNotFoundError as error:
        raise UserError("Grad-CAM needs captum: pip install captum") from error

    modules = dict(model.named_modules())
    if layer not in modules:
        last = ", ".join([name for name in modules if name][-5:])
        raise UserError(f"the model has no module {layer!r}; its last ones are {last}")
    with torch.no_grad():
        scores_BK = model(x_BCTHW).float().softmax(1)
    # The input needs no gradient of its own, but the layer must be part of a graph.
    cam = LayerGradCam(model, modules[layer]).attribute(
        x_BCTHW.detach().requires_grad_(), target=scores_BK.argmax(1), relu_attributions=True
    )
    if not isinstance(cam, Tensor) or cam.dim() != 5:
        raise UserError(f"module {layer!r} gives no feature maps [B, C, T, H, W]")
    return cam[:, 0].detach().float(), scores_BK
