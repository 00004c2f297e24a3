"""A contact sheet: some clips of each class as rows of frames."""

from typing import TYPE_CHECKING

import numpy as np

from stdcf.data.clips.clips import Clips
from stdcf.data.clips.splits import VideoData

if TYPE_CHECKING:
    from PIL.Image import Image

_GAP = 2
_LABEL_WIDTH = 190
_TITLE_HEIGHT = 22
_MOST_HEIGHT = 120
_MOST_CLASSES = 24
_INK, _PAPER, _TEST_INK = (20, 20, 20), (255, 255, 255), (170, 60, 20)


def contact_sheet(data: VideoData, *, clips_per_class: int = 2, frames: int = 8) -> "Image":
    """Rows of `frames` evenly spaced frames, labelled with class, split and video.

    Half of a class's rows come from the training clips, half from the test clips, spread over them.
    Of many classes some are shown, evenly spaced; large frames are made smaller.
    """
    from PIL import Image, ImageDraw

    labels = np.unique(
        np.linspace(0, len(data.classes) - 1, min(len(data.classes), _MOST_CLASSES)).round()
    ).astype(int)
    rows = [
        (label, split, clips, index)
        for label in labels
        for split, clips, count in (
            ("train", data.train, (clips_per_class + 1) // 2),
            ("test", data.test, clips_per_class // 2),
        )
        for index in _spread(clips, label, count)
    ]
    _, num_frames, *size = data.train.clip_shape
    height, width = (round(side * min(1, _MOST_HEIGHT / size[0])) for side in size)
    shown = np.unique(np.linspace(0, num_frames - 1, frames).round().astype(int))
    pitch = height + _GAP
    sheet = Image.new(
        "RGB",
        (_LABEL_WIDTH + len(shown) * (width + _GAP), _TITLE_HEIGHT + len(rows) * pitch),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 5), _title(data, len(labels)), _INK)
    for row, (label, split, clips, index) in enumerate(rows):
        top = _TITLE_HEIGHT + row * pitch
        clip_CTHW, _, video = clips[index]
        draw.text(
            (4, top + 4),
            f"{data.classes[label]}  ({split})",
            _TEST_INK if split == "test" else _INK,
        )
        draw.text((4, top + 18), clips.video_names[video].rsplit("/", 1)[-1][:30], _INK)
        draw.text((4, top + 32), clips.describe(index), _INK)
        for column, frame in enumerate(shown):
            pixels_HWC = clip_CTHW[:, frame].permute(1, 2, 0).numpy()
            picture = Image.fromarray(
                np.ascontiguousarray(
                    pixels_HWC[..., 0] if pixels_HWC.shape[-1] == 1 else pixels_HWC
                )
            )
            # Test crops may be of another size than those for training.
            if picture.size != (width, height):
                picture = picture.resize((width, height))
            sheet.paste(picture, (_LABEL_WIDTH + column * (width + _GAP), top))
    return sheet


def _spread(clips: Clips, label: int, count: int) -> list[int]:
    """Up to `count` clips of a class, evenly spaced over its clips from a place of its own."""
    mine = np.flatnonzero(clips.labels == label)
    if len(mine) == 0 or count == 0:
        return []
    # The golden ratio's multiples: no two classes show the same person by their order alone.
    picks = (np.arange(count) + label * 0.618 % 1) / count * len(mine)
    return [int(mine[pick]) for pick in np.unique(picks.astype(int))]


def _title(data: VideoData, num_shown: int) -> str:
    origin = "SYNTHETIC data, drawn by this program" if data.synthetic else "real video"
    size = " x ".join(map(str, data.train.clip_shape[1:]))
    some = f", {num_shown} of {len(data.classes)} classes" if num_shown < len(data.classes) else ""
    return (
        f"{data.name} ({origin}): {len(data.train)} training and {len(data.test)} test clips of "
        f"{size}{some}"
    )
