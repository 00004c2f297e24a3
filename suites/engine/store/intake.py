"""Takes runs of another machine into a results folder: first verified, then moved in whole."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from stdcf.whole_file import write_atomically
from suites.engine.spec import RunSpec, parse_spec
from suites.engine.store.archive import FILES, read_archive
from suites.engine.store.folder import FINAL_STATUSES, Claimed, RunFolder

# What a row repeats of its spec.
_SHARED = ("suite", "profile", "dataset", "model", "layer", "mode", "seed", "manifest")
_PART = re.compile(r"[\w=,+-][\w.=,+-]*")


@dataclass(frozen=True)
class Run:
    """A verified run, in the present schema."""

    spec: RunSpec
    row: Mapping[str, Any]
    files: Mapping[str, bytes]


def runs_in(source: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """("suite/setting/run", file name -> content) of every run of an archive or a folder.

    Raises:
        UserError: if it is neither, is damaged, or a file is larger than a run's may be.
    """
    if not source.is_dir():
        yield from read_archive(source)
        return
    for spec in sorted(source.glob("[!.]*/[!.]*/[!.]*/spec.json")):
        folder = spec.parent
        files = {}
        for name, most in FILES.items():
            path = folder / name
            if path.is_file():
                if path.stat().st_size > most:
                    raise UserError(f"{path} is larger than {most} bytes, a run's limit")
                files[name] = path.read_bytes()
        yield str(folder.relative_to(source)), files


def verify(name: str, files: Mapping[str, bytes]) -> Run | None:
    """The run, or None if it has not ended.

    Its spec must be valid under its own schema version, its folder must bear its id, and its row
    must belong to its spec.

    Raises:
        UserError: saying what does not fit.
    """
    if "result.json" not in files:
        return None
    try:
        old_spec = _json_object(files.get("spec.json", b""), "spec.json")
        old_row = _json_object(files["result.json"], "result.json")
        folder_id = name.rpartition("-")[2]
        if old_row.get("run_id") != folder_id:
            raise UserError(f"its row is of run {old_row.get('run_id')!r:.40}")
        version = version_of(old_spec)
        migrated, row = migrate(old_spec, old_row)
        assert row is not None
        spec = parse_spec(json.dumps(migrated))
        if version == CURRENT and spec.run_id != folder_id:
            raise UserError(f"its spec is of run {spec.run_id}: one of them was changed")
        if version != CURRENT:
            row = {**row, "run_id": spec.run_id, "migrated_from": folder_id}
        _check_row(spec, row)
        for text in ("curves.csv", "log.txt"):
            _text(files.get(text, b""), text)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    contents = dict(files)
    if version != CURRENT:
        contents["spec.json"] = (spec.model_dump_json(indent=1) + "\n").encode()
        contents["result.json"] = (json.dumps(row, indent=1) + "\n").encode()
    return Run(spec, row, contents)


def install(run: Run, results: Path, *, replace: bool = False) -> str:
    """Puts a run where it belongs; returns "new", "same", "kept", "replaced" or "running".

    A row that is there stays, unless it would be run again (it timed out, say) and the new one
    would not; `replace` lets the new one win always. A run that is being worked on is left alone.
    """
    folder = RunFolder(results / run.spec.folder_name)
    if not folder.path.exists():
        _move_in(run, folder.path, results)
        return "new"
    if json.dumps(folder.result(), sort_keys=True) == json.dumps(run.row, sort_keys=True):
        return "same"
    try:
        with folder.claim():
            known = folder.result()
            is_better = run.row["status"] in FINAL_STATUSES and not folder.is_done()
            if known is not None and not replace and not is_better:
                return "kept"
            # The row last: until then the folder holds the old run.
            for name in sorted(run.files, key=lambda name: name == "result.json"):
                write_atomically(folder.path / name, run.files[name])
            return "replaced" if known is not None else "new"
    except Claimed:
        return "running"


def _move_in(run: Run, destination: Path, results: Path) -> None:
    # Above the level of runs, so that nobody takes it for one.
    staging = results / f".incoming-{os.getpid()}"
    try:
        staging.mkdir(parents=True, exist_ok=True)
        for name, content in run.files.items():
            (staging / name).write_bytes(content)
        destination.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    text = _text(content, name)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{name} is not a JSON object")
    return found


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text") from error


def _check_row(spec: RunSpec, row: Mapping[str, Any]) -> None:
    for field in _SHARED:
        if row.get(field) != getattr(spec, field):
            raise UserError(
                f"its row has {field} {row.get(field)!r:.40}, its spec {getattr(spec, field)!r:.40}"
            )
    if not re.fullmatch("[a-z_]+", str(row.get("status"))):
        raise UserError(f"its row has no valid status: {row.get('status')!r:.40}")
    for field in ("finished", "device", "commit"):
        if not isinstance(row.get(field), str):
            raise UserError(f"its row has no {field}")
    parts = spec.folder_name.split("/")
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise UserError(f"its spec asks for the folder {spec.folder_name!r:.80}")


Json = dict[str, Any]
# The spec and the row of one run; a run that has not ended has no row.
Migration = Callable[[Json, Json | None], tuple[Json, Json | None]]

CURRENT: int = RunSpec.model_fields["schema_version"].default

# Version -> how a run of it becomes one of the next. There is no version before 1.
MIGRATIONS: dict[int, Migration] = {}


def version_of(spec: Json) -> int:
    """The schema version of a spec.json; the first specs did not say it.

    Raises:
        UserError: if it is not a version.
    """
    version = spec.get("schema_version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise UserError(f"schema_version must be a number from 0, not {version!r}")
    return version


def migrate(spec: Json, row: Json | None) -> tuple[Json, Json | None]:
    """The run in the present schema, without its new id; as it was if it is of the present one.

    Raises:
        UserError: for a version that this code does not know.
    """
    version = version_of(spec)
    if version > CURRENT:
        raise UserError(
            f"written under schema {version}, and this code knows {CURRENT}; update the code"
        )
    while version < CURRENT:
        if version not in MIGRATIONS:
            raise UserError(f"written under schema {version}, which this code cannot read")
        spec, row = MIGRATIONS[version](spec, row)
        version += 1
        spec = {**spec, "schema_version": version}
    return spec, row
