"""The same moment of a step in the profiles of several choices."""

from collections.abc import Mapping
from dataclasses import dataclass

from stdcf.memory.mixed.profile import Profile, Segment, nearest


@dataclass(frozen=True, order=True)
class Moment:
    """A segment of a step, wherever it lies in a profile.

    Attributes:
        of_block: it is of a block that is checkpointed, and not of a part.
    """

    phase: str
    name: str
    number: int
    of_block: bool


class Alignment:
    """Finds moments in profiles.

    Args:
        profiles: choice -> profile; that of "checkpoint", if there is one, has whole blocks.
        home: part -> the block that it is in, if that can be checkpointed.
    """

    def __init__(self, profiles: Mapping[str, Profile], home: Mapping[str, str | None]) -> None:
        self._profiles, self._home = profiles, home
        self._again = profiles.get("checkpoint")
        self._plain = {name: p for name, p in profiles.items() if name != "checkpoint"}
        blocks = {part: block or part for part, block in home.items()}
        self._by_block = {name: p.segments(blocks) for name, p in self._plain.items()}
        found = {Moment(*key, False) for p in self._plain.values() for key in p.index}
        if self._again is not None:
            found |= {Moment(*key, True) for key in self._again.index if key[1] in home.values()}
        self.moments = sorted(found)

    def times(self, moment: Moment) -> dict[str, int | None]:
        """Choice -> time of the most that is alive in that moment; None where it is not known."""
        times: dict[str, int | None] = {}
        for name, profile in self._plain.items():
            if moment.of_block:
                segment = nearest(self._by_block[name], moment.phase, moment.name, moment.number)
            else:
                segment = profile.at(moment.phase, moment.name, moment.number)
            times[name] = None if segment is None else segment.time
        again = self._again and self._in_again(moment)
        times["checkpoint"] = again.time if again else None
        return times

    def _in_again(self, moment: Moment) -> Segment | None:
        assert self._again is not None
        home = moment.name if moment.of_block else self._home[moment.name]
        if moment.of_block or home is None:
            return self._again.at(moment.phase, moment.name, moment.number)
        for name, profile in self._plain.items():
            own = profile.at(moment.phase, moment.name, moment.number)
            if own is None:
                continue
            for segment in self._by_block[name].values():
                if segment.start <= own.time < segment.stop:
                    return self._again.at(moment.phase, home, segment.number)
        return None
