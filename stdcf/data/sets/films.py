"""Clips that come from one film, by the names that UCF101 and HMDB51 give them."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

_FILMS = (
    # v_Archery_g01_c02: the second clip of the first group, one film of one person.
    re.compile(r"(.+_g\d+)_c\d+"),
    # Film_wave_u_cm_np1_fr_med_3: after the film's name and the class what is seen, and a number.
    re.compile(r"(.+)_[fhlu]_[a-z]+_np\d_[a-z]{2}_[a-z]{3}_\d+"),
)


def film(name: str) -> str:
    """The film of a clip, by its name (posix): the name itself where that does not tell."""
    stem = PurePosixPath(name).stem
    match = next((m for pattern in _FILMS if (m := pattern.fullmatch(stem))), None)
    return match[1] if match else name


def film_note(train: Sequence[str], test: Sequence[str]) -> list[str]:
    """A note of films of which clips are in both parts."""
    both = sorted({film(name) for name in train} & {film(name) for name in test})
    if not both:
        return []
    return [
        f"Clips of {len(both)} films are in training and in testing ({both[0]}"
        f"{', …' if len(both) > 1 else ''}): accuracy is too high by that."
    ]
