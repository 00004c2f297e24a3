"""Runs in one file, to be carried to another machine: a tar of their texts, with a hash of each.

Written and read with the standard library alone. The first member, manifest.json, holds the
SHA-256 of every other; each other is ``suite/setting/run/FILE`` with FILE one of `FILES`. Nothing
is unpacked by tarfile: links, other names and larger files than a run has are refused.
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from stdcf.errors import UserError

MANIFEST = "manifest.json"
FORMAT = 1
# What belongs to a run, with the largest size that is taken; checkpoints and state never do.
FILES = {"spec.json": 2**20, "result.json": 2**24, "curves.csv": 2**26, "log.txt": 2**26}
SUFFIXES = (".tar", ".tar.gz", ".tgz")

_MOST_RUNS = 200_000
_LARGEST_MANIFEST = 2**27
_LARGEST_WHOLE = 2**34
# No part begins with a dot, so no name leads out of the folder.
_NAME = re.compile(r"(?:[\w=,+-][\w.=,+-]*/){3}[\w.]+")


def write_archive(results: Path, runs: Iterable[str], file: Path) -> int:
    """Writes the runs ("suite/setting/run" under `results`) into a tar; returns how many.

    The same runs give the same bytes.

    Raises:
        UserError: if the name does not end as a tar's, or a file is larger than a run's may be.
    """
    if not file.name.endswith(SUFFIXES):
        raise UserError(f"{file.name} must end in {', '.join(SUFFIXES)}")
    paths = [
        f"{run}/{name}"
        for run in sorted(runs, key=lambda run: run.split("/"))
        for name in FILES
        if (results / run / name).is_file()
    ]
    hashes = {path: hashlib.sha256(_content(results, path)).hexdigest() for path in paths}
    manifest = json.dumps({"format": FORMAT, "files": hashes}, indent=1).encode()
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with _writer(temporary, compress=not file.name.endswith(".tar")) as tar:
            _add(tar, MANIFEST, manifest)
            for path in paths:
                _add(tar, path, _content(results, path))
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return len({path.rpartition("/")[0] for path in paths})


def _content(results: Path, path: str) -> bytes:
    file = results / path
    if file.stat().st_size > FILES[file.name]:
        raise UserError(f"{file} is larger than {FILES[file.name]} bytes, a run's limit")
    return file.read_bytes()


@contextmanager
def _writer(path: Path, *, compress: bool) -> Iterator[tarfile.TarFile]:
    with path.open("wb") as file:
        if not compress:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield tar
            return
        # Without a name and a time, so that the bytes are the same.
        with (
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield tar


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def read_archive(file: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """("suite/setting/run", file name -> content) of every run, each file against its hash.

    Raises:
        UserError: if it is not an archive of runs, is damaged, or holds anything else.
    """
    try:
        with tarfile.open(file, "r|*") as tar:
            yield from _runs(tar)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise UserError(f"no file {file}") from error
        raise UserError(f"{file} cannot be read as a tar: {error}; export it again") from error


def _runs(tar: tarfile.TarFile) -> Iterator[tuple[str, dict[str, bytes]]]:
    hashes: Mapping[str, str] | None = None
    missing: set[str] = set()
    files: dict[str, bytes] = {}
    run, total = "", 0
    for member in tar:
        if hashes is None:
            hashes = _hashes(tar, member)
            missing = set(hashes)
            continue
        if member.name not in missing or not member.isreg():
            raise UserError(f"{member.name!r:.80} is not a file that the archive's manifest lists")
        own, _, name = member.name.rpartition("/")
        content = _read(tar, member, FILES[name])
        total += len(content)
        if total > _LARGEST_WHOLE:
            raise UserError(f"it holds more than {_LARGEST_WHOLE} bytes; export fewer runs")
        if hashlib.sha256(content).hexdigest() != hashes[member.name]:
            raise UserError(f"{member.name} does not have the hash of the manifest; export again")
        missing.discard(member.name)
        if own != run and files:
            yield run, files
            files = {}
        run = own
        files[name] = content
    if hashes is None:
        raise UserError("it is empty; suites.results export makes one")
    if missing:
        raise UserError(f"{len(missing)} files of the manifest are missing, {min(missing)} first")
    if files:
        yield run, files


def _hashes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, str]:
    if member.name != MANIFEST or not member.isreg():
        raise UserError(f"it does not begin with {MANIFEST}; suites.results export makes one")
    text = _read(tar, member, _LARGEST_MANIFEST)
    try:
        manifest: Any = json.loads(text)
        found, hashes = manifest["format"], manifest["files"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{MANIFEST} is damaged; export again") from error
    if found != FORMAT:
        raise UserError(f"format {found!r:.20}, and this code reads {FORMAT}; update it")
    if not isinstance(hashes, dict) or len(hashes) > _MOST_RUNS * len(FILES):
        raise UserError(f"{MANIFEST} lists no files, or too many")
    for path, hexadecimal in hashes.items():
        if not _NAME.fullmatch(path) or path.rpartition("/")[2] not in FILES:
            raise UserError(f"{path!r:.80} is not a file of a run; there are {', '.join(FILES)}")
        if not isinstance(hexadecimal, str):
            raise UserError(f"{MANIFEST} has no hash of {path}")
    return hashes


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file: IO[bytes] | None = tar.extractfile(member) if member.size <= most else None
    if file is None:
        raise UserError(f"{member.name!r:.80} is larger than {most} bytes")
    return file.read()
