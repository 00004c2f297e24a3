"""One look for every figure; the same colour for the same layer everywhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers too; markers repeat the difference.
LAYER_COLOURS = {"regular": "#0072B2", "rank1": "#E69F00", "stdcf": "#009E73"}
LAYER_MARKERS = {"regular": "o", "rank1": "s", "stdcf": "D"}
LAYER_NAMES = {"regular": "Reg. 3D", "rank1": "Rank-1 3D", "stdcf": "STDCF"}

# Inches; a column of a two-column page is about 3.5 wide.
WIDTH, HEIGHT = 7.0, 3.6


@contextmanager
def figure_style() -> Iterator[None]:
    """seaborn's whitegrid at sizes that stay readable at column width, without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    import seaborn as sns

    settings: dict[Any, Any] = {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "svg.hashsalt": "stdcf",
        "savefig.dpi": 200,
        "figure.dpi": 200,
    }
    with sns.axes_style("whitegrid"), mpl.rc_context(settings):
        yield


def save(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """PNG and SVG with the same bytes for the same content; returns their paths."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    figure.savefig(paths[0], metadata={"Software": None}, bbox_inches="tight")
    figure.savefig(paths[1], metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return paths


def caption(figure: "Figure", lines: Sequence[str]) -> None:
    """Small print below a figure: data, epochs, seeds, device."""
    figure.text(0.0, -0.02, "\n".join(lines), fontsize=7, color="#444444", va="top", wrap=True)
