"""The words by which specs and command lines name savers; reading them takes no torch."""

import hashlib
from collections.abc import Callable, Sequence

from stdcf.errors import UserError
from stdcf.memory.savers.plan_file import read_plan

# In the order in which they are shown, and in which saved tensors are offered to them; those that
# take a number or a text with how it is read and an example.
NAMES: dict[str, tuple[Callable[[str], float | str], str] | None] = {
    "bf16": None,
    "recompute": None,
    "checkpoint": None,
    "accumulate": (int, "4"),
    "freeze": (str, "stem"),
    "stochastic": (float, "0.5"),
    "int8": None,
    "offload": None,
    "plan": (read_plan, "FILE.json"),
    "fused": None,
    "step_in_backward": None,
    "state_on_host": None,
    "state8bit": None,
    "budget": (float, "0.5"),
}
VALID = ", ".join(name if found is None else f"{name}={found[1]}" for name, found in NAMES.items())


def read_words(words: str | Sequence[str]) -> dict[str, float | str | None]:
    """Name -> number or text of every saver, in `NAMES`' order; a plan's file is read.

    Args:
        words: one for each, or all in one with commas.

    Raises:
        UserError: for an unknown or repeated name, or a value that is missing, wrong or too many.
    """
    if isinstance(words, str):
        words = words.split(",") if words.strip() else []
    found: dict[str, float | str | None] = {}
    for word in words:
        name, number = _read(word.strip())
        if name in found:
            raise UserError(f"saver {name} is named twice in {','.join(words)!r}")
        found[name] = number
    return {name: found[name] for name in NAMES if name in found}


def canonical(words: str | Sequence[str]) -> tuple[str, ...]:
    """The words as a spec holds them.

    Raises:
        UserError: as `read_words` does.
    """
    read = read_words(words)
    return tuple(
        name if value is None else f"{name}={value if isinstance(value, str) else f'{value:g}'}"
        for name, value in read.items()
    )


def label(word: str) -> str:
    """A saver's word as tables show it: a plan by a digest of it, which no two plans share."""
    name, _, value = word.partition("=")
    if name != "plan" or value.endswith(".json"):
        return word
    return f"plan-{hashlib.sha256(value.encode()).hexdigest()[:8]}"


def _read(word: str) -> tuple[str, float | str | None]:
    name, equals, text = word.partition("=")
    if name not in NAMES:
        raise UserError(f"unknown saver {word!r}; there are {VALID}")
    found = NAMES[name]
    if found is None:
        if equals:
            raise UserError(f"saver {name} takes no number: write {name}, not {word!r}")
        return name, None
    read, example = found
    kind = "number" if read in (int, float) else "value"
    try:
        value = read(text)
        if value == "":
            raise ValueError
    except UserError:
        raise
    except ValueError:
        raise UserError(f"saver {name} needs a {kind}, as {name}={example}, not {word!r}") from None
    return name, value
