"""Where the memory of a step is: every storage from birth to death, by kind and by module."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from stdcf.memory.tracking.moment import Moment

if TYPE_CHECKING:
    import pandas as pd

    # Not needed here otherwise, and it imports torch.
    from stdcf.memory.tracking.lives import Life

# Of the workspaces of cuBLAS and cuDNN, which the tensors' peak leaves out.
WORKSPACES = "workspaces"


@dataclass(frozen=True)
class Timeline:
    """One step's storages, and the operators that ran; times are numbers of operators.

    Attributes:
        lives: those born at 0 were there when the step began.
        moments: what ran at each time; the first is the start.
        peak_time: when the tensors' bytes were the most.
    """

    lives: Sequence["Life"]
    moments: Sequence[Moment]
    peak_time: int

    @property
    def on_device(self) -> list["Life"]:
        """Without what was kept on the host, and without storages of no bytes."""
        return [life for life in self.lives if life.n_bytes and not life.on_host]

    def frame(self) -> "pd.DataFrame":
        """One row a storage.

        Its columns: name (of a parameter, buffer, gradient or state), kind, bytes; phase, module
        and operator that made it; shape, dtype, on_host; born and died, numbers of operators, death
        exclusive (what outlives the step dies at its end); at_peak, of the tensors.
        """
        import pandas as pd

        rows = [
            {
                "name": life.name,
                "kind": life.final_category(),
                "bytes": life.n_bytes,
                "phase": life.born_in,
                "module": life.module,
                "operator": life.operator,
                "shape": life.shape,
                "dtype": life.dtype,
                "on_host": life.on_host,
                "born": life.born,
                "died": self.death(life),
                "at_peak": life.alive_at(self.peak_time),
            }
            for life in self.lives
        ]
        return pd.DataFrame(rows)

    def death(self, life: "Life") -> int:
        """When it was gone; the step's end for what outlives it."""
        return len(self.moments) if life.died is None else life.died

    def live_bytes(self) -> list[int]:
        """Bytes on the device at each time, workspaces included."""
        changes = [0] * (len(self.moments) + 1)
        for life in self.on_device:
            changes[life.born] += life.n_bytes
            changes[min(self.death(life), len(self.moments))] -= life.n_bytes
        return list(accumulate(changes[:-1]))

    def highest_time(self) -> int:
        """When the bytes on the device were the most, workspaces included."""
        live = self.live_bytes()
        return live.index(max(live))

    def module_bytes(self, time: int | None = None) -> dict[str, int]:
        """Group of modules -> bytes at a time, None being the tensors' peak; the largest first."""
        group, found = module_groups(self, most=24), Counter[str]()
        for life in self.at(self.peak_time if time is None else time):
            found[group(life.module)] += life.n_bytes
        return dict(found.most_common())

    def at(self, time: int) -> list["Life"]:
        """Alive on the device at a time, without workspaces; the largest first."""
        found = [life for life in self.on_device if life.alive_at(time)]
        tensors = [life for life in found if life.final_category() != WORKSPACES]
        return sorted(tensors, key=lambda life: -life.n_bytes)


def module_groups(timeline: Timeline, most: int = 10) -> Callable[[str], str]:
    """Module -> the group that it is shown in, "" being outside of any module.

    The group that holds the most bytes at the peak is split into its children for as long as there
    are no more than `most`; beyond that the smallest are one group, "others".
    """
    held: Counter[tuple[str, ...]] = Counter()
    for life in timeline.on_device:
        place = tuple(life.module.split(".")) if life.module else ()
        held[place] += life.n_bytes * life.alive_at(timeline.peak_time)
    # Group -> places in it, from the model's own children on.
    groups: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for place in held:
        groups.setdefault(place[:1], []).append(place)

    def size(group: tuple[str, ...]) -> int:
        return sum(held[place] for place in groups[group])

    whole: set[tuple[str, ...]] = {()}
    while left := [group for group in groups if group not in whole]:
        largest = max(left, key=size)
        children: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
        for place in groups[largest]:
            children.setdefault(place[: len(largest) + 1], []).append(place)
        if set(children) == {largest} or len(groups) - 1 + len(children) > most:
            whole.add(largest)
            continue
        del groups[largest]
        groups |= children
        # What is of the group itself has no children.
        whole |= {largest} & set(children)
    shown = sorted(groups, key=size, reverse=True)
    small = set(shown[most - 1 :] if len(shown) > most else ())
    names = {
        place: "others" if group in small else ".".join(group)
        for group, places in groups.items()
        for place in places
    }
    return lambda module: names.get(tuple(module.split(".")) if module else (), "others")
