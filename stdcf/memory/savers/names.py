"""The words by which specs and command lines name savers; reading them takes no torch."""

from collections.abc import Callable, Sequence

from stdcf.errors import UserError

# In the order in which they are shown, and in which saved tensors are offered to them; those that
# take a number with how it is read and an example.
NAMES: dict[str, tuple[Callable[[str], float], str] | None] = {
    "bf16": None,
    "recompute": None,
    "checkpoint": None,
    "accumulate": (int, "4"),
    "int8": None,
    "offload": None,
    "budget": (float, "0.5"),
}
VALID = ", ".join(name if found is None else f"{name}={found[1]}" for name, found in NAMES.items())


def read_words(words: str | Sequence[str]) -> dict[str, float | None]:
    """Name -> number of every saver, in `NAMES`' order.

    Args:
        words: one for each, or all in one with commas.

    Raises:
        UserError: for an unknown or repeated name, or a number that is missing, wrong or too many.
    """
    if isinstance(words, str):
        words = words.split(",") if words.strip() else []
    found: dict[str, float | None] = {}
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
    return tuple(name if n is None else f"{name}={n:g}" for name, n in read.items())


def _read(word: str) -> tuple[str, float | None]:
    name, equals, text = word.partition("=")
    if name not in NAMES:
        raise UserError(f"unknown saver {word!r}; there are {VALID}")
    found = NAMES[name]
    if found is None:
        if equals:
            raise UserError(f"saver {name} takes no number: write {name}, not {word!r}")
        return name, None
    read, example = found
    try:
        return name, read(text)
    except ValueError:
        raise UserError(f"saver {name} needs a number, as {name}={example}, not {word!r}") from None
