"""Sizes in bytes, as they are written: "4GiB"."""

import re

from stdcf.errors import UserError

# No unit is none: "6" for 6GiB would be six bytes.
_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6}
_UNITS |= {"GB": 10**9}


def parse_bytes(text: str, least: int = 1) -> int:
    """Bytes of "4GiB", "500 MiB" or "1.5GB".

    Args:
        least: what is less is refused.

    Raises:
        UserError: for anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    factor = _UNITS.get(match[2].upper()) if match else None
    size = float(match[1]) * factor if match and factor else -1.0
    if not least <= size < 2**63:
        raise UserError(f"{text!r} is not a size; write one such as 500MiB, 4GiB or 6GB")
    return int(size)
