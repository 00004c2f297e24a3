"""ImageNet weights of the 2D ResNet-50, and 3D networks that start from them."""

from pathlib import Path

import torch
from torch import Tensor, nn

from stdcf.errors import UserError

# False, True for the weights that timm distributes, or a file of one's own.
Pretrained = bool | str | Path

# torchvision's first weights for He et al.'s layout, from which TSN, TSM, TRN and I3D start too.
_REPOSITORY, _FILE = "timm/resnet50.tv_in1k", "model.safetensors"
_SECONDS_TO_CONNECT = 10


def load_imagenet(model: nn.Module, source: Pretrained) -> None:
    """Starts a 3D network from ResNet-50's ImageNet weights (Carreira and Zisserman, 2017).

    Each 2D filter is repeated over time and divided by the kernel's frames, so a clip of one
    repeated frame gives what the frame gives in 2D (away from the clip's ends, where frames of
    zeros are padded). A layer with a method ``inflate(weight_OCHW)`` is asked; of the rest, each
    nn.Conv3d and nn.Conv2d is filled. Modules that ResNet-50 lacks, and the classifier, stay.

    Args:
        model: whose modules are named as timm's resnet50.
        source: True, or a file (see `imagenet_weights`).

    Raises:
        UserError: if the weights cannot be had, or a layer has no way to take them.
    """
    channels = model.get_submodule("conv1").in_channels
    assert isinstance(channels, int)
    with torch.no_grad():
        for name, value in imagenet_weights(source, channels).items():
            owner, _, attribute = name.rpartition(".")
            module = model.get_submodule(owner)
            if value.ndim == 4:
                _inflate(owner, module, value)
            else:
                getattr(module, attribute).copy_(value)


def _inflate(name: str, layer: nn.Module, weight_OCHW: Tensor) -> None:
    own = getattr(layer, "inflate", None)
    if callable(own):
        own(weight_OCHW)
    elif isinstance(layer, nn.Conv3d):
        frames = layer.kernel_size[0]
        layer.weight.copy_(weight_OCHW.unsqueeze(2).expand_as(layer.weight) / frames)
    elif isinstance(layer, nn.Conv2d):
        layer.weight.copy_(weight_OCHW)
    else:
        raise UserError(
            f"{name}: {type(layer).__name__} cannot start from 2D weights; give it a method "
            "inflate(weight_OCHW), or leave pretrained out"
        )


def imagenet_weights(source: Pretrained, in_channels: int = 3) -> dict[str, Tensor]:
    """ResNet-50's ImageNet weights without its classifier, by timm's names.

    Args:
        source: True for timm's (from its cache, else over the network), or a file by torch.save or
            safetensors with timm's or torchvision's names.
        in_channels: of the first convolution; its filters are summed for 1 and repeated otherwise.

    Raises:
        UserError: if they are not reachable or not those of a ResNet-50.
    """
    from timm.models import adapt_input_conv

    path = Path(source) if isinstance(source, str | Path) else _from_timm()
    weights = {k: v for k, v in _read(path).items() if _counts(k)}
    _check(path, weights)
    return weights | {"conv1.weight": adapt_input_conv(in_channels, weights["conv1.weight"])}


def _from_timm() -> Path:
    import huggingface_hub as hub

    cached = hub.try_to_load_from_cache(_REPOSITORY, _FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        # Asked once beforehand, since the download tries for a minute before it gives up.
        hub.get_hf_file_metadata(hub.hf_hub_url(_REPOSITORY, _FILE), timeout=_SECONDS_TO_CONNECT)
        return Path(hub.hf_hub_download(_REPOSITORY, _FILE))
    except Exception as error:
        raise UserError(
            f"no ImageNet weights from huggingface.co/{_REPOSITORY} ({_line(error)}); go online, "
            "or give a file of ResNet-50 weights as pretrained=FILE"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    if not path.is_file():
        raise UserError(f"no file {path} with ImageNet weights; give pretrained=FILE or True")
    try:
        return load_state_dict(str(path), weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({_line(error)}); give a file by torch.save or "
            "safetensors that holds a ResNet-50's state_dict"
        ) from error


def _check(path: Path, weights: dict[str, Tensor]) -> None:
    import timm

    with torch.device("meta"):
        expected = timm.create_model("resnet50").state_dict()
    shapes = {k: v.shape for k, v in expected.items() if _counts(k)}
    given = {k: getattr(v, "shape", None) for k, v in weights.items()}
    wrong = [k for k in shapes | given if given.get(k) != shapes.get(k)]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(
            f"{path} holds no ResNet-50: {wrong[0]}{more} missing, unknown or of another shape; "
            "give a state_dict with timm's or torchvision's names"
        )


def _counts(name: str) -> bool:
    # Older files lack the number of batches, and only BatchNorm without momentum reads it.
    return not name.startswith("fc.") and not name.endswith("num_batches_tracked")


def _line(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    return f"{type(error).__name__}: {first:.120}" if first else type(error).__name__
