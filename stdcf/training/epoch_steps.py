"""The steps of an epoch: how many clips each takes, of which size, and which step is measured."""

from collections.abc import Sequence
from itertools import cycle, pairwise
from math import prod

from stdcf.stages.stage import Stage


class EpochSteps:
    """What the steps of each epoch of a stage train on.

    Args:
        batch_size: the run's.
        clips: of an epoch.
        shape: of a full-size clip, [C, T, H, W].
    """

    def __init__(self, stage: Stage, batch_size: int, clips: int, shape: Sequence[int]) -> None:
        self._stage, self._members = stage, stage.members()
        self._whole = [member.batch_of(batch_size) for member in self._members]
        stops = [0]
        for size in cycle(self._whole):
            if stops[-1] >= clips:
                break
            stops.append(min(stops[-1] + size, clips))
        self._starts, self.sizes = stops, [b - a for a, b in pairwise(stops)]
        shapes = [member.clip_shape((batch_size, *shape)) for member in self._members]
        # Of as many values the larger clips.
        self._largest = max(
            range(len(shapes)), key=lambda place: (prod(shapes[place]), shapes[place][-1])
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def stage_at(self, step: int) -> Stage:
        """As which a step's clips are prepared."""
        return self._members[step % len(self._members)]

    def start(self, step: int) -> int:
        """The step's first clip, in the epoch's order."""
        return self._starts[step]

    def measured(self) -> int:
        """Counted over the stage's epochs: the first step with a whole batch of the largest clips
        and the optimiser's state; where there is none, the last."""
        last = self._stage.epochs * len(self) - 1
        return next((n for n in range(1, last + 1) if self._is_whole(n % len(self))), last)

    def _is_whole(self, step: int) -> bool:
        place = step % len(self._members)
        return place == self._largest and self.sizes[step] == self._whole[place]
