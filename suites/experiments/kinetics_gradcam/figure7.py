"""Figure 7: Grad-CAM over frames, of a video by any networks, or of test clips."""

from collections.abc import Sequence
from pathlib import Path

from suites.engine.suite import Row
from suites.experiments.kinetics_gradcam.tables import network_words
from suites.experiments.shared import stage_maps_figure
from suites.reporting.small_print import where_and_when


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes figure7 of each video, or figure7 and figure7_on_motion of test clips."""
    videos = [row for row in rows if row["mode"] == "video" and row["status"] == "ok"]
    paths = []
    for number, row in enumerate(videos):
        small_print = [
            f"Grad-CAM of the predicted class at {row['target']}, over the frames; the brighter "
            "the more, each network's own scale; beside it the predicted class",
            network_words(row),
            where_and_when([row]),
        ]
        name = f"figure7_{number + 1}" if len(videos) > 1 else "figure7"
        paths += stage_maps_figure.overlays(row["pictures"], str, small_print, folder, name)
    if videos:
        return paths
    return stage_maps_figure.draw(rows, folder, "figure7", "Grad-CAM of the predicted class")
