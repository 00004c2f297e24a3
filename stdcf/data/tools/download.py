"""Archives by URL: resumed, checked against their SHA-1, unpacked whole or not at all."""

import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stdcf.errors import UserError

_BLOCK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 60
# A dropped connection is taken up again at once; if nothing at all came, the user decides.
_ATTEMPTS = 4


@dataclass(frozen=True)
class Archive:
    """A zip of videos, unpacked into the folder of its name."""

    name: str
    url: str
    sha1: str


_KTH = "http://www.nada.kth.se/cvap/actions/"
KTH_SEQUENCES_URL = _KTH + "00sequences.txt"
KTH_ARCHIVES = tuple(
    Archive(name, f"{_KTH}{name}.zip", sha1)
    for name, sha1 in {
        "walking": "a3e81537271a0ab4576591774baa38c2d97b7e3a",
        "jogging": "21943bdbcef9dad106db0d74661e49eaeaa15a25",
        "running": "da83bb313edfd4455fffdda6263696fa10d43c6f",
        "boxing": "adb36ed9c29c846d44d2ba15f348bd115c951bbd",
        "handwaving": "0792f7cd69f7f895a205c08ac212ddaa7177e370",
        "handclapping": "d3b81261aa822ef63d0d1523f945bfaff27814d2",
    }.items()
)

Progress = Callable[[str, int, int | None], None]  # file, bytes so far, bytes in all


def download(
    archives: Iterable[Archive],
    root: Path,
    *,
    files: Iterable[tuple[str, str]] = (),
    keep: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Fetch and unpack what is not there yet; returns the names that were fetched.

    files: further (name, URL) without a checksum, fetched first. A download that was cut off goes
    on from its .part. keep: leave the archives beside the folders. Raises UserError where the net,
    a checksum, an archive or the disk fails; what is complete stays.
    """
    fetched = []
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name, url in files:
            if not (root / name).exists():
                _fetch(url, root / f".{name}.part", progress).replace(root / name)
                fetched.append(name)
        for archive in archives:
            if _is_unpacked(archive, root):
                continue
            zipped = root / f"{archive.name}.zip"
            if not (zipped.exists() and _sha1(zipped) == archive.sha1):
                part = _fetch(archive.url, root / f"{archive.name}.zip.part", progress)
                if (found := _sha1(part)) != archive.sha1:
                    part.unlink()
                    raise UserError(
                        f"{archive.url} has the SHA-1 {found} instead of {archive.sha1}: "
                        "the download was damaged, start it again."
                    )
                part.replace(zipped)
            _unpack(archive, zipped, root)
            if not keep:
                zipped.unlink()
            fetched.append(archive.name)
    except OSError as error:
        raise UserError(
            f"Cannot write to {root}: {error.strerror or error}. Give a folder with room."
        ) from error
    return fetched


def _fetch(url: str, part: Path, progress: Progress | None) -> Path:
    """The whole of a URL in `part`."""
    reason = ""
    for _ in range(_ATTEMPTS):
        had_bytes = part.stat().st_size if part.exists() else 0
        try:
            if _fetch_rest(url, part, had_bytes, progress):
                return part
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise UserError(f"Cannot download {url}: {error.code} {error.reason}.") from error
            # Nothing is left to ask for: complete, or not what the server has.
            if error.headers.get("Content-Range") == f"bytes */{had_bytes}":
                return part
            part.unlink()
            continue
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
        ) as e:
            reason = str(getattr(e, "reason", e))
        if not part.exists() or part.stat().st_size <= had_bytes:
            break
    raise UserError(
        f"Cannot download {url}: {reason}. Run the same command again: it goes on where it stopped."
    )


def _fetch_rest(url: str, part: Path, had_bytes: int, progress: Progress | None) -> bool:
    """Append what `part` lacks; whether it is whole now."""
    request = urllib.request.Request(url)
    if had_bytes:
        request.add_header("Range", f"bytes={had_bytes}-")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        # A server that does not resume answers 200 and starts over.
        start = had_bytes if response.status == 206 else 0
        rest = response.headers.get("Content-Length")
        whole_bytes = start + int(rest) if rest else None
        with part.open("ab" if start else "wb") as file:
            while block := response.read(_BLOCK_BYTES):
                file.write(block)
                if progress:
                    progress(part.name.removesuffix(".part").lstrip("."), file.tell(), whole_bytes)
    return whole_bytes is None or part.stat().st_size == whole_bytes


def _sha1(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha1").hexdigest()


def _unpack(archive: Archive, zipped: Path, root: Path) -> None:
    """Its files, flat, into root/<name>; no name in the archive can lead elsewhere."""
    temporary = root / f".{archive.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    sizes = {}
    try:
        with zipfile.ZipFile(zipped) as content:
            for member in content.infolist():
                name = PurePosixPath(member.filename.replace("\\", "/")).name
                if member.is_dir() or name in ("", ".", "..") or name.startswith("."):
                    continue
                with content.open(member) as source, (temporary / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                sizes[name] = member.file_size
    except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:
        # RuntimeError: it is encrypted, or compressed by a method that zipfile does not know.
        raise UserError(f"Cannot unpack {zipped}: {error}. Delete it and start again.") from error
    folder = root / archive.name
    folder.mkdir(exist_ok=True)
    for name in sizes:
        (temporary / name).replace(folder / name)
    temporary.rmdir()
    # Written last: it says that all of them are there.
    receipt = {"sha1": archive.sha1, "bytes": sizes}
    _receipt(archive, root).write_text(json.dumps(receipt, indent=1), encoding="utf-8")


def _is_unpacked(archive: Archive, root: Path) -> bool:
    try:
        receipt = json.loads(_receipt(archive, root).read_text(encoding="utf-8"))
        return receipt["sha1"] == archive.sha1 and all(
            (root / archive.name / name).stat().st_size == size
            for name, size in receipt["bytes"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _receipt(archive: Archive, root: Path) -> Path:
    return root / f".{archive.name}.json"
