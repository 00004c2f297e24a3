"""All tables of one setting: the suite's own, then the tests between its rows."""

from collections.abc import Sequence

from suites.engine.suite import Row, Suite
from suites.reporting.comparisons import comparison_table
from suites.tables.table import Table


def setting_tables(suite: Suite, setting: str, rows: Sequence[Row]) -> list[Table]:
    """The suite's tables and, where rows share seeds, their paired differences."""
    tables = suite.tables(rows)
    synthetic = " — SYNTHETIC clips" if any(row.get("synthetic") for row in rows) else ""
    comparisons = comparison_table(rows, setting + synthetic)
    return [*tables, comparisons] if comparisons is not None else tables
