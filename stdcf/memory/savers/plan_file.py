"""A plan: what is done with each block of a model, as a file and as a word; takes no torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from stdcf.errors import UserError

# What may be done with what a block saves for backward.
CHOICES = ("keep", "recompute", "checkpoint", "int8", "offload", "recompute+offload")
_FORM = '{"blocks": {"layer1.0": "checkpoint", "layer2.0": "offload"}}'


def read_plan(text: str) -> str:
    """A plan as one word, `NAME:CHOICE;NAME:CHOICE`, of such a word or of a file's name.

    A module's name is as in `named_modules`, "" what is in no other. Blocks that are kept are left
    out unless they lie in one that is not.

    Raises:
        UserError: if the file cannot be read, or holds no plan.
    """
    if not text:
        raise UserError("saver plan needs a file, as plan=FILE.json")
    return as_word(_load(Path(text)) if text.endswith(".json") else parse_word(text))


def parse_word(word: str) -> dict[str, str]:
    """Module's name -> choice.

    Raises:
        UserError: for an unknown choice.
    """
    found: dict[str, str] = {}
    for item in filter(None, word.split(";")):
        name, _, choice = item.rpartition(":")
        found[name] = choice
    return _checked(found, "")


def as_word(blocks: Mapping[str, str]) -> str:
    """The same plan as a word, its names in order."""
    changed = {name for name, choice in blocks.items() if choice != "keep"}
    needed = {
        name: choice
        for name, choice in blocks.items()
        if choice != "keep" or any(lies_in(name, other) for other in changed)
    }
    return ";".join(f"{name}:{needed[name]}" for name in sorted(needed)) or ":keep"


def lies_in(name: str, other: str) -> bool:
    """Whether a module lies within another one, by their names."""
    return name != other and (not other or name.startswith(f"{other}."))


def _load(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"plan {path} cannot be read: {error.strerror}; give another file"
        ) from None
    except ValueError as error:
        raise UserError(f"plan {path} is not JSON: {error}") from None
    blocks = content.get("blocks") if isinstance(content, dict) else None
    if not isinstance(blocks, dict):
        raise UserError(f"plan {path} has no blocks; it is written as {_FORM}")
    return _checked(blocks, f" of {path}")


def _checked(blocks: Mapping[str, object], where: str) -> dict[str, str]:
    for name, choice in blocks.items():
        if choice not in CHOICES:
            raise UserError(
                f"block {name!r}{where} cannot be planned as {choice!r}: the choices are "
                f"{', '.join(CHOICES)}"
            )
    return {name: str(choice) for name, choice in blocks.items()}
