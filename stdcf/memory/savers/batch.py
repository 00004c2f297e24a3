"""What a model is called with: any arguments, and how they are split into micro-batches."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from torch import Tensor

from stdcf.errors import UserError
from stdcf.memory.savers.trees import batch_size, map_tensors, part_of
from stdcf.memory.tracking.lives import tensors

# Of a batch: the arguments of the model and its keyword arguments.
Inputs = Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Batch:
    """The arguments of a model: tensors, and trees of them, with the batch's size first.

    Attributes:
        size: how many clips, 0 where that is not known; a tensor whose first dimension is that long
            is split with the batch, and so is a list with an item a clip.
        given: what a loss gets beside the output where it is something else than (args, kwargs),
            such as a loader's batch.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    given: Any = None

    @classmethod
    def made(cls, inputs: Inputs, size: int, clip_shape: Sequence[int] | None = None) -> "Batch":
        """What `inputs` gives for a batch size.

        Args:
            clip_shape: [B, C, T, H, W], for an `inputs` that has a parameter of this name.

        Raises:
            UserError: if that is not a pair of arguments and keyword arguments, or holds no tensor.
        """
        if takes_clip_shape(inputs):
            if clip_shape is None:
                raise UserError("inputs= takes a clip_shape: give five sizes, B C T H W")
            return cls.of_pair(inputs(size, clip_shape=tuple(clip_shape)), size)
        return cls.of_pair(inputs(size), size)

    @classmethod
    def of_pair(cls, pair: Any, size: int | None = None, given: Any = None) -> "Batch":
        """From (args, kwargs).

        Args:
            size: None takes the first tensor's first dimension, not one in a list.

        Raises:
            UserError: as `made` does.
        """
        two = isinstance(pair, tuple | list) and len(pair) == 2
        if not two or not isinstance(pair[0], tuple | list) or not isinstance(pair[1], Mapping):
            raise UserError(
                f"a model is called with a pair (args, kwargs), not {_in_words(pair)}: let inputs= "
                "give it for a batch, as ((clip,), {'labels': labels})"
            )
        batch = cls(tuple(pair[0]), dict(pair[1]), size or 0, given)
        if next(tensors(batch.pair), None) is None:
            raise UserError("the batch that the model gets holds no tensor: let inputs= give one")
        if size is None:
            size = batch_size(batch.args)
            size = batch_size(batch.kwargs) if size is None else size
        return replace(batch, size=size or 0)

    @property
    def pair(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """(args, kwargs)."""
        return self.args, self.kwargs

    @property
    def for_loss(self) -> Any:
        """What a loss of output and batch gets."""
        return self.pair if self.given is None else self.given

    @property
    def first(self) -> Tensor:
        """The first clip [B, C, T, H, W] or, where there is none, the first tensor."""
        found = list(tensors(self.pair))
        return next((tensor for tensor in found if tensor.ndim == 5), found[0])

    def split(self, parts: int) -> list["Batch"]:
        """As many parts, as torch.tensor_split cuts them; what is of no batch is in each.

        Raises:
            UserError: if nothing in it has the batch's size, or a list could be read in two ways.
        """
        if parts == 1:
            return [self]
        if not self.size:
            raise UserError(
                "a batch of unknown size cannot be learnt in parts: give learn its size, with "
                "inputs= to make it"
            )
        cuts = cuts_of(self.size, parts)
        # The arguments themselves are not a list with an item a clip, however many there are.
        found = [[part_of(item, self.size, cut) for item in self.args] for cut in cuts]
        named = [{k: part_of(v, self.size, cut) for k, v in self.kwargs.items()} for cut in cuts]
        cut_to = [id(tensor) for tensor in tensors([*found[0], *named[0].values()])]
        if cut_to == [id(tensor) for tensor in tensors([*self.args, *self.kwargs.values()])]:
            raise UserError(
                f"a batch of {self.size} cannot be learnt in parts: nothing that the model gets "
                f"has {self.size} as its first dimension"
            )
        return [
            Batch(tuple(args), kwargs, cut.stop - cut.start)
            for args, kwargs, cut in zip(found, named, cuts, strict=True)
        ]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same with every tensor changed."""
        args, kwargs = map_tensors(change, self.pair)
        return replace(self, args=args, kwargs=kwargs)


def _in_words(pair: Any) -> str:
    def kind(item: Any) -> str:
        return "Tensor" if isinstance(item, Tensor) else type(item).__name__

    return f"({', '.join(map(kind, pair))})" if isinstance(pair, tuple) else f"a {kind(pair)}"


def cuts_of(size: int, parts: int) -> list[slice]:
    """Where torch.tensor_split cuts."""
    least, more = divmod(size, parts)
    starts = [index * least + min(index, more) for index in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def takes_clip_shape(inputs: Inputs) -> bool:
    """Whether an `inputs` is to know the clip's shape [B, C, T, H, W], which stages change."""
    try:
        return "clip_shape" in inspect.signature(inputs).parameters
    except (TypeError, ValueError):
        return False


def total_loss(value: Any) -> Tensor:
    """The sum of what a loss function gives: one loss, or several in a list, tuple or mapping.

    Raises:
        UserError: if one of them is not a tensor of a single number.
    """
    if isinstance(value, Tensor):
        losses = [value]
    elif isinstance(value, Mapping):
        losses = list(value.values())
    else:
        losses = list(value) if isinstance(value, list | tuple) else []
    for loss in losses:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise UserError(f"loss= must give tensors of one number, to be summed; one is {shape}")
    if not losses:
        raise UserError(
            f"loss= must give one number, or several in a list or dict, not {type(value).__name__}"
        )
    total: Tensor = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total
