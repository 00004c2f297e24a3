"""One training step, the same one for a prediction and for a measurement."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.layers.plans import device_kind
from stdcf.memory.savers import Saver, learn
from stdcf.memory.savers.batch import Batch, Inputs, takes_clip_shape
from stdcf.memory.savers.company import no_scaler
from stdcf.memory.tracking.lives import tensors
from stdcf.stages.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from stdcf.stages.stage import Stage

T = TypeVar("T")
Loss = Callable[[Any, Any], Any]

LOSSES: dict[str, Loss] = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss}

AUTOCASTS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
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
            tensor like the output. Where the output is not a tensor, or `inputs` is given, a
            function gets the output and the batch (args, kwargs); a name goes by the output's
            `logits`. Several losses, in a list, tuple or mapping, are summed.
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9), or a function that makes any optimiser
            of the parameters; its own foreach and fused hold.
        autocast: None, bfloat16, or float16, which takes a GradScaler.
        memory_format: None or channels_last_3d, of the clip and of each 5-D parameter.
        stage: whose clip size, dilation and frozen parts apply.
        savers: see `stdcf.memory.savers`.
        inputs: gives (args, kwargs) of the model for a batch size, on the CPU; None is one clip. If
            it has a parameter `clip_shape` it gets [B, C, T, H, W] too, as the stage makes it.
    """

    num_classes: int | None = None
    loss: str | Loss = "cross_entropy"
    optimizer: str | Callable[..., torch.optim.Optimizer] = "adam"
    autocast: str | torch.dtype | None = None
    memory_format: str | torch.memory_format | None = None
    stage: "Stage | None" = None
    savers: Sequence[Saver] = ()
    inputs: Inputs | None = None

    def clip_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """What the stage makes of a full-size batch [B, C, T, H, W]."""
        shape = tuple(input_shape)
        if len(shape) != 5 or not all(isinstance(size, int) and size > 0 for size in shape):
            raise UserError(f"input_shape must be five sizes, B C T H W, not {input_shape!r}")
        return shape if self.stage is None else self.stage.clip_shape(shape)

    def batch(self, input_shape: Sequence[int] | int, device: torch.device) -> Batch:
        """What the model is called with: random clips, or what `inputs` gives.

        Args:
            input_shape: with `inputs` the batch's size, alone or first.

        Raises:
            UserError: for a shape of a clip that is none, or a stage that would change its size.
        """
        if self.inputs is None:
            if isinstance(input_shape, int):
                raise UserError("input_shape must be five sizes, B C T H W; inputs= takes a number")
            shape = self.clip_shape(input_shape)
            return Batch((torch.rand(shape, device=device),), size=shape[0])
        size = input_shape if isinstance(input_shape, int) else next(iter(input_shape), 0)
        if not isinstance(size, int) or size < 1:
            raise UserError(f"a batch's size must be at least 1, not {size!r}")
        if takes_clip_shape(self.inputs):
            shape = (size,) if isinstance(input_shape, int) else tuple(input_shape)
            return Batch.made(self.inputs, size, self.clip_shape(shape))
        if self.stage is not None and self.stage.relative_cost() != 1:
            raise UserError(
                f"stage {self.stage.name} changes the clip's size, and inputs= decides it: give "
                "inputs= a parameter clip_shape, which is [B, C, T, H, W] as the stage makes it"
            )
        return Batch.made(self.inputs, size)

    def build(
        self,
        model: nn.Module,
        input_shape: Sequence[int] | int | Batch,
        device: torch.device,
        foreach: bool | None = None,
        scaler: "Scaler | None" = None,
    ) -> "TrainingStep":
        """Puts the model into training, with an optimiser and a clip.

        Args:
            model: on the device already.
            input_shape: see `batch`, or a batch.
            foreach: the optimiser's own option; None is torch's default for the device.
            scaler: of losses in float16; None is torch's.

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
        given = input_shape
        batch = given if isinstance(given, Batch) else self.batch(given, device)
        batch = batch.map(lambda tensor: tensor.to(device))
        dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
        if len(dtypes) == 1 and self.inputs is None:
            # A model in half precision takes clips in it.
            dtype = dtypes.pop()
            batch = batch.map(lambda clip: clip.to(dtype))
        model.train()
        if self.stage is not None:
            from stdcf.stages.apply import apply_stage, set_training

            apply_stage(model, self.stage)
            set_training(model, self.stage)
        if layout is torch.channels_last_3d:
            from stdcf.stages.apply import to_channels_last

            to_channels_last(model)
            batch = batch.map(_channels_last)
        for saver in self.savers:
            saver.prepare(model)
            if saver.updates and autocast is torch.float16:
                raise UserError(no_scaler(saver))
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise UserError(
                "the model has no parameters to train: set requires_grad of some, or freeze less"
            )
        optimizer = make(trained)
        for group in optimizer.param_groups:
            # Where neither is asked for, torch goes by the device.
            if "foreach" in group and group["foreach"] is None and not group.get("fused"):
                group["foreach"] = foreach
        step = TrainingStep(model, optimizer, loss, autocast, batch, self.num_classes, self.savers)
        step.against_batch = callable(self.loss) and self.inputs is not None
        step.named_loss = not callable(self.loss)
        if autocast is torch.float16:
            step.scaler = scaler or torch.amp.GradScaler(device.type)
        return step


class Scaler(Protocol):
    """What a step asks of torch.amp.GradScaler."""

    def scale(self, outputs: Any) -> Any:
        """The loss, times the scale."""

    def step(self, optimizer: torch.optim.Optimizer) -> Any:
        """The optimiser's step, on gradients that are scaled back."""

    def update(self) -> Any:
        """The next scale."""


@dataclass
class TrainingStep:
    """Forward, loss, backward, optimiser step, gradients set to None.

    Attributes:
        inputs: what the model is called with.
        target: made to fit the output of the first step.
        against_batch: the loss takes the batch in the place of a target.
        named_loss: the loss is one of `LOSSES`.
        scaler: of the loss; None unless autocast is to float16.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Loss
    autocast: torch.dtype | None
    inputs: Batch
    num_classes: int | None = None
    savers: Sequence[Saver] = ()
    target: Tensor | None = None
    against_batch: bool = False
    named_loss: bool = True
    scaler: Scaler | None = None

    @property
    def clip_BCTHW(self) -> Tensor:  # noqa: N802
        """The clip; of several inputs the first."""
        return self.inputs.first

    @property
    def batch(self) -> list[Tensor]:
        """Every tensor that the model is called with, and the target."""
        target = [] if self.target is None else [self.target]
        return [*tensors(self.inputs.pair), *target]

    def warm_up(self) -> None:
        """The first step: it makes the optimiser's state, and the target from the output's shape.

        Raises:
            UserError: if `num_classes` is not what the model gives.
        """
        made: list[Tensor] = []

        def make_target(output: Any) -> Any:
            target = self.target_for(output)
            if isinstance(target, Tensor):
                made.append(target)
            return target

        self.learn(make_target)
        self.update()
        if made:
            is_clip = made[0].shape[1:] == self.clip_BCTHW.shape[1:]
            self.target = self.clip_BCTHW if is_clip else torch.cat(made)

    def __call__(self) -> None:
        """One ordinary step, after `warm_up`."""
        self.learn(self.target_for if self.target is None else None)
        self.update()

    def learn(self, make_target: Callable[[Any], Any] | None = None) -> None:
        """Forward and backward.

        Args:
            make_target: gives a target for an output where there is none yet.
        """
        scaler = self.scaler
        learn(
            self.model,
            self.inputs,
            self.target,
            self._loss,
            self.savers,
            optimizer=self.optimizer,
            autocast=self._autocast,
            weigh=(lambda loss: loss) if scaler is None else scaler.scale,
            make_target=None if self.against_batch else make_target,
        )

    def update(self) -> None:
        """The optimiser's step."""
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def make_state(self) -> None:
        """The optimiser's state, by a step on gradients of zero."""
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self) -> None:
        """One pass in evaluation, without gradients; the model trains again after it."""
        self.model.eval()
        try:
            with torch.no_grad(), self._autocast():
                self.model(*self.inputs.args, **self.inputs.kwargs)
        finally:
            self.model.train()

    def target_for(self, output: Any) -> Any:
        """A target such as the loss takes for this output; the batch where that is not a tensor.

        Raises:
            UserError: if `num_classes` is not what the model gives, or a named loss gets no tensor.
        """
        if self.named_loss:
            output = logits(output)
        elif not isinstance(output, Tensor):
            return self.inputs.pair
        if output.ndim == 2:
            batch, given = output.shape
            if self.num_classes not in (None, given):
                raise UserError(
                    f"num_classes is {self.num_classes}, but the model gives {given}: give "
                    "the same number to both"
                )
            return torch.randint(given, (batch,), device=output.device)
        if output.shape[1:] == self.clip_BCTHW.shape[1:]:
            return self.clip_BCTHW[: len(output)]
        return torch.rand_like(output, dtype=torch.float32)

    def _loss(self, output: Any, target: Any) -> Any:
        return self.loss(logits(output) if self.named_loss else output, target)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device_kind(self.clip_BCTHW), self.autocast)


def logits(output: Any) -> Tensor:
    """What a named loss is taken of: the output, or its `logits`.

    Raises:
        UserError: if the output is not a tensor and has none.
    """
    found = output.get("logits") if isinstance(output, Mapping) else output
    found = getattr(found, "logits", found)
    if isinstance(found, Tensor):
        return found
    raise UserError(
        f"the model gives a {type(output).__name__}; a named loss takes one tensor, [B, classes] "
        "or a clip, or its .logits: give loss= a function of the output and the batch"
    )


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.ndim != 5:
        return tensor
    # By its strides too where there is one channel, which is what convolutions go by.
    return torch.empty_like(tensor, memory_format=torch.channels_last_3d).copy_(tensor)


def _choose(option: str, choices: dict[str, T], value: object) -> T:
    """A choice by its name, or itself."""
    if isinstance(value, str) and value in choices:
        return choices[value]
    for choice in choices.values():
        if value is choice:
            return choice
    raise UserError(f"{option} must be one of {', '.join(choices)}, not {value!r}")
