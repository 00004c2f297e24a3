"""Which accuracy stands for rows, and what their mean is taken over."""

from collections.abc import Sequence

from suites.engine.suite import Row

PLAIN = "accuracy"
RECALIBRATED = "recalibrated_accuracy"
WORDS = {PLAIN: "clip accuracy", RECALIBRATED: "clip accuracy, recalibrated"}


def measure_of(rows: Sequence[Row]) -> str:
    """`RECALIBRATED` where every row that has an accuracy has this one too, else `PLAIN`.

    It is docs/protocol.md's primary measure.
    """
    known = [row for row in rows if isinstance(row.get(PLAIN), int | float)]
    every = known and all(isinstance(row.get(RECALIBRATED), int | float) for row in known)
    return RECALIBRATED if every else PLAIN


def units(rows: Sequence[Row], number: int = 2) -> str:
    """ "folds" where the rows are of folds, else "seeds"; singular for one."""
    unit = "fold" if any(row.get("fold") for row in rows) else "seed"
    return unit + "s" * (number != 1)
