"""Rows sorted into the tables that they belong to."""

from collections.abc import Sequence
from pathlib import Path

from suites import paths
from suites.engine.registry import all_suites, get_suite
from suites.engine.store import folder as store
from suites.engine.suite import Row, Suite


def suites_to_show(name: str | None) -> list[Suite]:
    """One suite, or all."""
    return [get_suite(n) for n in ([name] if name is not None else all_suites())]


def by_setting(suite: str, results: Path | None) -> dict[str, list[Row]]:
    """Setting -> rows; shipped rows and those of `results`, or of results/local.

    Where a setting holds rows of several sets of clips (videos were added, say), each is on its
    own, by the setting and the start of its manifest; variations of a set stay with it.

    Raises:
        UserError: if `results` is given and is not a folder.
    """
    return grouped(store.rows(paths.results_folder(results), suite))


def grouped(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Setting -> rows, of rows of one suite, as `by_setting` tells settings apart."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        clips = row.get("base_manifest") or row["manifest"]
        found.setdefault(row["setting"], {}).setdefault(clips, []).append(row)
    return {
        setting if len(by_manifest) == 1 else f"{setting}-{manifest[:8]}": rows
        for setting, by_manifest in found.items()
        for manifest, rows in by_manifest.items()
    }
