"""§2.1.1 as tables: degrees of freedom beside the paper's counts, and errors of best fits."""

from collections.abc import Mapping, Sequence
from typing import Any

from suites.engine.suite import Row
from suites.reporting import cells
from suites.reporting.small_print import describe, provenance_notes
from suites.reporting.stats import estimate
from suites.tables.table import Table

T, K = 3, 3
FAMILIES = {
    "regular": "Reg. 3D",
    "rank1": "Rank-1 3D",
    "rank1_atoms": "Rank-1 of atoms",
    "stdcf": "STDCF",
}


def tables(rows: Sequence[Row]) -> list[Table]:
    """Ranks (the same for every seed), then errors, means over seeds."""
    ok = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: row["seed"])
    return [_ranks(ok, rows), _fits(ok, rows)]


def freedom(family: str, m: int, n: int, channels: int) -> int:
    """Dimension of the set of a family's filters, C = C_in = C_out, 3×3×3 taps.

    The paper counts the parameters that are free: MNC² of STDCF and (M+N)C² of rank-1. What a
    change of the parameters can undo is taken off here: of STDCF a change of basis among the atoms
    (M² + N², while the atoms themselves add Mk² + Nt), of rank-1 one of the C channels between its
    two convolutions (C²).
    """
    atoms = m * (K * K - m) + n * (T - n)
    return {
        "regular": T * K * K * channels**2,
        "rank1": (T + K * K - 1) * channels**2,
        "rank1_atoms": (m + n - 1) * channels**2 + atoms,
        "stdcf": m * n * channels**2 + atoms,
    }[family]


def paper_count(family: str, m: int, n: int, channels: int) -> int | None:
    """The paper's number of free variables; None where it gives none."""
    return {"rank1_atoms": (m + n) * channels**2, "stdcf": m * n * channels**2}.get(family)


def _ranks(ok: Sequence[Row], rows: Sequence[Row]) -> Table:
    found: dict[tuple[Any, ...], set[int]] = {}
    for row in ok:
        for one in row["ranks"]:
            key = (one["family"], one["spatial_atoms"], one["temporal_atoms"], one["channels"])
            found.setdefault((*key, one["params"]), set()).add(one["rank"])
    most = max((key[3] for key in found), default=0)
    body = []
    for (family, m, n, channels, params), ranks in found.items():
        if channels != most:
            continue
        expected = freedom(family, m, n, channels)
        paper = paper_count(family, m, n, channels)
        body.append(
            [
                FAMILIES[family],
                f"M={m}, N={n}" if m else "",
                f"{params:,}",
                " / ".join(f"{rank:,}" for rank in sorted(ranks)),
                f"{expected:,}",
                "–" if paper is None else f"{paper:,}",
                f"{max(ranks) / channels**2:.2f}",
            ]
        )
    off = sum(
        any(rank != freedom(family, m, n, channels) for rank in ranks)
        for (family, m, n, channels, _), ranks in found.items()
    )
    notes = [
        "rank: of the Jacobian of parameters → composed filter, in float64; expected: the "
        "dimension in closed form, with what a change of basis undoes taken off; paper: its count "
        "of free variables, §2.1.1",
        f"{len(found)} families and numbers of channels: {off} have another rank than expected",
        "rank-1 of atoms is the paper's count of it, W_s made of M and W_t of N atoms; the rank-1 "
        "layer of Table 2 has whole filters, all 9 and 3 atoms: (k²+t−1)C², which is more than "
        "STDCF's MNC² at M=3, N=2",
    ]
    return Table(
        title=f"§2.1.1: degrees of freedom of 3×3×3 filters, {most} → {most} channels",
        columns=["Family", "Atoms", "Params", "Rank", "expected", "Paper", "Rank / C²"],
        rows=body,
        notes=[*notes, *provenance_notes(rows)],
    )


def errors(ok: Sequence[Row]) -> dict[tuple[str, str, int, int], list[Mapping[str, Any]]]:
    """(filters, family, M, N) -> the fits of all seeds."""
    found: dict[tuple[str, str, int, int], list[Mapping[str, Any]]] = {}
    for row in ok:
        for one in row["fits"]:
            key = (one["filters"], one["family"], one["spatial_atoms"], one["temporal_atoms"])
            found.setdefault(key, []).append(one)
    return found


def _fits(ok: Sequence[Row], rows: Sequence[Row]) -> Table:
    by_key = errors(ok)
    filters = list(dict.fromkeys(key[0] for key in by_key))
    body = []
    for family, m, n in dict.fromkeys(key[1:] for key in by_key):
        line = [FAMILIES[family], f"M={m}, N={n}" if m else ""]
        shares = []
        for name in filters:
            fits = by_key[name, family, m, n]
            line.append(cells.with_interval(estimate([100 * fit["error"] for fit in fits]), 1))
            shares.append(f"{100 * fits[0]['params'] / fits[0]['dense_params']:.0f}")
        body.append([*line, " / ".join(shares)])
    count = len(ok)
    notes = [
        "error: ‖W − best fit‖ / ‖W‖ in %; 0 is exact. rank-1 by a singular value decomposition, "
        "STDCF by alternating least squares from ten starts",
        f"random: independent normal taps; layers: of regular kth_cnn's, {describe(rows)}, "
        f"accuracy {cells.percent(ok, 'network_accuracy')}%; "
        f"{count} seed{'s' * (count != 1)}",
    ]
    return Table(
        title="§2.1.1: error of each family's best fit, %",
        columns=["Family", "Atoms", *filters, "Params, % of dense"],
        rows=body,
        notes=notes,
    )
