"""Options as a user types them."""

import json
import re
from typing import Any

from stdcf.errors import UserError


def name_and_value(flag: str, text: str) -> tuple[str, Any]:
    """NAME=VALUE; the value as JSON where it is JSON, else as a word.

    Raises:
        UserError: for anything else, naming the flag.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UserError(f"{flag} takes NAME=VALUE, not {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def clip_size(flag: str, text: str) -> tuple[int, int, int]:
    """Frames, height and width of "8x224x224".

    Raises:
        UserError: for anything else, naming the flag.
    """
    match = re.fullmatch(r"(\d+)[x×](\d+)[x×](\d+)", text.strip())
    if match is None or "0" in match.groups():
        raise UserError(f"{flag} takes frames x height x width, as 8x224x224, not {text!r}")
    frames, height, width = map(int, match.groups())
    return frames, height, width


def beta_gamma(flag: str, text: str) -> tuple[int, int]:
    """β and γ of "2,2".

    Raises:
        UserError: for anything else, naming the flag.
    """
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", text)
    if match is None or "0" in match.groups():
        raise UserError(f"{flag} takes β,γ of at least 1, as 2,2, not {text!r}")
    return int(match[1]), int(match[2])
