"""What training keeps and says of itself: where it stands, and what has been measured so far."""

from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Progress:
    """Where training stands, for whoever shows it."""

    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    fraction: float
    clips_per_second: float


@dataclass
class History:
    """What has been measured so far; travels in the checkpoint.

    Attributes:
        epochs: one row an epoch.
        stages: one row a stage, tested on full-size clips after its last epoch.
        peaks: each stage's MemoryReport, of its second step.
        broken: name -> reason of each video that could not be decoded and was left out.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    peaks: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def note_broken(self, name: str, reason: str) -> None:
        """A video could not be decoded."""
        self.broken[name] = reason


@dataclass
class Learnt:
    """A batch's scores, labels and losses, by micro-batch; read when the step is over."""

    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def add(self, logits_BK: torch.Tensor, label: torch.Tensor, loss: torch.Tensor) -> None:
        self.parts.append((logits_BK, label, loss))

    def sums(self) -> tuple[float, float]:
        """Of the losses and of the hits, over all clips."""
        losses = sum(float(loss) * len(label) for _, label, loss in self.parts)
        # Of clips given back there are no hits.
        scored = [part for part in self.parts if part[1].ndim == 1]
        hits = sum(int((scores.argmax(1) == label).sum()) for scores, label, _ in scored)
        return losses, hits


@dataclass
class Sums:
    """Of the epoch so far."""

    clips: int = 0
    loss: float = 0.0
    correct: float = 0
    seconds: float = 0.0
