"""Rows sorted into the tables that they belong to."""

from pathlib import Path

from stdcf.errors import UserError
from suites import store
from suites.registry import SUITES, get_suite
from suites.suite import Row, Suite


def suites_to_show(name: str | None) -> list[Suite]:
    """One suite, or all."""
    return [get_suite(n) for n in ([name] if name is not None else SUITES)]


def by_setting(suite: str, results: Path | None) -> dict[str, list[Row]]:
    """Setting -> rows; shipped rows and those of `results`, or of results/local.

    Raises:
        UserError: if `results` is given and is no folder.
    """
    if results is not None and not results.expanduser().is_dir():
        raise UserError(f"no results folder {results}")
    found: dict[str, list[Row]] = {}
    for row in store.rows((results or store.LOCAL).expanduser().resolve(), suite):
        found.setdefault(row["setting"], []).append(row)
    return found
