"""One look for every figure; the same colour for the same layer everywhere."""

import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by colour-blind readers too; markers repeat the difference.
LAYER_COLOURS = {"regular": "#0072B2", "rank1": "#E69F00", "stdcf": "#009E73"}
LAYER_MARKERS = {"regular": "o", "rank1": "s", "stdcf": "D"}
LAYER_NAMES = {"regular": "Reg. 3D", "rank1": "Rank-1 3D", "stdcf": "STDCF"}

# For layers, and models without one, that the paper does not have.
_OTHER_COLOURS = ("#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8C6D31")
_OTHER_MARKERS = ("^", "v", "P", "X", "*", "<", ">")
# How the modes of one layer are told apart: full size is filled, each other one in its own way.
MODE_FILLS = ("full", "none", "left", "bottom", "right", "top")

# What `save` writes; fewer where one of them would be thrown away.
FORMATS = ("png", "svg")
_formats: ContextVar[Sequence[str]] = ContextVar("formats", default=FORMATS)

# Inches; a column of a two-column page is about 3.5 wide.
WIDTH, HEIGHT = 7.0, 3.6


def colour(layer: str) -> str:
    """The layer's colour in every figure; of an unknown one by its name alone."""
    return LAYER_COLOURS.get(layer) or _OTHER_COLOURS[_place(layer, _OTHER_COLOURS)]


def marker(layer: str) -> str:
    """The layer's marker in every figure."""
    return LAYER_MARKERS.get(layer) or _OTHER_MARKERS[_place(layer, _OTHER_MARKERS)]


def layer_name(layer: str) -> str:
    """The layer's name in tables; one that the paper does not have is called what it is here."""
    return LAYER_NAMES.get(layer, layer)


def in_order(layers: Sequence[str]) -> list[str]:
    """Each layer once: the paper's in the paper's order, then the others by name."""
    known = list(LAYER_NAMES)
    return [name for name in known if name in layers] + sorted({*layers} - {*known})


def plain(text: str) -> str:
    """Text as it is drawn: no formula begins in it, and nothing in it is unprintable."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text).replace("$", r"\$")


def filled(fill: str) -> dict[str, Any]:
    """A marker's look, filled as in MODE_FILLS and white where it is not."""
    if fill == "none":
        return {"markerfacecolor": "white"}
    return {"fillstyle": fill, "markerfacecoloralt": "white"}


def _place(name: str, among: Sequence[str]) -> int:
    return zlib.crc32(name.encode()) % len(among)


@contextmanager
def only(*formats: str) -> Iterator[None]:
    """Within it `save` writes these alone."""
    token = _formats.set(formats)
    try:
        yield
    finally:
        _formats.reset(token)


@contextmanager
def figure_style() -> Iterator[None]:
    """A white grid at sizes that stay readable at column width, without a display."""
    import matplotlib as mpl
    import matplotlib.style

    mpl.use("Agg")
    settings: dict[Any, Any] = {
        # Matplotlib's own, so that no machine's fonts change the bytes.
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "svg.hashsalt": "stdcf",
        # Else an SVG has the pictures of a panel as one, at a screen's resolution.
        "image.composite_image": False,
        "savefig.dpi": 200,
        "figure.dpi": 200,
    }
    style_context = matplotlib.style.context(["seaborn-v0_8-whitegrid", settings])
    with mpl.rc_context(), style_context, warnings.catch_warnings():
        # A name in a script that the font has not: boxes, in the figure alone.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def write(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """PNG and SVG with the same bytes for the same content; returns their paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{extension}" for extension in _formats.get()]
    for path in paths:
        # Not by savefig, which draws everything twice.
        if path.suffix == ".png":
            FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
        else:
            FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
    return paths
