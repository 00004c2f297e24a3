"""Where in a training step something happened."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """Where in a training step something happened.

    Attributes:
        phase: "forward", "backward" or "optimizer".
        operator: the operator that had just run, such as "aten.convolution".
        module: the innermost module's name in the model, "" outside of any module.
    """

    phase: str
    operator: str
    module: str

    def __str__(self) -> str:
        where = f" in {self.module}" if self.module else ""
        return f"{self.phase}, {self.operator}{where}"
