"""Who follows the operators of a tracked step."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stdcf.memory.tracking.tracker import LifeTracker


class Listener(Protocol):
    """Follows a step by its tracker, which is set before it begins."""

    tracker: LifeTracker | None

    def note(self, function: Any, arguments: Any, out: Any, before_bytes: int) -> None:
        """`LifeTracker`'s on_operator."""


def tell(listeners: Sequence[Listener]) -> Callable[[Any, Any, Any, int], None] | None:
    """A `LifeTracker`'s on_operator that tells all of them; None where there are none."""
    notes = [listener.note for listener in listeners]

    def note(function: Any, arguments: Any, out: Any, before_bytes: int) -> None:
        for one in notes:
            one(function, arguments, out, before_bytes)

    return note if notes else None
