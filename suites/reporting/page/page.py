"""One self-contained page of all results: tables, figures, every run. It asks for no network.

Everything that comes from a run is escaped here or set as text by the page's script; a content
security policy lets nothing run or load but what this module put in.
"""

import base64
import csv
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.whole_file import write_atomically
from suites import paths
from suites.engine.registry import SUITES
from suites.engine.store import folder as store
from suites.engine.suite import Row
from suites.reporting.comparisons import setting_tables
from suites.reporting.drawing import Setting, draw_settings, drawn
from suites.reporting.figures.common import COMMON
from suites.reporting.page.data import pack, runs_json
from suites.reporting.settings import grouped, suites_to_show
from suites.tables.table import Table

# Settings whose figures are drawn for the page; those that suites.plot has drawn come on top.
MOST_DRAWN = 6
# With more settings, all but the first are folded.
_MOST_OPEN = 3
_SCRIPTS = ("data.js", "runs.js", "detail.js", "page.js")
_LONGEST_REASON = 400
_MOST_LINKS = 10


def write_page(path: Path, name: str | None, results: Path | None) -> Path:
    """Writes the page of one suite, or of all; returns where.

    Args:
        results: folder of runs beside those shipped; None is results/local.

    Raises:
        UserError: if there are no results, or the file cannot be written.
    """
    target = path.expanduser().resolve()
    if target.is_dir():
        raise UserError(f"{path} is a folder; give a file, as {path / 'report.html'}")
    store.check_writable(target.parent, "--html")
    root = (results or paths.LOCAL).expanduser().resolve()
    if results is not None and not root.is_dir():
        raise UserError(f"no results folder {results}")
    suites = suites_to_show(name)
    rows = store.rows(root, name)
    if not rows:
        raise UserError(f"no results yet; python -m suites.run {name or 'kth_table2'} makes some")
    settings = [
        Setting(suite.name, setting, found)
        for suite in suites
        for setting, found in grouped([r for r in rows if r["suite"] == suite.name]).items()
    ]
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(1) as background:
        # Other processes draw while this one packs.
        drawing = background.submit(_figures, settings, root / "figures", Path(temporary))
        data = pack(runs_json(rows))
        tables = [_tables_html(setting) for setting in settings]
        figures = drawing.result()
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, _page(name, rows, settings, tables, figures, data))
    return target


def _figures(
    settings: Sequence[Setting], kept: Path, temporary: Path
) -> dict[tuple[str, str], list[tuple[str, str]] | None]:
    """Suite and setting -> (name, packed SVG) of each figure; None where none were drawn."""
    known = {(s.suite, s.name): drawn(s, kept) for s in settings}
    missing = [s for s in settings if known[s.suite, s.name] is None]
    missing.sort(key=lambda s: max(row["finished"] for row in s.rows), reverse=True)
    chosen = missing[:MOST_DRAWN]
    new = draw_settings(chosen, temporary, formats=("svg",), keep=False)
    known |= {(s.suite, s.name): paths for s, paths in zip(chosen, new, strict=True)}
    return {
        key: None
        if paths is None
        else [(p.stem, pack(p.read_bytes())) for p in paths if p.suffix == ".svg"]
        for key, paths in known.items()
    }


def _page(
    name: str | None,
    rows: Sequence[Row],
    settings: Sequence[Setting],
    tables: Sequence[str],
    figures: Mapping[tuple[str, str], list[tuple[str, str]] | None],
    data: str,
) -> str:
    assets = files("suites.reporting.page") / "assets"
    script = "".join((assets / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (assets / "page.css").read_text(encoding="utf-8")
    sections, carried = [], [_carried("data-runs", data)]
    for place, (setting, html) in enumerate(zip(settings, tables, strict=True)):
        shown, packed = _figures_html(setting, figures[setting.suite, setting.name], place)
        sections.append(_section(setting, html + shown, settings, place))
        carried += packed
    content = {
        "title": "Results: memory-constrained video training",
        "summary": _summary(rows),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "suites": "\n".join([*sections, *_not_run(settings, name)]),
        "failures": _failures(rows),
        "published": _published(),
        "data": "\n".join(carried),
    }
    template = (assets / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: content[match[1]], template)


def _not_run(settings: Sequence[Setting], name: str | None) -> list[str]:
    """What is missing, by name."""
    missing = {name} if name is not None else set(SUITES)
    missing -= {setting.suite for setting in settings}
    words = ", ".join(sorted(missing))
    return [f'<p class="muted">No runs yet: {escape(words)}.</p>'] if missing else []


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _carried(name: str, packed: str) -> str:
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>'


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
    return escape("; ".join(words))


def _most(names: Any, limit: int = 4) -> list[str]:
    found = [name for name, _ in Counter(names).most_common()]
    return found[:limit] + ([f"{len(found) - limit} more"] if len(found) > limit else [])


def _section(setting: Setting, html: str, settings: Sequence[Setting], place: int) -> str:
    is_open = " open" if len(settings) <= _MOST_OPEN or place == 0 else ""
    is_first = place == 0 or settings[place - 1].suite != setting.suite
    title = f"{setting.suite}: {SUITES[setting.suite]}" if is_first else ""
    ok = sum(row["status"] == "ok" for row in setting.rows)
    words = f"{setting.name} — {ok} of {len(setting.rows)} runs ok"
    return (
        f"<h3>{escape(title)}</h3>\n" if title else ""
    ) + f"<details{is_open}><summary>{escape(words)}</summary>\n{html}</details>"


def _tables_html(setting: Setting) -> str:
    (suite,) = suites_to_show(setting.suite)
    return "\n".join(_table(t) for t in setting_tables(suite, setting.name, setting.rows))


def _table(table: Table) -> str:
    classes = [' class="number"' if is_number else "" for is_number in table.is_number]

    def line(cells: Sequence[str], tag: str, extra: str = "") -> str:
        shown = (
            f"<{tag}{extra}{kind}>{escape(cell)}</{tag}>"
            for cell, kind in zip(cells, classes, strict=True)
        )
        return f"<tr>{''.join(shown)}</tr>"

    head = line(table.columns, "th", ' scope="col"')
    body = "\n".join(line(row, "td") for row in table.rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(table.title)}">'
        f"<table><caption>{escape(table.title)}</caption><thead>{head}</thead>"
        f"<tbody>{body}</tbody></table></div>" + (f'<ul class="notes">{notes}</ul>' * bool(notes))
    )


def _figures_html(
    setting: Setting, figures: list[tuple[str, str]] | None, place: int
) -> tuple[str, list[str]]:
    """The figures as images to be filled, and what fills them."""
    if figures is None:
        words = (
            "Its figures are not on this page; python -m suites.plot draws them, and then they are."
        )
        return f'<p class="muted">{words}</p>', []
    shown, carried = [], []
    for number, (name, packed) in enumerate(figures):
        words = COMMON[name].words if name in COMMON else _words(name)
        alt = f"{words} ({setting.suite}, {setting.name}); the tables above hold the numbers"
        key = f"figure-{place}-{number}"
        carried.append(_carried(key, packed))
        shown.append(
            f'<figure><img data-figure="{key}" alt="{escape(alt)}">'
            f"<figcaption>{escape(words)}</figcaption></figure>"
        )
    return f'<div class="figures">{"".join(shown)}</div>' if shown else "", carried


def _words(name: str) -> str:
    """A file's name as words: figure5 is Figure 5."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", name.replace("_", " ")).capitalize()


def _failures(rows: Sequence[Row]) -> str:
    """Failed runs by suite, status and reason, with links to the first of each."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["status"] != "ok":
            reason = " ".join(str(row.get("reason") or "no reason given").split())
            found.setdefault((row["suite"], row["status"], reason), []).append(row)
    if not found:
        return "<p>Every run is ok.</p>"
    lines = []
    for (suite, status, reason), own in sorted(found.items(), key=lambda x: (-len(x[1]), x[0])):
        links = ", ".join(
            f'<a href="#run-{escape(suite)}.{escape(row["run_id"])}">{escape(row["run_id"])}</a>'
            for row in own[:_MOST_LINKS]
        )
        if len(own) > _MOST_LINKS:
            links += f" and {len(own) - _MOST_LINKS} more"
        shown = reason if len(reason) <= _LONGEST_REASON else reason[:_LONGEST_REASON] + "…"
        lines.append(
            f'<tr><td>{escape(suite)}</td><td class="failed">{escape(status)}</td>'
            f'<td>{escape(shown)}</td><td class="number">{len(own)}</td><td>{links}</td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Suite", "Status", "Reason"))
    head += '<th scope="col" class="number">Runs</th><th scope="col">Which</th>'
    return (
        '<div class="scroll" role="region" tabindex="0" aria-labelledby="failures-title"><table>'
        '<caption class="hidden">Failed runs by reason</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _published() -> str:
    tables = []
    for path in sorted(paths.PUBLISHED.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        columns = [name.replace("_", " ") for name in header]
        tables.append(_table(Table(path.stem.replace("_", " "), columns, rows)))
    return "\n".join(tables)
