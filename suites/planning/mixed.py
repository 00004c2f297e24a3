"""A plan for each block of a model under a cap: `suites.plan --mixed`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from stdcf.memory.mixed.prices import GIB, PRICES, Prices
from stdcf.memory.mixed.search import EXACT, BlockPlan, BlockPlanner, Found
from stdcf.memory.predict import Predictor
from stdcf.memory.savers.names import canonical
from stdcf.sizes import parse_bytes
from stdcf.whole_file import write_atomically
from suites.cli import EXIT_ROWS_NOT_OK
from suites.planning.report import MIB, Asked, command
from suites.planning.ways import FULL_SIZE, Schedule
from suites.tables.table import Table

_FULL = Schedule("full", FULL_SIZE)


def by_block(
    asked: Asked,
    predictor: Predictor,
    blocks: Sequence[str] | None,
    savers: Sequence[str],
    int8: bool,
    bus: str | None,
    path: Path | None,
    as_json: bool,
) -> int:
    """Finds the cheapest plan, writes and prints it; the exit status.

    Args:
        predictor: of the model.
        blocks: patterns of module names; None takes what saver checkpoint takes.
        savers: those beside the plan.
        bus: bytes that cross it in a second, as "12GiB".
        path: of the plan; None is plan.json.
    """
    prices = PRICES if bus is None else Prices(bus=parse_bytes(bus))
    savers = canonical(tuple(savers))
    planner = BlockPlanner(
        predictor,
        asked.shape,
        blocks=blocks,
        choices=(*EXACT, "int8") if int8 else EXACT,
        prices=prices,
        savers=savers,
        context_bytes=asked.context_bytes if asked.device != "cpu" else 0,
        optimizer=asked.optimizer,
    )
    found = planner.best(asked.cap_bytes)
    path = Path("plan.json") if path is None else path
    write_atomically(path, json.dumps(as_object(asked, found, savers), indent=1) + "\n")
    if as_json:
        typer.echo(json.dumps(as_object(asked, found, savers), indent=1))
    else:
        table(asked, found, planner.ways(), prices).print()
        for line in notes(asked, found, savers, path):
            typer.echo(line)
    return 0 if found.fits else EXIT_ROWS_NOT_OK


def table(asked: Asked, found: Found, ways: Sequence[BlockPlan], prices: Prices) -> Table:
    """The plan beside the ways that treat all blocks alike."""
    rows = [[plan.way or "all kept", *_cells(plan, found, asked)] for plan in ways]
    if not found.plan.way:
        rows.append(["block by block", *_cells(found.plan, found, asked)])
    needs = "peak of all tensors" if asked.device == "cpu" else "smallest cap, margin and context"
    return Table(
        title=f"{asked.title}: a plan for each block under {asked.cap}",
        columns=["Blocks", "Needs, MiB", "On host, MiB", "Multiplications", "Cost", "Fits"],
        rows=rows,
        notes=[
            f"needs: {needs}, predicted; multiplications and cost against the plain step's",
            "cost: multiplications and, as multiplications that take as long, bytes that cross the "
            f"bus at {prices.bus / GIB:g} GiB/s and bytes that operators read and write at "
            f"{prices.memory / GIB:g} GiB/s; {prices.multiplications:g} multiplications a second",
        ],
    )


def _cells(plan: BlockPlan, found: Found, asked: Asked) -> list[str]:
    report, plain = plan.report, found.plain.report
    return [
        f"{plan.needs_bytes / MIB:,.0f}",
        f"{report.host_bytes / MIB:,.0f}" if report.host_bytes else "–",
        f"{(report.macs or 0) / (plain.macs or 1):.3f}×",
        f"{1 + plan.cost / found.step_cost:.3f}×",
        "yes" if plan.needs_bytes <= asked.cap_bytes else "no",
    ]


def as_object(asked: Asked, found: Found, savers: Sequence[str]) -> dict[str, Any]:
    """The plan with what it was made for and what it takes."""
    plan = found.plan
    return {
        "model": asked.model,
        "layer": asked.layer,
        "input_shape": list(asked.shape),
        "optimizer": asked.optimizer,
        "device": asked.device,
        "savers": list(savers),
        "cap_bytes": asked.cap_bytes,
        "needs_bytes": plan.needs_bytes,
        "peak_bytes": plan.report.peak_bytes,
        "host_bytes": plan.report.host_bytes,
        "fits": found.fits,
        "relative_cost": plan.cost / found.step_cost,
        "relative_cost_bound": found.bound / found.step_cost,
        "macs": plan.report.macs,
        "plain_macs": found.plain.report.macs,
        "blocks": dict(plan.blocks),
    }


def notes(asked: Asked, found: Found, savers: Sequence[str], path: Path) -> list[str]:
    """What the plan does, what it takes, and the command that runs it."""
    plan = found.plan
    lines = []
    for choice in dict.fromkeys(plan.blocks.values()):
        names = [name or "(the rest)" for name, own in plan.blocks.items() if own == choice]
        lines.append(f"{choice}: {', '.join(names)}")
    if not found.fits:
        needs = f"{plan.needs_bytes / MIB:,.0f} MiB"
        return [*lines, f"nothing fits; the leanest plan that was found needs {needs}"]
    extra, bound = (value / found.step_cost for value in (plan.cost, found.bound))
    lines.append(
        f"take: {plan.needs_bytes / MIB:,.0f} MiB of {asked.cap}, for {extra:.2%} beyond the plain "
        f"step; the solver's lower bound is {bound:.2%}; {found.seconds:.0f} s"
    )
    run = command(asked, _FULL, [*savers, f"plan={path}"])
    return [*lines, f"written: {path}", f"run: {run}"]
