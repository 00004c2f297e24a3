"""Paired tests between rows that share folds or seeds and differ in their layer or their mode."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from suites.engine.suite import Row, Suite
from suites.reporting import cells
from suites.reporting.figures.style import LAYER_NAMES
from suites.reporting.stats import holm, paired
from suites.tables.table import Table

# More rows than this are compared with the first alone: each further test weakens all.
_MOST_BY_ALL = 6
_NOISE = 0.05

Group = tuple[str, str]
Units = Mapping[str | int, float]


def comparison_table(rows: Sequence[Row], described: str = "") -> Table | None:
    """Differences in accuracy of one setting; None where no two rows share two folds or seeds.

    The p values are Student's, paired by fold where there are folds, else by seed, then Holm's over
    all tests of the table. Failed runs take part in none; a note counts what could not be tested
    for want of pairs.
    """
    unit = "fold" if any(row.get("fold") for row in rows) else "seed"
    groups = _accuracies(rows)
    pairs = list(_pairs(list(groups)))
    body: list[list[str]] = []
    found = []
    for one, other in pairs:
        shared = sorted(groups[one].keys() & groups[other].keys(), key=str)
        if len(shared) < 2:
            continue
        test = paired([groups[one][s] for s in shared], [groups[other][s] for s in shared])
        found.append(test)
        body.append([_name(one), _name(other), cells.with_interval(test.difference, sign=True)])
        body[-1] += [str(test.difference.n), p_text(test.p)]
    # Without SciPy there is neither an interval nor a test.
    if not found or found[0].difference.half_width is None:
        return None
    corrected = holm([test.p for test in found])
    for line, p in zip(body, corrected, strict=True):
        line += [p_text(p), "unknown" if p is None else "yes" if p < _NOISE else "no"]
    notes = [
        f"Student's t, paired by {unit}, two-sided; Holm: corrected for the number of tests here, "
        f"{len(found)}; beyond noise: Holm's p below {_NOISE:g}",
    ]
    if any(test.p is None for test in found):
        notes.append(f"unknown: every {unit} has the same difference: no noise to compare with")
    untested = len(pairs) - len(found)
    if untested:
        notes.append(f"not tested, with fewer than two {unit}s in common: {untested} more pairs")
    columns = ["Row", "against", "Difference, points", "n", "p", "p (Holm)", "Beyond noise"]
    title = "Clip accuracy: paired differences" + (f" ({described})" if described else "")
    return Table(title, columns, body, notes)


def p_text(p: float | None) -> str:
    """A p value as a cell."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _accuracies(rows: Sequence[Row]) -> dict[Group, Units]:
    """Layers in the order of every figure, full size before other modes."""
    layers = list(LAYER_NAMES)

    def order(row: Row) -> tuple[bool, str, int, str]:
        layer = row["layer"]
        place = layers.index(layer) if layer in layers else len(layers)
        return row["mode"] != "full", row["mode"], place, layer

    groups: dict[Group, list[Row]] = {}
    for row in sorted(rows, key=order):
        if row["status"] == "ok" and isinstance(row.get("accuracy"), int | float):
            groups.setdefault((row["layer"], row["mode"]), []).append(row)
    return {
        group: {unit: 100 * accuracy for unit, accuracy in cells.by_unit(members).items()}
        for group, members in groups.items()
    }


def _pairs(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Modes of each layer, then layers of each mode; the earlier one is what is compared with."""
    for axis in (0, 1):
        for value in dict.fromkeys(group[axis] for group in groups):
            alike = [group for group in groups if group[axis] == value]
            if len(alike) <= _MOST_BY_ALL:
                yield from ((other, one) for one, other in combinations(alike, 2))
            else:
                yield from ((other, alike[0]) for other in alike[1:])


def _name(group: Group) -> str:
    layer, mode = group
    return " ".join(word for word in (LAYER_NAMES.get(layer, layer), mode) if word)


def setting_tables(suite: Suite, setting: str, rows: Sequence[Row]) -> list[Table]:
    """The suite's tables and, where rows share folds or seeds, their paired differences."""
    tables = suite.tables(rows)
    synthetic = " — SYNTHETIC clips" if any(row.get("synthetic") for row in rows) else ""
    comparisons = comparison_table(rows, setting + synthetic)
    return [*tables, comparisons] if comparisons is not None else tables
