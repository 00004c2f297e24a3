"""Numbers as table cells; what is not there says why."""

from collections import Counter
from collections.abc import Callable, Sequence

from suites.engine.suite import Row
from suites.reporting.stats import Estimate, estimate

NOT_RUN = "not run"
MIB = 2**20
# A field of a row, or what reads a number from one that holds several.
Value = str | Callable[[Row], float]


def mib(n_bytes: float | None) -> str:
    """Bytes as MiB."""
    return "–" if n_bytes is None else f"{n_bytes / MIB:.1f}"


def millions(count: float | None) -> str:
    """A count as millions."""
    return "–" if count is None else f"{count / 1e6:.1f}"


def fixed(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number or a dash; what rounds to 0 has no minus."""
    if value is None:
        return "–"
    return f"{value if round(value, digits) else 0.0:{'+' if sign else ''}.{digits}f}"


def with_interval(found: Estimate, digits: int = 2, sign: bool = False) -> str:
    """Mean ± half width of the 95% interval."""
    text = fixed(found.mean, digits, sign)
    return text if found.half_width is None else f"{text} ± {found.half_width:.{digits}f}"


def value_in(row: Row, value: Value) -> float:
    """A row's number."""
    found: float = row[value] if isinstance(value, str) else value(row)
    return found


def by_unit(rows: Sequence[Row], value: Value = "accuracy") -> dict[str | int, float]:
    """What rows that are ok are paired by and averaged over -> number: the fold, else the seed.

    Several seeds of a fold are averaged first.
    """
    found: dict[str | int, list[float]] = {}
    for row in rows:
        if row["status"] == "ok":
            found.setdefault(row.get("fold") or row["seed"], []).append(value_in(row, value))
    return {unit: sum(numbers) / len(numbers) for unit, numbers in found.items()}


def percent(rows: Sequence[Row], value: Value = "accuracy") -> str:
    """Mean ± interval of a fraction over the units that are ok, in %; else why there is none."""
    if any(row.get("fold") for row in rows):
        values = [100 * number for number in by_unit(rows, value).values()]
    else:
        values = [100 * value_in(row, value) for row in rows if row["status"] == "ok"]
    return with_interval(estimate(values)) if values else statuses(rows)


def shipped_mark(rows: Sequence[Row]) -> str:
    """† for rows of which one is shipped with the repository."""
    return " †" if any(row["shipped"] for row in rows) else ""


def statuses(rows: Sequence[Row]) -> str:
    """How the runs ended, such as "ok" or "2 ok, 1 nan"."""
    if not rows:
        return NOT_RUN
    counts = Counter(row["status"] for row in rows)
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{n} {status}" for status, n in counts.most_common())


def paired_difference(
    a: Sequence[Row],
    b: Sequence[Row],
    value: Value = "accuracy",
    base_value: Value | None = None,
    scale: float = 100,
) -> Estimate | None:
    """a − b over the units that both have, as `paired_points`; None if there is none."""
    points = paired_points(a, b, value, base_value, scale)
    return estimate(points) if points else None


def paired_points(
    a: Sequence[Row],
    b: Sequence[Row],
    value: Value = "accuracy",
    base_value: Value | None = None,
    scale: float = 100,
) -> list[float]:
    """a − b times `scale` for each fold, or seed, that both have: of fractions in points.

    Args:
        base_value: what is read of b; None: the same as of a.
    """
    first, second = by_unit(a, value), by_unit(b, value if base_value is None else base_value)
    shared = sorted(first.keys() & second.keys(), key=lambda unit: (str(type(unit)), unit))
    return [scale * (first[unit] - second[unit]) for unit in shared]
