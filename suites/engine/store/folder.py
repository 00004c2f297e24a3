"""Runs on disk: one folder a run, each file written whole or not at all."""

import csv
import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.whole_file import write_atomically
from suites.engine.spec import RunSpec, parse_spec
from suites.engine.store.index import read_rows
from suites.engine.store.lease import held, held_elsewhere
from suites.engine.store.shipped import shipped_runs

# A row with one of these would come out the same again; the others are run again.
FINAL_STATUSES = frozenset({"ok", "nan", "cap_exceeded", "oom"})


class Claimed(Exception):
    """Another process is working on the run."""


@dataclass(frozen=True)
class RunFolder:
    """spec.json, result.json, curves.csv and log.txt; also state.json and checkpoints meanwhile."""

    path: Path

    @classmethod
    def create(cls, results: Path, spec: RunSpec) -> "RunFolder":
        """The folder of a run under a results folder, with its spec."""
        folder = cls(results / spec.folder_name)
        folder.path.mkdir(parents=True, exist_ok=True)
        if not folder.spec_file.exists():
            write_atomically(folder.spec_file, spec.model_dump_json(indent=1) + "\n")
        return folder

    @property
    def spec_file(self) -> Path:
        return self.path / "spec.json"

    @property
    def log_file(self) -> Path:
        return self.path / "log.txt"

    def spec(self) -> RunSpec:
        """The run's spec."""
        try:
            return parse_spec(self.spec_file.read_text(encoding="utf-8"))
        except UserError as error:
            raise UserError(f"{self.spec_file}: {error}") from error

    def result(self) -> dict[str, Any] | None:
        """The run's row, or None while there is none."""
        return _read_json(self.path / "result.json")

    def state(self) -> dict[str, Any] | None:
        """Where a running worker stands: stage, epoch, fraction, when that was written."""
        return _read_json(self.path / "state.json")

    def is_done(self) -> bool:
        """Whether running it again would give the same row."""
        result = self.result()
        return result is not None and result["status"] in FINAL_STATUSES

    def is_claimed(self) -> bool:
        """Whether a living process works on it, here or on another machine."""
        if held_elsewhere(self.path / "lease.json"):
            return True
        try:
            with (self.path / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def write_result(self, result: dict[str, Any]) -> None:
        """Ends the run with this row."""
        write_atomically(self.path / "result.json", json.dumps(result, indent=1) + "\n")

    def write_state(self, **state: Any) -> None:
        """For whoever watches."""
        write_atomically(
            self.path / "state.json", json.dumps({**state, "updated": time.time()}) + "\n"
        )

    def write_curves(self, rows: Sequence[dict[str, Any]]) -> None:
        """One row an epoch."""
        text = io.StringIO()
        if rows:
            writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_atomically(self.path / "curves.csv", text.getvalue())

    @contextmanager
    def claim(self, wait_seconds: float = 0.0) -> Iterator[int]:
        """Holds the run for this process; the system lets go of it when the process dies.

        Yields:
            A file descriptor: a process that inherits it holds the run too.

        Raises:
            Claimed: if another process holds it for longer than `wait_seconds`.
        """
        deadline = time.monotonic() + wait_seconds
        with (self.path / "lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise Claimed(str(self.path)) from None
                    time.sleep(0.1)
            with held(self.path / "lease.json") as is_held:
                if not is_held:
                    raise Claimed(f"{self.path}, by another machine")
                # What a killed worker had half written; only the holder of the claim writes these.
                for leftover in self.path.glob(".*.pt.*.tmp"):
                    leftover.unlink(missing_ok=True)
                yield lock.fileno()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def check_writable(folder: Path, option: str = "--results") -> None:
    """Tries to write into a folder, or where it would be made; leaves nothing behind.

    Raises:
        UserError: if it cannot be written, naming the option that chooses another.
    """
    try:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        probe = existing / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}); choose another folder with {option}"
        ) from error


def run_folders(results: Path, suite: str | None = None) -> list[RunFolder]:
    """Every run under a results folder, sorted by path."""
    pattern = f"{suite or '*'}/*/*/spec.json"
    return [RunFolder(spec.parent) for spec in sorted(results.glob(pattern))]


def rows(results: Path, suite: str | None = None) -> list[dict[str, Any]]:
    """The rows of all ended runs; a local one takes the place of the shipped one of its name.

    Each row is the run's result with "shipped", "setting" and "folder", where the run lies, beside
    it. Of runs that differ in their id alone the latest is taken; those of other clips stay, with
    their own manifest.

    Raises:
        UserError: naming a result.json that is not a row.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for root, shipped in ((shipped_runs(), True), (results, False)):
        if shipped and root.resolve() == results.resolve():
            continue
        for path, result in read_rows(root, suite).items():
            # Without the id: a local run takes the place of a shipped one of other code.
            key = (path.rpartition("-")[0], result["manifest"])
            known = found.get(key)
            if known and known["shipped"] == shipped and known["finished"] > result["finished"]:
                continue
            setting = path.split("/")[1]
            row = {"setting": setting, "shipped": shipped, "folder": str(root / path)}
            found[key] = {**result, **row}
    return list(found.values())


def remove(folders: Sequence[Path]) -> list[Path]:
    """Removes runs; returns those that stay because a process works on them.

    A run is gone at once: its folder is renamed, then deleted.
    """
    running = []
    for folder in folders:
        # Above the level of runs, so that nobody takes it for one.
        doomed = folder.parents[2] / f".removed-{os.getpid()}"
        try:
            with RunFolder(folder).claim():
                folder.rename(doomed)
        except Claimed:
            running.append(folder)
            continue
        shutil.rmtree(doomed)
        for parent in folder.parents[:2]:
            if any(parent.iterdir()):
                break
            parent.rmdir()
    return running


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a file, each cut at 300 characters; nothing if it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 400 * lines))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line[:300] for line in text.splitlines()[-lines:]]
