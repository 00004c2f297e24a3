"""JSON files that hold dataclasses, checked when they are read."""

from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_json

from stdcf.errors import UserError

# The dataclasses have this configuration: no unknown fields, and no "3" for 3.
CHECKED = ConfigDict(extra="forbid", strict=True)

T = TypeVar("T")


def read_stored(file: Path, kind: type[T], remedy: str) -> T | None:
    """What the file holds; None if there is no file.

    Raises:
        UserError: naming the file, the first field that is wrong, and the remedy.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        what = f"{field}: {first['msg']}" if field else first["msg"]
        raise UserError(f"{file}: {what} (given: {first['input']!r:.60}); {remedy}") from error


def stored(value: object) -> bytes:
    """The content of a file for `read_stored`."""
    return to_json(value, indent=1) + b"\n"
