"""Rows of one setting grouped for a figure: by layer (or model, where there is none) and mode."""

from collections.abc import Sequence
from dataclasses import dataclass

from suites.engine.suite import Row
from suites.reporting.figures import style


@dataclass(frozen=True)
class Group:
    """The ok rows of one layer and mode, by seed."""

    layer: str
    mode: str
    rows: Sequence[Row]

    @property
    def label(self) -> str:
        """The layer and the mode."""
        return style.plain(f"{style.layer_name(self.layer)} {self.mode}".strip())


def groups_of(rows: Sequence[Row]) -> list[Group]:
    """Full size first, then the other modes; in each the layers in the order of every figure."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["status"] == "ok":
            layer = row.get("layer") or row.get("model") or "none"
            found.setdefault((str(layer), str(row.get("mode", ""))), []).append(row)
    layers = style.in_order([layer for layer, _ in found])
    return [
        Group(layer, mode, sorted(found[layer, mode], key=lambda row: row["seed"]))
        for mode in modes_of([mode for _, mode in found])
        for layer in layers
        if (layer, mode) in found
    ]


def modes_of(modes: Sequence[str]) -> list[str]:
    """Each mode once, full size first."""
    return sorted(set(modes), key=lambda mode: (mode != "full", mode))


def fills(modes: Sequence[str]) -> dict[str, str]:
    """How each mode's markers are filled."""
    return {
        mode: style.MODE_FILLS[index % len(style.MODE_FILLS)]
        for index, mode in enumerate(modes_of(modes))
    }
