"""Which modules checkpoint runs again."""

from collections.abc import Iterator

from torch import nn
from torch.jit import ScriptModule

from stdcf.errors import UserError


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that are checkpointed, by name; one that has two names stands under both.

    These are the composite members of every nn.Sequential and nn.ModuleList, and each nn.Sequential
    of plain layers (a stem); nothing within a block is a block, and neither is a convolution layer
    that is made of several.

    Raises:
        UserError: if there is none, or one is scripted.
    """
    found = dict(_blocks(model, ""))
    if isinstance(model, ScriptModule):
        found = {type(model).__name__: model}
    if not found:
        raise UserError(
            f"checkpoint finds no blocks in {type(model).__name__}: it takes the members of "
            "nn.Sequential and nn.ModuleList that are made of several layers; leave it out, or "
            "name modules in a plan"
        )
    scripted = [name for name, block in found.items() if isinstance(block, ScriptModule)]
    if scripted:
        raise UserError(
            f"checkpoint cannot run the scripted {scripted[0]} again: give it the model as it was "
            "before torch.jit.script"
        )
    return found


def _blocks(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    # Not named_children, which leaves out a second name.
    for name, child in module._modules.items():
        child_path = f"{path}.{name}" if path else name
        if child is None or not _is_composite(child):
            continue
        row = isinstance(child, nn.Sequential | nn.ModuleList)
        if row and any(_is_composite(grandchild) for grandchild in child.children()):
            yield from _blocks(child, child_path)
        elif isinstance(module, nn.Sequential | nn.ModuleList) or isinstance(child, nn.Sequential):
            yield child_path, child
        else:
            yield from _blocks(child, child_path)


def _is_composite(module: nn.Module) -> bool:
    # A weight's parametrisation (weight norm, spectral norm) makes no layer of several.
    layers = [name for name, _ in module.named_children() if name != "parametrizations"]
    return bool(layers) and not callable(getattr(module, "parts", None))
