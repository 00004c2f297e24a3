"""A training recipe: what decides a network's accuracy beside the network and the data."""

import math
from typing import Any

from pydantic import Field, PositiveInt

from stdcf.frozen import Frozen
from stdcf.stages.stage import Stage, full_size

# How TSN's authors crop (Wang et al., 2016), and after them those of TRN, TSM and TIN.
MULTI_SCALE = [1, 0.875, 0.75, 0.66]


class Recipe(Frozen):
    """A network's training on one data set, as a source has it.

    Attributes:
        source: repository and commit with the file, or a paper's section.
        differs: what is done otherwise here, and why; a sentence each.
        stage: full-size learning by the source's own figures.
        batch_size: clips a step, for which the stage's rate is.
        dropout: before the classifier.
        data: options of the data set where they are not its own: sampling and crops. Half of
            Kinetics' clips are mirrored, and none of Something-Something's, whose labels have
            directions.
        starts_from: "imagenet", "kinetics400" (the same network trained on it) or
            "kinetics400-tsm_r50" (TSM's network trained on it); None: from scratch.
    """

    source: str
    differs: tuple[str, ...] = ()
    stage: Stage
    batch_size: PositiveInt
    dropout: float = Field(ge=0, lt=1)
    data: dict[str, Any] = {}
    starts_from: str | None = None

    def stages(self, epochs: int | None = None, batch_size: int | None = None) -> tuple[Stage, ...]:
        """Full-size learning, for another number of epochs or another batch if asked for.

        Warm-up and milestones keep their share of the epochs, and the rate its share of the batch.
        """
        epochs = epochs or self.stage.epochs
        scale = epochs / self.stage.epochs
        falls = (math.ceil(milestone * scale) for milestone in self.stage.milestones)
        return (
            self.stage.changed(
                epochs=epochs,
                lr=self.stage.lr * (batch_size or self.batch_size) / self.batch_size,
                warmup_epochs=int(self.stage.warmup_epochs * scale),
                milestones=tuple(sorted({fall for fall in falls if fall < epochs})),
            ),
        )


def sgd(**options: Any) -> Stage:
    """One full-size stage with SGD and momentum 0.9; see `Stage` for the options."""
    return full_size(optimizer="sgd", **options)[0]


# Of PySlowFast, and of the Caffe2 code of non-local networks before it: BatchNorm's parameters are
# not decayed, and its statistics are taken anew from 200 batches before a test.
PYSLOWFAST: dict[str, Any] = {"nesterov": True, "no_decay": ("norm",), "precise_batches": 200}
# Its rates: from a tenth up to the cosine, which begins with the training.
PYSLOWFAST_RATES: dict[str, Any] = {
    "schedule": "cosine",
    "per_step": True,
    "warmup_start": 0.1,
    "cosine_from_start": True,
}
# The policies of TSN's code: weights alone are decayed, biases learn at twice the rate.
TSN_GROUPS: dict[str, Any] = {"no_decay": ("bias", "norm"), "bias_lr": 2.0, "clip_norm": 20.0}
# With `fc_lr5`, of TSM's and TIN's: the classifier at five times the rate, its bias at ten.
TSM_GROUPS: dict[str, Any] = {**TSN_GROUPS, "head_lr": 5.0}
