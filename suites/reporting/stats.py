"""Means, intervals and tests over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Differences whose spread is no more than rounding are told from each other by nothing.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds and the half width of its 95% interval; None where n is 1."""

    mean: float
    half_width: float | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """A difference of two means and how surprising it were if there was none.

    Attributes:
        p: two-sided; None where there is no spread to judge it by: one seed, or the same
            difference other than 0 at every seed.
    """

    difference: Estimate
    p: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean ± 95% interval of Student's t over independent seeds.

    Without SciPy (a bare machine) the half width is None.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(mean, None, n)
    return Estimate(mean, _half_width(_standard_error(values), n - 1), n)


def paired(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """a − b over pairs: Student's t test of the differences."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    found = estimate(differences)
    if found.n < 2:
        return Comparison(found, None)
    scale = max(map(abs, (*a, *b)))
    return Comparison(found, _p(found.mean, _standard_error(differences), found.n - 1, scale))


def unpaired(a: Sequence[float], b: Sequence[float]) -> Comparison:
    """a − b of two independent samples: Welch's t test; n is the smaller sample's.

    Degrees of freedom are Welch and Satterthwaite's.
    """
    difference = estimate(a).mean - estimate(b).mean
    n = min(len(a), len(b))
    if n < 2:
        return Comparison(Estimate(difference, None, n), None)
    first, second = _standard_error(a) ** 2, _standard_error(b) ** 2
    total = first + second
    error = math.sqrt(total)
    scale = max(map(abs, (*a, *b)))
    freedom: float = n - 1
    if error > _ROUNDING * scale:
        freedom = total**2 / (first**2 / (len(a) - 1) + second**2 / (len(b) - 1))
    found = Estimate(difference, _half_width(error, freedom), n)
    return Comparison(found, _p(difference, error, freedom, scale))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number, by Holm (1979); None counts for nothing and stays.

    Each is multiplied by the number of those that are not smaller, never falls below a smaller one,
    and ends at 1. The chance of a single false alarm in the family stays that of one test.
    """
    order = sorted((p, index) for index, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[index] = highest
    return corrected


def _standard_error(values: Sequence[float]) -> float:
    n = len(values)
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)


def _half_width(error: float, freedom: float) -> float | None:
    try:
        from scipy.special import stdtrit
    except ImportError:
        return None
    return float(stdtrit(freedom, 0.975)) * error


def _p(difference: float, error: float, freedom: float, scale: float) -> float | None:
    if error <= _ROUNDING * scale:
        return 1.0 if abs(difference) <= _ROUNDING * scale else None
    try:
        from scipy.special import stdtr
    except ImportError:
        return None
    return 2 * float(stdtr(freedom, -abs(difference) / error))
