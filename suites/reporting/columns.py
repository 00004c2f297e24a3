"""Columns of tables: a head, and what stands below it in each line."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from suites.engine.suite import Row
from suites.reporting import cells
from suites.reporting.cells import Value
from suites.reporting.figures.style import layer_name
from suites.reporting.stats import Estimate
from suites.tables.table import Table

L = TypeVar("L", contravariant=True)


@dataclass(frozen=True)
class Column(Generic[L]):
    """A head, and the cell of a line; a line is whatever the table's columns read."""

    head: str
    cell: Callable[[L], str]


@dataclass(frozen=True)
class Line:
    """Runs that differ in their seed alone.

    Attributes:
        rows: all of them, also those that failed.
        key: what tells the line from others: a mode, a published row.
        layer: the rows' layer.
        base: the runs that it is compared with; None where it is compared with none.
        value: what is compared.
        base_value: the same of `base`; None: `value`.
    """

    rows: Sequence[Row]
    key: Any = None
    layer: str = ""
    base: Sequence[Row] | None = None
    value: Value = "accuracy"
    base_value: Value | None = None

    @property
    def ok(self) -> list[Row]:
        """The runs that are ok."""
        return [row for row in self.rows if row["status"] == "ok"]

    @property
    def first(self) -> Row | None:
        """The first run that is ok."""
        return next(iter(self.ok), None)

    @property
    def difference(self) -> Estimate | None:
        """Of `value` to the base's, in points, paired by seed; None without shared seeds."""
        base_value = self.value if self.base_value is None else self.base_value
        return cells.paired_difference(self.rows, self.base or (), self.value, base_value)


def table(
    title: str, columns: Sequence[Column[L]], lines: Iterable[L], notes: Sequence[str] = ()
) -> Table:
    """A table of lines.

    Raises:
        ValueError: if two columns share a head.
    """
    body = [[column.cell(line) for column in columns] for line in lines]
    return Table(title, [column.head for column in columns], body, notes)


def marked(head: str, text: Callable[[Line], str]) -> Column[Line]:
    """A name, with † where a run is shipped with the repository."""
    return Column(head, lambda line: text(line) + cells.shipped_mark(line.rows))


def layer() -> Column[Line]:
    """The layer's name, with † where a run is shipped."""
    return marked("Layer", lambda line: layer_name(line.layer))


def count() -> Column[Line]:
    """How many folds, or runs, are ok."""
    return Column("n", lambda line: str(len({row.get("fold") or id(row) for row in line.ok})))


def percent(head: str, value: Value | None = None) -> Column[Line]:
    """Mean ± interval of a fraction in %, else how the runs ended; by default of the line's."""
    return Column(head, lambda line: cells.percent(line.rows, value or line.value))


def more_percent(head: str, value: Value) -> Column[Line]:
    """As `percent`, with a dash where no run is ok: another column says how they ended."""
    return Column(head, lambda line: cells.percent(line.rows, value) if line.ok else "–")


def difference(head: str, unknown: str = "–") -> Column[Line]:
    """To the base, with its interval; empty without a base, `unknown` without shared seeds."""
    return Column(head, lambda line: "" if line.base is None else _signed(line, unknown))


def published(
    head: str, number: Callable[[L], float | None], digits: int = 2, sign: bool = False
) -> Column[L]:
    """A number of the paper's, or a dash."""
    return Column(head, lambda line: cells.fixed(number(line), digits, sign))


def first(head: str, text: Callable[[Row], str]) -> Column[Line]:
    """What the first run that is ok says; a dash without one."""
    return Column(head, lambda line: text(line.first) if line.first else "–")


def params() -> Column[Line]:
    """Learnable parameters."""
    return first("Params", lambda row: f"{row['params']:,}")


def seconds(head: str) -> Column[Line]:
    """Training time of the first run that is ok."""
    return first(head, lambda row: f"{row['train_seconds']:.0f}")


def mib(head: str, field: str) -> Column[Line]:
    """Bytes of the first run that is ok, in MiB."""
    return first(head, lambda row: cells.mib(row.get(field)))


def millions(head: str, field: str) -> Column[Line]:
    """A count of the first run that is ok, in millions."""
    return first(head, lambda row: cells.millions(row.get(field)))


def _signed(line: Line, unknown: str) -> str:
    found = line.difference
    return unknown if found is None else cells.with_interval(found, sign=True)
