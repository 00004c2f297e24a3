"""Figure 7 as text: what each network takes a video for; of test clips, where its maps lie."""

from collections.abc import Sequence

from suites.engine.suite import Row
from suites.experiments.shared.stage_maps import table
from suites.reporting.figures.style import layer_name
from suites.reporting.small_print import provenance_notes
from suites.tables.table import Table


def tables(rows: Sequence[Row]) -> list[Table]:
    """A table of each video, or one of the test clips."""
    videos = [row for row in rows if row["mode"] == "video"]
    if videos:
        return [_of_video(row) for row in videos]
    note = "map: Grad-CAM of the predicted class at the last convolution, after BatchNorm and ReLU"
    return [table(rows, "Figure 7: Grad-CAM", [note])]


def _of_video(row: Row) -> Table:
    maps = row["pictures"][0]["maps"] if row["status"] == "ok" else {}
    most = max((len(seen["top"]) for seen in maps.values()), default=0)
    return Table(
        title=f"Figure 7: Grad-CAM of {row.get('video') or 'a video'} ({network_words(row)})",
        columns=["Network", *(f"Class {place + 1}" for place in range(most)), "On motion, %"],
        rows=[
            [
                name,
                *(f"{what} {100 * probability:.1f}%" for what, probability in seen["top"]),
                f"{100 * row['on_motion'][name]:.1f}",
            ]
            for name, seen in maps.items()
        ],
        notes=[
            "the classes that score highest, with their probabilities; on motion: the part of the "
            "map in the tenth of its cells in which the clip changes most",
            *provenance_notes([row]),
        ],
    )


def network_words(row: Row) -> str:
    """Which networks looked, and at what."""
    words = [f"{row['model']} with {layer_name(row['layer'])}" if row["layer"] else row["model"]]
    if row["status"] == "ok":
        shape = "×".join(str(n) for n in row["clip_shape"][1:])
        words += [f"trained on {row['trained_on']}", f"the middle {shape} of the video"]
    return ", ".join([*words, row["dtype"]])
