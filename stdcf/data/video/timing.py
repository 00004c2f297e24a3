"""Which frames of a film are used, by their times: a segment, a rate of frames."""

from dataclasses import dataclass

import numpy as np

# A file of a segment may be so much longer than it, in seconds: it was cut at keyframes.
_SLACK_SECONDS = 1.0
# Times in containers are rounded, in WebM to a thousandth.
_ROUNDING_SECONDS = 1e-3


@dataclass(frozen=True)
class Timing:
    """What of a film is offered to clips.

    Attributes:
        fps: frames a second; the film's nearest ones are taken, or repeated. None: all its own.
        span: (start, end) in seconds from the film's first frame; None: all of it.
        may_be_cut: a film that is not longer than its span is the segment itself.
    """

    fps: float | None = None
    span: tuple[float, float] | None = None
    may_be_cut: bool = False

    def offered(self, second_F: np.ndarray) -> np.ndarray:
        """Indices of frames, ascending, for the times of all frames, ascending.

        Raises:
            ValueError: for a span that begins after the film's end.
        """
        second_F = second_F - second_F[0]
        duration = second_F[-1] + (np.median(np.diff(second_F)) if len(second_F) > 1 else 0.0)
        start, end = 0.0, float(duration)
        if self.span is not None and not self._is_segment(duration):
            start, end = self.span
            if start >= duration:
                raise ValueError(
                    f"its segment of {start:g} to {end:g} s begins after its end, {duration:.1f} s"
                )
            end = min(end, float(duration))
        if self.fps is not None:
            ticks = start + np.arange(max(round((end - start) * self.fps), 1)) / self.fps
            # The nearest frame: the one between whose neighbours' middles the time lies.
            return np.searchsorted((second_F[1:] + second_F[:-1]) / 2, ticks, side="right")
        first, last = np.searchsorted(second_F, np.array([start, end]) - _ROUNDING_SECONDS)
        first = min(int(first), len(second_F) - 1)
        return np.arange(first, max(int(last), first + 1))

    def _is_segment(self, duration: float) -> bool:
        assert self.span is not None
        start, end = self.span
        return self.may_be_cut and duration <= end - start + _SLACK_SECONDS
