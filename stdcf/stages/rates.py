"""Parameter groups: rates of atoms, biases and the classifier, and what is not decayed.

An atom has about unit size, while the coefficients are small. A step of Adam is about as long as
its rate, so at 1e-3 it moves an atom by a thousandth of itself. docs/layer.md shows the numbers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from stdcf.errors import UserError

ATOMS = ("spatial_atoms", "temporal_atoms")
NO_DECAY = ("bias", "norm", "atoms")
# What networks call their classifier.
HEADS = ("fc", "head")

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


def param_groups(
    model: nn.Module,
    lr: float,
    *,
    atom_lr: float | None = None,
    bias_lr: float = 1.0,
    head_lr: float = 1.0,
    weight_decay: float = 0.0,
    no_decay: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """All parameters of a model, in groups for any torch optimiser.

    Each group has "params", "lr", "weight_decay" and "lr_scale", its factor of `lr`: a schedule
    sets ``group["lr"] = rate * group["lr_scale"]``. Parameters keep the model's order within a
    group. A parameter that stands in several modules is in one group, by its first name.

    Args:
        lr: learning rate of everything but the atoms.
        atom_lr: factor of `lr` for the spatial and temporal atoms of every layer that has them, by
            the names of their parameters, `spatial_atoms` and `temporal_atoms`; None is 1.
        bias_lr: factor for biases outside of normalisation layers.
        head_lr: factor for the classifier, the model's own module `fc` or `head`; its bias has both
            factors.
        weight_decay: of everything that `no_decay` does not name.
        no_decay: "bias", "norm" (all parameters of normalisation layers) and "atoms".

    Raises:
        UserError: for a factor that is not above 0, an unknown name in `no_decay`, or a `head_lr`
            for a model without such a module.
    """
    factors = {"atoms": 1.0 if atom_lr is None else atom_lr, "bias": bias_lr}
    for name, factor in (("atom_lr", atom_lr), ("bias_lr", bias_lr), ("head_lr", head_lr)):
        if factor is not None and not factor > 0:
            raise UserError(f"{name} must be above 0, not {factor!r}")
    if head_lr != 1 and not any(name in HEADS for name, _ in model.named_children()):
        raise UserError(
            f"head_lr is for the module {' or '.join(HEADS)}, which {type(model).__name__} lacks"
        )
    unknown = [name for name in no_decay if name not in NO_DECAY]
    if unknown:
        raise UserError(f"no_decay takes {', '.join(NO_DECAY)}, not {', '.join(unknown)}")
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for kind, in_head, parameter in _kinds(model):
        scale = factors.get(kind, 1.0) * (head_lr if in_head else 1.0)
        decay = 0.0 if kind in no_decay else weight_decay
        group = groups.setdefault(
            (scale, decay),
            {"params": [], "lr": lr * scale, "weight_decay": decay, "lr_scale": scale},
        )
        group["params"].append(parameter)
    return list(groups.values())


def _kinds(model: nn.Module) -> Iterator[tuple[str, bool, nn.Parameter]]:
    """Each parameter once, in the model's order, and whether it is the classifier's.

    The kinds are "atoms", "norm", "bias" and "weight".
    """
    owners = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        place, _, own_name = name.rpartition(".")
        if own_name in ATOMS:
            kind = "atoms"
        elif isinstance(owners[place], _NORMS):
            kind = "norm"
        elif own_name == "bias" or own_name.endswith("_bias"):
            kind = "bias"
        else:
            kind = "weight"
        yield kind, name.partition(".")[0] in HEADS, parameter
