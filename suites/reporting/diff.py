"""Two sets of results compared: what moved, beyond the noise of the seeds or within it."""

import io
import math
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from suites import paths
from suites.engine.store.index import read_rows
from suites.reporting.comparisons import p_text
from suites.reporting.stats import Comparison, holm, paired, unpaired
from suites.tables.table import Table

# What says who measured, when and under which name, not what came out.
_CIRCUMSTANCES = frozenset({"seed", "threads", "epochs_override", "wall_seconds"})
_NOISE = 0.05

Row = Mapping[str, Any]
# Suite, setting, layer and mode.
Group = tuple[str, str, str, str]
Groups = Mapping[Group, Mapping[int, Row]]


@dataclass(frozen=True)
class _Change:
    """One number of one group of seeds that is not the same on both sides."""

    group: Group
    field: str
    a: float
    b: float
    comparison: Comparison | None
    verdict: str


def diff_tables(a: str, b: str) -> list[Table]:
    """What moved from A to B, and which runs only one has; A and B are folders or commits.

    Numbers without noise (bytes, counts) moved if they are not the same. Others are tested over
    the seeds that both have, or, where fewer than two are shared, over all seeds as independent
    samples; Holm's correction counts all tests. Times are compared on the same device alone.

    Raises:
        UserError: if A or B is neither.
    """
    with _results(a) as first, _results(b) as second:
        before, after = _groups(first), _groups(second)
    for name, found in ((a, before), (b, after)):
        if not found:
            raise UserError(f"no runs in {name}; give a folder such as results/local, or a commit")
    changes = [
        change
        for group in before.keys() & after.keys()
        for change in _changes(group, before[group], after[group])
    ]
    return [_moved(a, b, changes, len(before.keys() & after.keys())), _runs(a, b, before, after)]


@contextmanager
def _results(name: str) -> Iterator[Path]:
    """A folder as it is; of a commit its results/runs."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        repository = str(paths.REPOSITORY)
        try:
            commit = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
            found = subprocess.run(
                ["git", "-C", repository, *commit], capture_output=True, text=True
            )
        except OSError as error:
            raise UserError(f"no folder {name}, and no git to look for a commit") from error
        if found.returncode:
            raise UserError(f"{name} is not a folder of results, nor a commit of this repository")
        archive = subprocess.run(
            ["git", "-C", repository, "archive", found.stdout.strip(), "results/runs"],
            capture_output=True,
        )
        if archive.returncode:
            raise UserError(f"commit {name} has no results/runs")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(temporary, filter="data")
        yield Path(temporary) / "results" / "runs"


def _groups(root: Path) -> dict[Group, dict[int, Row]]:
    """Seed -> row of every group; of runs that differ in their id alone the latest."""
    groups: dict[Group, dict[int, Row]] = {}
    for path, row in read_rows(root).items():
        suite, setting, _ = path.split("/")
        group = (suite, setting, str(row.get("layer", "")), str(row.get("mode", "")))
        seeds = groups.setdefault(group, {})
        seed = row.get("seed", 0)
        if seed not in seeds or seeds[seed]["finished"] <= row["finished"]:
            seeds[seed] = row
    return groups


def _changes(group: Group, a: Mapping[int, Row], b: Mapping[int, Row]) -> Iterator[_Change]:
    first, second = (
        {seed: row for seed, row in rows.items() if row["status"] == "ok"} for rows in (a, b)
    )
    fields = [field for rows in (first, second) for row in rows.values() for field in row]
    for field in dict.fromkeys(fields):
        x, y = _numbers(first, field), _numbers(second, field)
        shared = sorted(x.keys() & y.keys())
        is_same = all(x[s] == y[s] for s in shared) if shared else {*x.values()} == {*y.values()}
        if field in _CIRCUMSTANCES or not x or not y or is_same:
            continue
        comparison, verdict = _judge(field, x, y, first, second)
        if comparison is not None and comparison.difference.n == len(shared):
            x, y = ({s: values[s] for s in shared} for values in (x, y))
        a_mean, b_mean = (math.fsum(values.values()) / len(values) for values in (x, y))
        yield _Change(group, field, a_mean, b_mean, comparison, verdict)


def _judge(
    field: str,
    x: Mapping[int, float],
    y: Mapping[int, float],
    first: Mapping[int, Row],
    second: Mapping[int, Row],
) -> tuple[Comparison | None, str]:
    """The test of a number, or why there is none."""
    manifests = {row["manifest"] for rows in (first, second) for row in rows.values()}
    if len(manifests) > 1:
        return None, "other clips"
    if field.endswith(("_seconds", "_per_second")):
        every = [*first.values(), *second.values()]
        if len({(row.get("host"), row.get("device")) for row in every}) > 1:
            return None, "other machine"
    has_noise = any(isinstance(v, float) for v in (*x.values(), *y.values()))
    if not has_noise and len(set(x.values())) == len(set(y.values())) == 1:
        return None, "moved"
    shared = sorted(x.keys() & y.keys())
    if len(shared) >= 2:
        return paired([y[s] for s in shared], [x[s] for s in shared]), ""
    if min(len(x), len(y)) >= 2:
        return unpaired(list(y.values()), list(x.values())), ""
    return None, "one seed: noise unknown"


def _numbers(rows: Mapping[int, Row], field: str) -> dict[int, float]:
    found = {seed: row.get(field) for seed, row in rows.items()}
    return {
        seed: value
        for seed, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _moved(a: str, b: str, changes: Sequence[_Change], n_groups: int) -> Table:
    tested = [change for change in changes if change.comparison is not None]
    corrected = holm([change.comparison.p for change in tested if change.comparison is not None])
    ps = dict(zip(map(id, tested), corrected, strict=True))
    lines = []
    for change in changes:
        p = ps.get(id(change))
        verdict = change.verdict
        if not verdict:
            verdict = "no spread" if p is None else "within noise"
            verdict = "beyond noise" if p is not None and p < _NOISE else verdict
        lines.append((verdict, change, p))
    order = ("beyond noise", "moved", "no spread")
    lines.sort(key=lambda x: (x[0] not in order, x[0] == "within noise", x[1].group, x[1].field))
    body = []
    for verdict, change, p in lines:
        suite, setting, layer, mode = change.group
        name, factor, digits = _unit(change.field)
        found = change.comparison
        width = found.difference.half_width if found is not None else None
        difference = _fixed(factor * (change.b - change.a), digits, "+")
        interval = "" if width is None else f" ± {_fixed(factor * width, digits)}"
        body.append(
            [
                f"{suite} {setting}",
                " ".join(word for word in (layer, mode) if word),
                name,
                _fixed(factor * change.a, digits),
                _fixed(factor * change.b, digits),
                difference + interval,
                "–" if found is None else str(found.difference.n),
                p_text(p),
                verdict,
            ]
        )
    beyond = sum(verdict in order for verdict, _, _ in lines)
    return Table(
        f"What moved from A to B: {beyond} numbers beyond noise, {len(lines) - beyond} not",
        ["Setting", "Row", "What", "A", "B", "B − A", "n", "p (Holm)", "Verdict"],
        body,
        [
            f"A: {a}; B: {b}; {n_groups} rows are in both, their other numbers are the same",
            "moved: a number without noise is another one; no spread: the same difference at every "
            f"seed; beyond noise: Holm's p below {_NOISE:g} over the {len(tested)} tests here",
        ],
    )


def _runs(a: str, b: str, before: Groups, after: Groups) -> Table:
    body = []
    for group in sorted(before.keys() | after.keys()):
        first, second = before.get(group, {}), after.get(group, {})
        endings: dict[tuple[str, str], list[int]] = {}
        for seed in sorted(first.keys() | second.keys()):
            one, other = (rows[seed]["status"] if seed in rows else "–" for rows in (first, second))
            if one != other:
                endings.setdefault((one, other), []).append(seed)
        for ending, seeds in endings.items():
            name = " ".join(word for word in group[2:] if word)
            body.append([f"{group[0]} {group[1]}", name, ", ".join(map(str, seeds)), *ending])
    return Table(
        f"Runs that ended otherwise, or that only one has: {len(body)} rows",
        ["Setting", "Row", "Seeds", "A", "B"],
        body,
        [f"A: {a}; B: {b}; –: no such run"],
    )


def _unit(field: str) -> tuple[str, float, int | None]:
    """A field's name as a reader takes it, the factor to its unit, its digits; None: as needed."""
    if field.endswith("_bytes"):
        return field.removesuffix("_bytes").replace("_", " ") + ", MiB", 2**-20, 1
    if "accuracy" in field:
        return field.replace("_", " ") + ", %", 100, 2
    if field.endswith("_seconds"):
        return field.removesuffix("_seconds").replace("_", " ") + ", s", 1, 2
    return field.replace("_", " "), 1, None


def _fixed(value: float, digits: int | None, sign: str = "") -> str:
    if digits is None:
        return f"{int(value):{sign},}" if value.is_integer() else f"{value:{sign}.4g}"
    # Bytes may move by less than a tenth of a MiB; 0.0 would hide it.
    while value and digits < 6 and round(value, digits) == 0:
        digits += 1
    return f"{value:{sign}.{digits}f}"
