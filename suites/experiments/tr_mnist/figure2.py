"""Figure 2: frames of a test clip, what each layer makes of them, and the ratios of all runs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from suites.engine.suite import Row
from suites.experiments.tr_mnist.tables import EQUAL_WIDTH, LINES, Line, of, paper_db
from suites.reporting.figures import grids, parts, seeds, style
from suites.reporting.pictures import unpacked


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure2 (frames of equal width, first seed) and psnr; nothing where no run is ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    return [*_strip(ok, folder), *_ratios(ok, folder)] if ok else []


def frames(row: Row, what: str) -> np.ndarray:
    """uint8 [clips, frames, H, W] of a row's strip: "input" or "output"."""
    strip = row["strip"]
    return unpacked(strip[what], (len(strip["frames"]), *row["clip_shape"][2:]))


def _strip(ok: Sequence[Row], folder: Path) -> list[Path]:
    shown = {line: of(ok, line) for line in LINES if line.mode == EQUAL_WIDTH}
    first = {line: min(own, key=lambda r: r["seed"]) for line, own in shown.items() if own}
    if not first:
        return []
    one = next(iter(first.values()))
    titles = [f"frame {number}" for number in one["strip"]["frames"]]
    lines = [grids.Line("Input", frames(one, "input")[0], titles=titles)]
    for line, row in first.items():
        name = line.name.replace(" M", "\nM")
        lines.append(
            grids.Line(
                f"{name}\n{row['psnr_db_of_clips'][0]:.1f} dB",
                frames(row, "output")[0],
                name_colour=style.colour(line.layer),
            )
        )
    words = (
        f"the first test clip, at equal width ({one['widths'][0]} channels), seed {one['seed']}; "
        "dB: its peak signal-to-noise ratio"
    )
    return grids.draw(lines, folder, "figure2", ok, words)


def _ratios(ok: Sequence[Row], folder: Path) -> list[Path]:
    groups: dict[str, list[tuple[Line, list[Row]]]] = {}
    for line in LINES:
        if group := of(ok, line):
            groups.setdefault(line.compared_at, []).append((line, group))
    # No panel so narrow that its title is cut.
    widths = [max(len(own), 2) for own in groups.values()]
    with parts.page(1, len(widths), sharey=True, width_ratios=widths) as (figure, panels):
        ends: list[float] = []
        for axes, (compared_at, own) in zip(panels, groups.items(), strict=True):
            values = [[row["psnr_db"] for row in group] for _, group in own]
            ends += [end for known in values for end in seeds.reach(known)]
            frame = seeds.tidy((x, own[x][0].layer, known) for x, known in enumerate(values))
            seeds.bars(axes, frame, numbers=".2f", alpha=0.75)
            for x, (line, _) in enumerate(own):
                paper = paper_db(line.layer)
                if paper is not None and line.mode == EQUAL_WIDTH:
                    axes.hlines(paper, x - 0.4, x + 0.4, color="black", linestyle="--", lw=1.2)
                    ends.append(paper)
            # Three lines each, so that the numbers stand side by side.
            names = [
                line.name.replace(" M", "\nM")
                + ("\n" if line.atoms else "\n\n")
                + f"{group[0]['params']:,}"
                for line, group in own
            ]
            axes.set_xticks(range(len(own)), names, fontsize=7)
            axes.set_xlim(-0.6, max(len(own), 2) - 0.4)
            axes.set_title(compared_at, loc="left")
        panels[0].set_ylim(min(ends) - 0.5, max(ends) + 1)
        panels[0].set_ylabel("Mean test PSNR, dB")
        panels[0].set_xlabel("Layer, parameters of the network")
        return parts.save(
            figure,
            folder,
            "psnr",
            ok,
            "bars: means over seeds; dots: seeds; whiskers: 95% intervals; dashes: the paper; the "
            f"axis does not begin at 0; a black clip has {ok[0]['black_psnr_db']:.1f} dB",
        )
