"""One training step, the same one for a prediction and for a measurement."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.layers.plans import device_kind
from stdcf.memory.savers import Saver, learn
from stdcf.stages.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from stdcf.stages.stage import Stage

T = TypeVar("T")
Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss}

AUTOCASTS = {"bfloat16": torch.bfloat16}
LAYOUTS = {
    "contiguous_format": torch.contiguous_format,
    "channels_last_3d": torch.channels_last_3d,
}


@dataclass(frozen=True)
class StepOptions:
    """What a training step is made of; the arguments that `predict_peak` and `measure_peak` share.

    Attributes:
        num_classes: what the model must give, and the range of the labels; None: as it gives.
        loss: "cross_entropy", "mse" or a function of the model's output and a target. The target is
            labels [B] for an output [B, classes], the clip for an output of its shape, else a
            tensor like the output.
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9), or a function that makes any optimiser
            of the parameters; its own foreach and fused hold.
        autocast: None or bfloat16.
        memory_format: None or channels_last_3d, of the clip and of each 5-D parameter.
        stage: whose clip size, dilation and frozen parts apply.
        savers: see `stdcf.memory.savers`.
    """

    num_classes: int | None = None
    loss: str | Loss = "cross_entropy"
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adam"
    autocast: str | torch.dtype | None = None
    memory_format: str | torch.memory_format | None = None
    stage: "Stage | None" = None
    savers: Sequence[Saver] = ()

    def clip_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """What the stage makes of a full-size batch [B, C, T, H, W]."""
        shape = tuple(input_shape)
        if len(shape) != 5 or not all(isinstance(size, int) and size > 0 for size in shape):
            raise UserError(f"input_shape must be five sizes, B C T H W, not {input_shape!r}")
        return shape if self.stage is None else self.stage.clip_shape(shape)

    def build(
        self,
        model: nn.Module,
        input_shape: Sequence[int],
        device: torch.device,
        foreach: bool | None = None,
    ) -> "TrainingStep":
        """Puts the model into training, with an optimiser and a clip.

        Args:
            model: on the device already.
            foreach: the optimiser's own option; None is torch's default for the device.

        Raises:
            UserError: for an option that is not one of those above, or a model that has nothing
                to train.
        """
        loss = self.loss if callable(self.loss) else _choose("loss", LOSSES, self.loss)
        make: Callable[..., torch.optim.Optimizer]
        if callable(self.optimizer):
            make = self.optimizer
        else:
            # Learning rates change no memory.
            make = partial(_choose("optimizer", OPTIMIZERS, self.optimizer), lr=1e-3)
        autocast = None if self.autocast is None else _choose("autocast", AUTOCASTS, self.autocast)
        memory_format = self.memory_format or torch.contiguous_format
        layout = _choose("memory_format", LAYOUTS, memory_format)
        clip = torch.rand(self.clip_shape(input_shape), device=device)
        dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
        if len(dtypes) == 1:
            # A model in half precision takes clips in it.
            clip = clip.to(dtypes.pop())
        model.train()
        if self.stage is not None:
            from stdcf.stages.apply import apply_stage

            apply_stage(model, self.stage)
        if layout is torch.channels_last_3d:
            from stdcf.stages.apply import to_channels_last

            to_channels_last(model)
            # By its strides too where there is one channel, which is what convolutions go by.
            clip = torch.empty_like(clip, memory_format=layout).copy_(clip)
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise UserError("the model has no parameters to train")
        optimizer = make(trained)
        for group in optimizer.param_groups:
            # Where neither is asked for, torch goes by the device.
            if "foreach" in group and group["foreach"] is None and not group.get("fused"):
                group["foreach"] = foreach
        return TrainingStep(model, optimizer, loss, autocast, clip, self.num_classes, self.savers)


@dataclass
class TrainingStep:
    """Forward, loss, backward, optimiser step, gradients set to None.

    Attributes:
        target: made to fit the output of the first step.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    autocast: torch.dtype | None
    clip_BCTHW: Tensor  # noqa: N815
    num_classes: int | None = None
    savers: Sequence[Saver] = ()
    target: Tensor | None = None

    @property
    def batch(self) -> list[Tensor]:
        """Clip and target."""
        return [self.clip_BCTHW] if self.target is None else [self.clip_BCTHW, self.target]

    def warm_up(self) -> None:
        """The first step: it makes the optimiser's state, and the target from the output's shape.

        Raises:
            UserError: if `num_classes` is not what the model gives.
        """
        made: list[Tensor] = []

        def make_target(output: Tensor) -> Tensor:
            made.append(self.target_for(output))
            return made[-1]

        self.learn(make_target)
        self.update()
        is_clip = made[0].shape[1:] == self.clip_BCTHW.shape[1:]
        self.target = self.clip_BCTHW if is_clip else torch.cat(made)

    def __call__(self) -> None:
        """One ordinary step, after `warm_up`."""
        self.learn()
        self.update()

    def learn(self, make_target: Callable[[Tensor], Tensor] | None = None) -> None:
        """Forward and backward.

        Args:
            make_target: gives a target for an output where there is none yet.
        """
        learn(
            self.model,
            self.clip_BCTHW,
            self.target,
            self.loss,
            self.savers,
            autocast=self._autocast,
            make_target=make_target,
        )

    def update(self) -> None:
        """The optimiser's step."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def target_for(self, output: Tensor) -> Tensor:
        """A target such as the loss takes for this output.

        Raises:
            UserError: if `num_classes` is not what the model gives, or it gives no tensor.
        """
        if not isinstance(output, Tensor):
            raise UserError(
                f"the model gives a {type(output).__name__}; it must give one tensor, "
                "[B, classes] or a clip"
            )
        if output.ndim == 2:
            batch, given = output.shape
            if self.num_classes not in (None, given):
                raise UserError(f"num_classes is {self.num_classes}, but the model gives {given}")
            return torch.randint(given, (batch,), device=output.device)
        if output.shape[1:] == self.clip_BCTHW.shape[1:]:
            return self.clip_BCTHW[: len(output)]
        return torch.rand_like(output, dtype=torch.float32)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device_kind(self.clip_BCTHW), self.autocast)


def _choose(option: str, choices: dict[str, T], value: object) -> T:
    """A choice by its name, or itself."""
    if isinstance(value, str) and value in choices:
        return choices[value]
    for choice in choices.values():
        if value is choice:
            return choice
    raise UserError(f"{option} must be one of {', '.join(choices)}, not {value!r}")
