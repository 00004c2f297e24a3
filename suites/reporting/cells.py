"""Numbers as table cells; what is not there says why."""

from collections import Counter
from collections.abc import Sequence

from suites.engine.suite import Row
from suites.reporting.stats import Estimate, estimate

NOT_RUN = "not run"
MIB = 2**20


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


def percent(rows: Sequence[Row], column: str = "accuracy") -> str:
    """Mean ± interval of a fraction over the seeds that are ok, in %; else why there is none."""
    values = [100 * row[column] for row in rows if row["status"] == "ok"]
    if not values:
        return statuses(rows)
    return with_interval(estimate(values))


def statuses(rows: Sequence[Row]) -> str:
    """How the runs ended, such as "ok" or "2 ok, 1 nan"."""
    if not rows:
        return NOT_RUN
    counts = Counter(row["status"] for row in rows)
    if len(counts) == 1:
        return str(next(iter(counts)))
    return ", ".join(f"{n} {status}" for status, n in counts.most_common())


def paired_difference(a: Sequence[Row], b: Sequence[Row]) -> Estimate | None:
    """a − b in points of accuracy over the seeds that both have; None if there is none."""
    points = paired_points(a, b)
    return estimate(points) if points else None


def paired_points(a: Sequence[Row], b: Sequence[Row]) -> list[float]:
    """a − b in points of accuracy, for each seed that both have."""
    first, second = (
        {row["seed"]: row["accuracy"] for row in rows if row["status"] == "ok"} for rows in (a, b)
    )
    shared = sorted(first.keys() & second.keys())
    return [100 * (first[s] - second[s]) for s in shared]
