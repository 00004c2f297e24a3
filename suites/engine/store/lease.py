"""A claim that other machines see, too, where the locks of a shared file system do not reach them.

flock tells processes of one machine apart at once, on any file system; whether it reaches other
machines depends on how the file system is mounted (NFS: yes unless local_lock, Lustre: only with
-o flock). So a claim is both: a lock, and a file whose time of change its holder renews.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

BEAT_SECONDS = 20.0
# Several beats: a slow file server is no reason to run twice.
LEASE_SECONDS = 120.0


def machine() -> str:
    """This machine since its last start; the containers on it share its locks, so its name too."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{uuid.getnode():x}"


def held_elsewhere(path: Path) -> bool:
    """Whether a process of another machine holds the lease.

    Of this machine's processes the lock tells more and sooner, so their leases do not count.
    """
    lease = _read(path)
    return (
        lease is not None and lease["machine"] != machine() and _age_seconds(path) < LEASE_SECONDS
    )


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Holds the lease, renewing it; False if another machine's process holds it."""
    if held_elsewhere(path) or not _take(path):
        yield False
        return
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(path)

    beats = threading.Thread(target=renew, daemon=True)
    beats.start()
    try:
        yield True
    finally:
        ended.set()
        beats.join()
        path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    """Writes a lease of this process, in place of one that has run out."""
    content = json.dumps({"machine": machine(), "pid": os.getpid(), "token": uuid.uuid4().hex})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(content)
    try:
        old = _read(path)
        if old is not None:
            aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
            with suppress(FileNotFoundError):
                path.rename(aside)
                moved = _read(aside)
                if moved != old:
                    # Somebody else was faster, and it was theirs.
                    with suppress(FileExistsError):
                        os.link(aside, path)
                aside.unlink(missing_ok=True)
        # A link is made or it is not, on network file systems too.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found


def _age_seconds(path: Path) -> float:
    """Since the last renewal, by the file server's clock, which need not be this machine's."""
    probe = path.with_name(f".{path.name}.{os.getpid()}.now")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    except OSError:
        return time.time() - path.stat().st_mtime
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
