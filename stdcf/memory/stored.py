"""A report kept as a file, and what has grown since."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.memory.report import MIB, MemoryReport
from stdcf.whole_file import write_atomically

_VERSION = 1
_OUTSIDE = "(outside of modules)"


@dataclass(frozen=True)
class Stored:
    """What of a report is compared.

    Attributes:
        sizes: "peak", "allocated" and "smallest cap", in bytes; without the latter two on CPU.
        kinds, modules: bytes at the peak.
        moment: of the peak, in words.
        setting: what must be the same: clip, device, savers, stage.
        torch: its version, which may make a difference.
    """

    sizes: dict[str, int]
    kinds: dict[str, int]
    modules: dict[str, int]
    moment: str
    setting: dict[str, Any]
    torch: str

    @classmethod
    def of(cls, report: MemoryReport) -> "Stored":
        """Of a report that knows its tensors."""
        lives = report.known_lives()
        modules: dict[str, int] = {}
        for life in lives.at(lives.peak_time):
            name = life.module or _OUTSIDE
            modules[name] = modules.get(name, 0) + life.n_bytes
        sizes = {
            "peak": report.peak_bytes,
            "allocated": report.allocated_bytes,
            "smallest cap": report.smallest_cap_bytes,
        }
        return cls(
            {name: n for name, n in sizes.items() if n is not None},
            {name: n for name, n in report.breakdown.items() if n},
            modules,
            str(report.moment),
            {
                "clip": list(report.input_shape),
                "device": report.device,
                "savers": list(report.savers),
                "stage": report.stage,
            },
            version("torch").partition("+")[0],
        )

    def write(self, path: Path) -> None:
        """As JSON, one line a module, so that a review shows what has changed."""
        content = {"version": _VERSION, **vars(self)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, indent=1, sort_keys=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """What `write` wrote.

        Raises:
            UserError: if it is something else.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            written_as = content.pop("version")
            found = cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no stored report; delete it and store it anew") from error
        if written_as != _VERSION:
            raise UserError(f"{path} is of another version ({written_as}); store it anew")
        return found

    def growth(self, before: "Stored", within: float) -> str:
        """What is larger than before by more than `within` of it, in lines; "" if nothing.

        A change of the setting counts as growth, for then the numbers compare nothing.
        """
        for name, value in self.setting.items():
            if value != before.setting.get(name):
                return f"{name} was {before.setting.get(name)} and is {value}; store it anew"
        grown = [
            f"{name} {_change(before.sizes[name], n_bytes)}"
            for name, n_bytes in self.sizes.items()
            if name in before.sizes and n_bytes > before.sizes[name] * (1 + within)
        ]
        if not grown:
            return ""
        lines = [", ".join(grown)]
        if self.torch != before.torch:
            lines.append(f"it was stored with torch {before.torch}; this is {self.torch}")
        if self.moment != before.moment:
            lines.append(f"the peak was at {before.moment} and is at {self.moment}")
        lines += _differences("by module", before.modules, self.modules)
        lines += _differences("by kind", before.kinds, self.kinds)
        return "\n".join(lines)


def _differences(title: str, before: dict[str, int], now: dict[str, int]) -> list[str]:
    """The ten that grew most, then the five that shrank most: a module of another name is both."""
    more = {name: now.get(name, 0) - before.get(name, 0) for name in {*before, *now}}
    names = sorted(more, key=lambda name: (-more[name], name))
    grown = [name for name in names if more[name] > 0]
    shrunk = [name for name in reversed(names) if more[name] < 0]
    shown = [*grown[:10], *shrunk[:5]]
    lines = [f"  {name} {_change(before.get(name, 0), now.get(name, 0))}" for name in shown]
    left = len(grown) + len(shrunk) - len(shown)
    rest = [f"  and {left} more"] if left else []
    return [f"{title} at the peak:", *lines, *rest] if lines else []


def _change(before: int, now: int) -> str:
    return f"{before / MIB:,.1f} → {now / MIB:,.1f} MiB ({(now - before) / MIB:+,.1f})"
