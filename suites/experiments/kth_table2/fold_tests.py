"""The nine tests of docs/protocol.md: paired by the person left out, corrected together."""

from collections.abc import Mapping, Sequence

from suites.engine.suite import Row
from suites.reporting import cells
from suites.reporting.comparisons import p_text
from suites.reporting.figures.style import layer_name
from suites.reporting.stats import holm, paired
from suites.tables.table import Table

VALUE = "recalibrated_accuracy"
WANTED_HALF_WIDTH = 4.0
_NOISE = 0.05

# Layer and mode -> rows.
Groups = Mapping[tuple[str, str], Sequence[Row]]
Units = dict[str | int, float]
# Name, and the two sides by fold.
Test = tuple[str, Units, Units]


def fold_tests(groups: Groups, layers: Sequence[str], described: str) -> Table | None:
    """Differences in recalibrated clip accuracy; None without two folds to pair."""
    title = "Table 2: tests of docs/protocol.md, recalibrated clip accuracy, points"
    return paired_table(f"{title} ({described})", _family(groups, layers), "Half-width ≤ 4")


def paired_table(title: str, family: Sequence[Test], half_width: str = "") -> Table | None:
    """Student's t of every test over the units that its sides share, corrected by Holm.

    Args:
        half_width: head of a column that says whether the interval is as narrow as is wanted.

    Returns:
        None where no test has two units.
    """
    tests = [(name, a, b) for name, a, b in family if len(a.keys() & b.keys()) > 1]
    if not tests:
        return None
    found = []
    for _, a, b in tests:
        units = sorted(a.keys() & b.keys(), key=str)
        found.append(paired([a[unit] for unit in units], [b[unit] for unit in units]))
    # What cannot be tested yet belongs to the family all the same.
    missing = len(family) - len(tests)
    corrected = holm([*(test.p for test in found), *[1.0] * missing])[: len(found)]
    body = []
    for (name, *_), test, p in zip(tests, found, corrected, strict=True):
        half = test.difference.half_width
        met = "–" if half is None else "yes" if half <= WANTED_HALF_WIDTH else "no"
        side = "undecided" if p is None or p >= _NOISE else "above 0"
        side = "below 0" if side == "above 0" and test.difference.mean < 0 else side
        line = [name, cells.with_interval(test.difference, sign=True), str(test.difference.n)]
        body.append([*line, p_text(test.p), p_text(p), side, *([met] if half_width else [])])
    heads = ["Comparison", "Difference", "n", "p", "p (Holm)", "Decision"]
    return Table(
        title,
        [*heads, *([half_width] if half_width else [])],
        body,
        [
            "Student's t over folds, two-sided, 95% intervals; Holm over "
            f"{len(family)} tests"
            + (f", {missing} of which have no rows yet" if missing else "")
            + f"; decision by Holm's p below {_NOISE:g}"
        ],
    )


def _family(groups: Groups, layers: Sequence[str]) -> list[Test]:
    def side(layer: str, mode: str) -> Units:
        rows = [row for row in groups.get((layer, mode), ()) if row.get("fold") and VALUE in row]
        return {fold: 100 * value for fold, value in cells.by_unit(rows, VALUE).items()}

    def loss(layer: str) -> Units:
        full = side(layer, "full")
        return {fold: v - full[fold] for fold, v in side(layer, "itsl").items() if fold in full}

    named = {layer: layer_name(layer) for layer in layers}
    family = [
        (f"{name}: ITSL − full size", side(layer, "itsl"), side(layer, "full"))
        for layer, name in named.items()
    ]
    family += [
        (f"{name}: ITSL − full, 2.25×", side(layer, "itsl"), side(layer, "full_same_compute"))
        for layer, name in named.items()
    ]
    stdcf = side("stdcf", "itsl")
    family += [
        (f"ITSL: STDCF − {named[other]}", stdcf, side(other, "itsl"))
        for other in ("regular", "rank1")
    ]
    family.append(("Loss by ITSL: STDCF − Reg. 3D", loss("stdcf"), loss("regular")))
    return family
