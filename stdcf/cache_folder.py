"""Where things are kept that can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$STDCF_CACHE, or ~/.cache/stdcf."""
    given = os.environ.get("STDCF_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "stdcf"
