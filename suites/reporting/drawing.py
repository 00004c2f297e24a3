"""Draws the figures of many settings: what is drawn already is kept, the rest by several processes.

Beside the figures of a setting stands drawn.json with a digest of the rows and of the code that
drew them. While both are the same, and no file was touched, the same bytes would come out again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from suites.engine.own_suites import source_file
from suites.engine.registry import SUITES, get_suite
from suites.engine.suite import Row
from suites.paths import REPOSITORY
from suites.reporting.figures import style
from suites.reporting.figures.common import draw_figures

RECORD = "drawn.json"
_SUITES = REPOSITORY / "suites"

# A process of its own takes a second to start.
_FEW = 4


@dataclass(frozen=True)
class Setting:
    """The rows of one setting of a suite, as `settings.by_setting` names them."""

    suite: str
    name: str
    rows: Sequence[Row]

    def folder(self, root: Path) -> Path:
        """Where its figures are kept."""
        return root / self.suite / self.name

    @property
    def digest(self) -> str:
        """Of all that decides the figures; not of where the rows lie."""
        rows = [{k: v for k, v in row.items() if k != "folder"} for row in self.rows]
        content = [_code(self.suite), self.suite, self.name, rows]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def drawn(setting: Setting, root: Path) -> list[Path] | None:
    """The figures of a setting if they are up to date; None if they must be drawn."""
    folder = setting.folder(root)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["digest"] != setting.digest:
            return None
        paths = {folder / name: hexadecimal for name, hexadecimal in record["files"].items()}
        if all(_sha256(path) == hexadecimal for path, hexadecimal in paths.items()):
            return list(paths)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def draw_settings(
    settings: Sequence[Setting],
    root: Path,
    *,
    formats: Sequence[str] = style.FORMATS,
    keep: bool = True,
    processes: int | None = None,
    progress: Callable[[], object] = lambda: None,
) -> list[list[Path]]:
    """The figures of each setting under `root`, drawn where they are not up to date.

    Args:
        keep: record what was drawn, and draw only what is not.
        processes: None is one a core, or one alone for a few settings.
        progress: called once for each setting whose figures are there.
    """
    found = [drawn(setting, root) if keep else None for setting in settings]
    missing = [s for s, paths in zip(settings, found, strict=True) if paths is None]
    for _ in range(len(settings) - len(missing)):
        progress()
    jobs = [(setting, root, tuple(formats), keep) for setting in missing]
    count = processes or (1 if len(jobs) < _FEW else len(os.sched_getaffinity(0)))
    if count == 1:
        made = iter(_told(map(_draw, jobs), progress))
    else:
        # Not forked: Matplotlib and NumPy may have threads that a fork would lose.
        with ProcessPoolExecutor(min(count, len(jobs)), get_context("spawn")) as pool:
            made = iter(_told(pool.map(_draw, jobs), progress))
    return [next(made) if paths is None else paths for paths in found]


def _told(drawings: Iterable[list[Path]], progress: Callable[[], object]) -> list[list[Path]]:
    found = []
    for paths in drawings:
        found.append(paths)
        progress()
    return found


def _draw(job: tuple[Setting, Path, tuple[str, ...], bool]) -> list[Path]:
    setting, root, formats, keep = job
    folder = setting.folder(root)
    with style.only(*formats) if formats != style.FORMATS else nullcontext():
        paths = draw_figures(get_suite(setting.suite), setting.rows, folder)
    if keep:
        _forget_old(folder, paths)
        if paths:
            files = {str(path.relative_to(folder)): _sha256(path) for path in paths}
            record: dict[str, Any] = {"digest": setting.digest, "files": files}
            (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return paths


def _forget_old(folder: Path, paths: Sequence[Path]) -> None:
    """Removes what an earlier call drew here and this one did not."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        old = {folder / str(Path(name).name) for name in record["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return
    for path in sorted(old - set(paths)):
        path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _code(suite: str) -> str:
    """Digest of all code that may draw the suite's figures, and of what draws them."""
    versions = [metadata.version(name) for name in ("matplotlib", "seaborn")]
    content = hashlib.sha256(" ".join(versions).encode())
    for room in (f"experiments/{suite}", "experiments/shared", "reporting"):
        for path in sorted((_SUITES / room).rglob("*.py")):
            content.update(path.read_bytes())
    own = None if suite in SUITES else source_file(suite)
    if own is not None:
        content.update(own.read_bytes())
    return content.hexdigest()
