"""SHA-256 of files, remembered as long as a file's size and time of change stay."""

import contextlib
import hashlib
import json
import secrets
import threading
import time
from pathlib import Path

# A file may change again within one tick of its clock, so a fresh one is read again next time.
_SETTLED_SECONDS = 2.0


class Fingerprints:
    """The SHA-256 of files by path, kept in one JSON file beside the cache.

    Losing that file costs a second reading, nothing else; so it may be damaged, or written by
    several processes at once (the last one wins).
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.known = _read(file)
        self.fresh: dict[str, list] = {}

    def sha256(self, path: Path) -> str:
        """Hex digest of a file's content."""
        name = str(path.resolve())
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self.known.get(name)
        if known and known[:-1] == stamp:
            return str(known[-1])
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if time.time() - status.st_mtime > _SETTLED_SECONDS:
            with self.lock:
                self.fresh[name] = [*stamp, digest]
        return digest

    def save(self) -> None:
        """Add what was read anew; silent where the folder cannot be written."""
        if not self.fresh:
            return
        temporary = self.file.with_name(f".{secrets.token_hex(8)}.tmp")
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(_read(self.file) | self.fresh), encoding="utf-8")
            temporary.replace(self.file)
        with contextlib.suppress(OSError):
            temporary.unlink()


def _read(file: Path) -> dict[str, list]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: row for name, row in known.items() if isinstance(row, list) and len(row) == 4}
