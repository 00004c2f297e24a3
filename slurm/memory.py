"""Whether the kernel killed something of this job for want of memory."""

from pathlib import Path

_CGROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")


def oom_kills() -> int:
    """How many processes of this process's cgroup were killed so far; 0 where nothing counts."""
    try:
        lines = _CGROUPS.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            file = _ROOT / "memory" / path.lstrip("/") / "memory.oom_control"
        elif not controllers:
            file = _ROOT / path.lstrip("/") / "memory.events"
        else:
            continue
        try:
            words = dict(item.split() for item in file.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "oom_kill" in words:
            return int(words["oom_kill"])
    return 0
