import numpy as np
import pytest

from stdcf.data.sets import video_folder
from stdcf.data.tools.preview import contact_sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_shows_the_frames_of_both_splits(tmp_path, make_video, channels):
    for label in ("hop", "sit"):
        for index in range(2):
            make_video(tmp_path / "v" / label / f"{index}.avi", 16, seed=index)
    data = video_folder.load(
        tmp_path / "v", size=(12, 16), channels=channels, cache_dir=tmp_path / "c"
    )
    sheet = np.asarray(contact_sheet(data, clips_per_class=2, frames=4))
    pitch, column = 12 + 2, 16 + 2
    top, left = sheet.shape[0] - 4 * pitch, sheet.shape[1] - 4 * column
    # First row, last shown frame: the 16th of the first class's training clip.
    shown = sheet[top : top + 12, left + 3 * column : left + 3 * column + 16]
    assert np.array_equal(
        shown, np.broadcast_to(data.train[0][0][:, 15].permute(1, 2, 0), (12, 16, 3))
    )
