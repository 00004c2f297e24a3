"""Figure 7: Grad-CAM over frames, of a video by any networks, or of test clips."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.experiments.kinetics_gradcam.tables import network_words
from suites.experiments.shared import stage_maps_figure
from suites.reporting.figures import grids
from suites.reporting.small_print import where_and_when


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure7 of each video, or figure7 and figure7_on_motion of test clips."""
    videos = [row for row in rows if row["mode"] == "video" and row["status"] == "ok"]
    if not videos:
        return stage_maps_figure.draw(rows, folder, "figure7", "Grad-CAM of the predicted class")
    paths = []
    for number, row in enumerate(videos, start=1):
        words = (
            f"Grad-CAM of the predicted class at {row['target']}, over the frames; the brighter "
            "the more, each network's own scale; beside it the predicted class"
        )
        lines = stage_maps_figure.overlays(row["pictures"])
        name = f"figure7_{number}" if len(videos) > 1 else "figure7"
        paths += grids.draw(
            lines, folder, name, [], words, network_words(row), where_and_when([row])
        )
    return paths
