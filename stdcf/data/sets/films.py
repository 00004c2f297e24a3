"""Clips that come from one film, by the names that UCF101 and HMDB51 give them."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from stdcf.data.sets.class_folders import LabelledNames

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


def drawn_parts(videos: LabelledNames, test_fraction: float, seed: int) -> dict[str, LabelledNames]:
    """Videos in two parts, "train" and "test", by a hash of seed and film.

    test_fraction of each class is tested, at least one; clips of one film stay together, and the
    last film of a class is trained.
    """
    parts: dict[str, LabelledNames] = {"train": [], "test": []}
    for label in sorted({label for label, _ in videos}):
        films: dict[str, list[str]] = {}
        for _, name in filter(lambda video: video[0] == label, videos):
            films.setdefault(film(name), []).append(name)
        number = sum(map(len, films.values()))
        wanted = min(max(round(test_fraction * number), 1), number - 1)
        tested: list[str] = []
        for key in sorted(films, key=lambda key: _draw(seed, key)):
            # The last film stays for training.
            if len(tested) < wanted and len(tested) + len(films[key]) < number:
                tested += films[key]
        for name in sorted(set(tested), key=_in_folders):
            parts["test"].append((label, name))
        rest = {name for names in films.values() for name in names} - set(tested)
        parts["train"] += [(label, name) for name in sorted(rest, key=_in_folders)]
    return parts


def drawn_note(videos: LabelledNames, test_fraction: float, seed: int) -> str:
    """What to say of such a split, its groups among it."""
    names = {name for _, name in videos}
    films = {film(name) for name in names}
    kept = (
        f"clips of one film together ({len(films)} films of {len(names)} clips)"
        if len(films) < len(names)
        else "names do not show which clips are of one film"
    )
    return f"Split at random: {test_fraction:.0%} of each class is tested, seed {seed}; {kept}."


def _in_folders(name: str) -> list[str]:
    return name.split("/")


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
