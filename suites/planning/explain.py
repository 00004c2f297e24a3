"""Where the memory of one way of training is: by kind, by module, and its largest tensors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.memory.report import MIB, MemoryReport
from suites.planning.planner import Planner
from suites.planning.report import Asked, describe
from suites.planning.ways import Schedule, Way
from suites.tables.table import Table

_MOST_MODULES = 15
_MOST_TENSORS = 10


def read_way(text: str, planner: Planner, found: Sequence[Schedule], cap_bytes: int) -> Way:
    """A way by words: "full", "bf16+checkpoint", "itsl", "itsl 2,4 bf16".

    Raises:
        UserError: for another word, or savers that the model cannot have.
    """
    words = text.split()
    name = words.pop(0) if words[:1] in (["full"], ["itsl"]) else "full"
    sizes = words.pop(0) if name == "itsl" and words and words[0][0].isdigit() else ""
    named = [s for s in found if s.name == f"{name} {sizes}".strip()]
    named = named or [s for s in found if not sizes and s.name.startswith(name)]
    if not named or len(words) > 1:
        raise UserError(
            f"--explain takes a schedule ({', '.join(s.name for s in found)}) and savers joined by "
            f"+, as 'full bf16+checkpoint', not {text!r}"
        )
    savers = words[0].replace("+", ",").split(",") if words else []
    way = planner.way(named[0], [s for s in savers if s not in ("plain", "none")], cap_bytes)
    confirmed = planner.confirmed(way)
    if confirmed is None:
        raise UserError(planner.left_out[way.schedule.name])
    return confirmed


def tables(asked: Asked, way: Way, report: MemoryReport) -> list[Table]:
    """By kind, by module, and the largest tensors, all at the tensors' peak."""
    lives = report.known_lives()
    stage = "" if way.schedule.name == "full" else f" (stage {report.stage})"
    title = f"{asked.title}, {describe(way)}{stage}"
    modules = lives.module_bytes()
    shown = dict(list(modules.items())[:_MOST_MODULES])
    rest = sum(modules.values()) - sum(shown.values())
    shown |= {f"{len(modules) - len(shown)} more": rest} if rest else {}
    kinds = dict(sorted(report.breakdown.items(), key=lambda item: -item[1]))
    tensors = lives.at(lives.peak_time)
    return [
        Table(
            title=f"{title}: by kind at the peak",
            columns=["Kind", "MiB", "Share, %"],
            rows=_shares({kind: n_bytes for kind, n_bytes in kinds.items() if n_bytes}),
            notes=facts(asked, way, report),
        ),
        Table(
            title="By module at the peak",
            columns=["Module", "MiB", "Share, %"],
            rows=_shares({name or "(outside of modules)": n for name, n in shown.items()}),
        ),
        Table(
            title=f"The largest of {len(tensors)} tensors at the peak",
            columns=["MiB", "Kind", "Module", "Made by", "Shape"],
            rows=[
                [
                    f"{life.n_bytes / MIB:,.1f}",
                    life.final_category().replace("_", " "),
                    life.module or "–",
                    life.name or life.operator or "there from the start",
                    "×".join(map(str, life.shape)) + f" {life.dtype}",
                ]
                for life in tensors[:_MOST_TENSORS]
            ],
        ),
    ]


def _shares(sizes: dict[str, int]) -> list[list[str]]:
    total = sum(sizes.values()) or 1
    return [
        [name.replace("_", " "), f"{n / MIB:,.1f}", f"{100 * n / total:.1f}"]
        for name, n in sizes.items()
    ]


def facts(asked: Asked, way: Way, report: MemoryReport) -> list[str]:
    """When the peak is, what the allocator makes of it, and what would lower it."""
    lines = [f"peak: {report.peak_mib:,.1f} MiB of tensors, {report.moment}"]
    if way.smallest_cap_bytes is not None:
        named = {
            "in the allocator's blocks": report.allocated_bytes,
            "smallest cap": report.smallest_cap_bytes,
            "reserved if nothing hinders it": report.reserved_bytes,
        }
        sizes = [f"{(n or 0) / MIB:,.0f} MiB {words}" for words, n in named.items()]
        flushes = f" ({report.flushes} flushes a step under the smallest cap)"
        lines.append("on CUDA: " + ", ".join(sizes) + flushes)
    lines.append(f"fits into {asked.cap}: {way.verdict(asked.cap_bytes)}")
    if asked.versions_warning and "bf16" in way.savers:
        lines.append(asked.versions_warning)
    return [*lines, *([f"helps most: {report.advice}"] if report.advice else [])]


def as_object(way: Way, report: MemoryReport) -> dict[str, Any]:
    """The same in bytes, for --json."""
    lives = report.known_lives()
    return {
        "way": describe(way),
        **report.as_dict(),
        "modules": lives.module_bytes(),
        "largest": [
            {
                "bytes": life.n_bytes,
                "kind": life.final_category(),
                "module": life.module,
                "operator": life.operator,
                "name": life.name,
                "shape": list(life.shape),
                "dtype": life.dtype,
            }
            for life in lives.at(lives.peak_time)[:_MOST_TENSORS]
        ],
    }


def save(
    asked: Asked, way: Way, report: MemoryReport, picture: Path | None, snapshot: Path | None
) -> list[str]:
    """Writes the files that were asked for; a line for each."""
    lines = []
    if picture is not None:
        report.save_timeline(picture, f"{asked.title}, {describe(way)}")
        lines.append(f"timeline: {picture}")
    if snapshot is not None:
        report.save_snapshot(snapshot, asked.alloc_conf)
        lines.append(f"snapshot: {snapshot} (for pytorch.org/memory_viz)")
    return lines
