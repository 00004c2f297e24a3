"""Figure 2's numbers as text: mean test PSNR beside the paper's."""

from collections.abc import Sequence

from suites import cells
from suites.published import number, published
from suites.stats import Estimate, estimate
from suites.style import layer_name
from suites.suite import Row
from suites.table import Table

LAYERS = ("stdcf", "rank1", "regular")
EQUAL_WIDTH, EQUAL_PARAMS = "equal_width", "equal_params"
MODE_NAMES = {EQUAL_WIDTH: "equal width", EQUAL_PARAMS: "equal parameters"}


def tables(rows: Sequence[Row]) -> list[Table]:
    """A line a layer and mode, with its distance from rank-1."""
    from suites.kth_table2_tables import describe, provenance_notes

    ok = [row for row in rows if row["status"] == "ok"]
    body = []
    for mode in MODE_NAMES:
        for layer in LAYERS:
            group = of(rows, layer, mode)
            good = [row for row in group if row["status"] == "ok"]
            found = estimate([row["psnr_db"] for row in good]) if good else None
            ahead = None if layer == "rank1" else difference(ok, layer, "rank1", mode)
            paper = paper_db(layer) if mode == EQUAL_WIDTH else None
            body.append(
                [
                    layer_name(layer) + (" †" if any(row["shipped"] for row in group) else ""),
                    MODE_NAMES[mode],
                    str(good[0]["widths"][0]) if good else "–",
                    f"{good[0]['params']:,}" if good else "–",
                    cells.statuses(group) if found is None else cells.with_interval(found),
                    str(len(good)),
                    cells.fixed(paper),
                    ""
                    if layer == "rank1"
                    else "–"
                    if ahead is None
                    else cells.with_interval(ahead, sign=True),
                    cells.fixed(_paper_ahead(layer), 1, sign=True) if mode == EQUAL_WIDTH else "",
                ]
            )
    notes = [
        "PSNR: 10 log₁₀(1/MSE) of each test clip, pixels from 0 to 1, its mean over clips; "
        "± over seeds; vs rank-1 paired by seed",
        "the regular layer has the same runs in both parts",
    ]
    if ok:
        notes.append(f"a black clip has {ok[0]['black_psnr_db']:.2f} dB")
    return [
        Table(
            title=f"Figure 2: reconstruction ({describe(rows)})",
            columns=[
                "Layer",
                "Compared at",
                "Channels",
                "Params",
                "PSNR, dB",
                "n",
                "Paper",
                "vs rank-1",
                "Paper's",
            ],
            rows=body,
            notes=[*notes, *provenance_notes(rows)],
        )
    ]


def of(rows: Sequence[Row], layer: str, mode: str) -> list[Row]:
    """The rows of a layer; the regular one's are the same in both modes, where it sets the size."""
    mode = EQUAL_WIDTH if layer == "regular" else mode
    return [row for row in rows if (row["layer"], row["mode"]) == (layer, mode)]


def difference(ok: Sequence[Row], layer: str, other: str, mode: str) -> Estimate | None:
    """layer − other in dB over the seeds that both have; None if there is none."""
    first, second = (
        {row["seed"]: row["psnr_db"] for row in of(ok, which, mode)} for which in (layer, other)
    )
    shared = sorted(first.keys() & second.keys())
    return estimate([first[seed] - second[seed] for seed in shared]) if shared else None


def paper_db(layer: str) -> float | None:
    """The paper's mean test PSNR of a layer, or None."""
    row = next((row for row in published("fig2_tr_mnist") if row["layer"] == layer), None)
    return number(row, "mean_psnr_db")


def _paper_ahead(layer: str) -> float | None:
    own, rank1 = paper_db(layer), paper_db("rank1")
    return None if layer == "rank1" or own is None or rank1 is None else own - rank1
