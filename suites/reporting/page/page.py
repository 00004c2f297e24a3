"""One self-contained page of all results: tables, figures, every run. It asks for no network.

The templates escape everything that comes from a run, and the page's script sets it as text. A
content security policy lets nothing run or load but the page's own script, style and figures.
"""

import base64
import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from stdcf.errors import UserError
from stdcf.whole_file import check_replaceable, write_atomically
from suites import paths
from suites.engine.registry import get_suite
from suites.engine.store import folder as store
from suites.engine.suite import Row
from suites.reporting.comparisons import setting_tables
from suites.reporting.drawing import Setting, draw_settings
from suites.reporting.figures.common import COMMON
from suites.reporting.page.data import pack, runs_json
from suites.reporting.page.overview import overview
from suites.reporting.settings import grouped, suites_to_show
from suites.tables.table import Table

_SCRIPTS = ("data.js", "runs.js", "detail.js", "overview.js", "page.js")
_LONGEST_REASON = 400


def write_page(
    path: Path, name: str | None, results: Path | None, *, with_figures: bool = True
) -> Path:
    """Writes the page of one suite, or of all; returns where.

    Figures that are missing or out of date are drawn into figures/ in the results folder first.

    Args:
        results: folder of runs beside those shipped; None is results/local.

    Raises:
        UserError: if there are no results, or the file cannot be written or is something else's.
    """
    target = path.expanduser().resolve()
    if target.is_dir():
        raise UserError(f"{path} is a folder; give a file, as {path / 'report.html'}")
    store.check_writable(target.parent, "--html")
    check_replaceable(target, "<!doctype html>", "--html")
    root = paths.results_folder(results)
    suites = suites_to_show(name)
    name = suites[0].name if name is not None else None
    rows = store.rows(root, name)
    if not rows:
        raise UserError(f"no results yet; python -m suites.run {name or 'kth_table2'} makes some")
    settings = [
        Setting(suite.name, setting, found)
        for suite in suites
        for setting, found in grouped([r for r in rows if r["suite"] == suite.name]).items()
    ]
    with ThreadPoolExecutor(1) as background:
        # Other processes draw while this one packs.
        data = background.submit(lambda: pack(runs_json(rows)))
        tables = [setting_tables(get_suite(s.suite), s.name, s.rows) for s in settings]
        figures = _figures(settings, root / "figures") if with_figures else [None] * len(settings)
    shown = [
        _shown(setting, own, files, place)
        for place, (setting, own, files) in enumerate(zip(settings, tables, figures, strict=True))
    ]
    html = _render(
        summary=_summary(rows),
        settings=shown,
        not_run=sorted({s.name for s in suites} - {setting.suite for setting in settings}),
        failures=_failures(rows),
        published=_published(),
        overview=pack(json.dumps(overview(rows))),
        data=data.result(),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, html)
    return target


def _figures(settings: Sequence[Setting], root: Path) -> list[list[tuple[str, str]] | None]:
    """Of each setting (name, packed SVG) of each figure, drawn where it is not up to date."""
    store.check_writable(root, "--results, or leave figures out with --no-figures")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("drawing figures", total=len(settings))
        found = draw_settings(settings, root, progress=lambda: progress.advance(bar))
    return [
        [(path.stem, pack(path.read_bytes())) for path in paths if path.suffix == ".svg"]
        for paths in found
    ]


def _shown(
    setting: Setting, tables: Sequence[Table], figures: list[tuple[str, str]] | None, place: int
) -> dict[str, Any]:
    """What the template shows of a setting."""
    return {
        "suite": setting.suite,
        "name": setting.name,
        "about": get_suite(setting.suite).title,
        "count": len(setting.rows),
        "count_ok": sum(row["status"] == "ok" for row in setting.rows),
        "tables": tables,
        "figures": figures
        and [
            {"key": f"figure-{place}-{number}", "words": _words(name), "packed": packed}
            for number, (name, packed) in enumerate(figures)
        ],
    }


def _render(**content: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    assets = files("suites.reporting.page") / "assets"
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("suites.reporting.page"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["digest"] = _digest
    return environment.get_template("page.html").render(
        style=(assets / "page.css").read_text(encoding="utf-8"),
        script="".join((assets / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        **content,
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _summary(rows: Sequence[Row]) -> str:
    days = sorted({str(row["finished"])[:10] for row in rows})
    ok = sum(row["status"] == "ok" for row in rows)
    words = [
        f"{len(rows):,} runs, {ok:,} ok and {len(rows) - ok:,} not",
        f"finished {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else ""),
        f"on {', '.join(_most(str(row['device']) for row in rows))}",
    ]
    synthetic = sum(bool(row.get("synthetic")) for row in rows)
    if synthetic:
        words.append(f"{synthetic:,} on SYNTHETIC clips")
    return "; ".join(words)


def _most(names: Iterable[str], limit: int = 4) -> list[str]:
    found = [name for name, _ in Counter(names).most_common()]
    return found[:limit] + ([f"{len(found) - limit} more"] if len(found) > limit else [])


def _words(name: str) -> str:
    """What a figure is called: figure5 is Figure 5."""
    if name in COMMON:
        return COMMON[name].words
    return re.sub(r"(?<=[a-z])(?=\d)", " ", name.replace("_", " ")).capitalize()


def _failures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Failed runs by suite, status and reason, the most frequent first."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["status"] != "ok":
            reason = " ".join(str(row.get("reason") or "no reason given").split())
            found.setdefault((row["suite"], row["status"], reason), []).append(row["run_id"])
    return [
        {
            "suite": suite,
            "status": status,
            "reason": reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…",
            "run_ids": run_ids,
        }
        for (suite, status, reason), run_ids in sorted(
            found.items(), key=lambda item: (-len(item[1]), item[0])
        )
    ]


def _published() -> list[Table]:
    tables = []
    for path in sorted(paths.PUBLISHED.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        columns = [name.replace("_", " ") for name in header]
        tables.append(Table(path.stem.replace("_", " "), columns, rows))
    return tables
