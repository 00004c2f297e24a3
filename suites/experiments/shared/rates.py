"""Learning rates of kth_cnn by layer and training mode, as docs/protocol.md has them chosen.

The persons of Weizmann form three groups. The rates for testing a group's persons come from
`rate_sweep` runs in which none of them took part.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Rate(NamedTuple):
    """Adam's rate, and the factor of it for atoms."""

    lr: float
    atom_lr: float = 1.0


# §3.1: one rate for everything.
PAPER = Rate(1e-3)

GROUPS = {
    "A": ("eli", "ira", "shahar"),
    "B": ("daria", "denis", "ido"),
    "C": ("lena", "lyova", "moshe"),
}
PERSONS = tuple(sorted(person for group in GROUPS.values() for person in group))

# As many trials for every layer: those without atoms have one knob, STDCF has two.
_RATES = tuple(Rate(lr) for lr in (3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2))
_RATES_OF_ATOMS = tuple(Rate(lr, factor) for lr in (1e-3, 3e-3) for factor in (1.0, 3.0, 10.0))


def trials(layer: str) -> tuple[Rate, ...]:
    """What the sweep tries for a layer."""
    return _RATES_OF_ATOMS if layer == "stdcf" else _RATES


def validations(group: str) -> tuple[tuple[str, str], ...]:
    """The two pairs of validation persons of a group's sweep; the others of the six train."""
    six = [person for person in PERSONS if person not in GROUPS[group]]
    return (six[0], six[1]), (six[2], six[3])


# Group, or "all" for other data sets -> layer -> mode -> what the sweep found: the rates with * of
# `python -m suites.report rate_sweep` (216 runs of 6300162, 2026-11-28 and 29, CPU).
FOUND: Mapping[str, Mapping[str, Mapping[str, Rate]]] = {
    "A": {
        "regular": {"full": Rate(2e-3), "itsl": Rate(2e-3)},
        "rank1": {"full": Rate(3e-4), "itsl": Rate(5e-3)},
        "stdcf": {"full": Rate(1e-3, 10.0), "itsl": Rate(1e-3, 10.0)},
    },
    "B": {
        "regular": {"full": Rate(1e-2), "itsl": Rate(1e-2)},
        "rank1": {"full": Rate(3e-3), "itsl": Rate(5e-3)},
        "stdcf": {"full": Rate(1e-3, 10.0), "itsl": Rate(1e-3, 10.0)},
    },
    "C": {
        "regular": {"full": Rate(3e-3), "itsl": Rate(1e-3)},
        "rank1": {"full": Rate(2e-3), "itsl": Rate(3e-3)},
        "stdcf": {"full": Rate(1e-3, 10.0), "itsl": Rate(3e-3, 10.0)},
    },
    "all": {
        "regular": {"full": Rate(2e-3), "itsl": Rate(2e-3)},
        "rank1": {"full": Rate(2e-3), "itsl": Rate(5e-3)},
        "stdcf": {"full": Rate(1e-3, 10.0), "itsl": Rate(1e-3, 10.0)},
    },
}


def rate(layer: str, mode: str, test_person: str | None = None) -> Rate:
    """The rate with which a network is trained that is tested on this person of Weizmann.

    Args:
        mode: "itsl"; every other mode takes the rate of full size.
        test_person: None of another data set, or of a test on several persons.
    """
    group = next((g for g, persons in GROUPS.items() if test_person in persons), "all")
    found = FOUND.get(group, {}).get(layer, {})
    return found.get("itsl" if mode == "itsl" else "full", PAPER)
