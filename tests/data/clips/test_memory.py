"""Resident memory while clips are delivered: flat, however many there are."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stdcf.data.video.encode import Codec, write_video

ALLOWED_MIB = 24

DELIVER = """
import sys
import numpy as np
from stdcf.data.clips.crops import Crops
from stdcf.data.clips.loader import batches
from stdcf.data.clips.sampling import Sampling
from stdcf.data.clips.streamed import RandomClips, VideoFiles
from pathlib import Path

def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20

root, number = Path(sys.argv[1]), int(sys.argv[2])
names = tuple(sorted(path.name for path in root.iterdir()))
files = VideoFiles(root, names, np.zeros(len(names), np.int64))
crops = Crops(crop=32, short_side=(36, 40), test_crop=32, test_short_side=36)
clips = RandomClips(files, ("x",), Sampling(frames=4, interval=2, fps=20), crops)
done, seen = 0, []
for epoch in range(-(-number // len(names))):
    for clip_BCTHW, *_ in batches(clips.drawn(epoch), 8):
        done += len(clip_BCTHW)
    seen.append(resident_mib())
# What imports, decoders and allocators take at first is not counted.
settled = max(seen[: len(seen) // 4])
print(done, seen[-1] - settled)
"""


@pytest.mark.parametrize("clips", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_resident_memory_is_flat(tmp_path: Path, clips: int) -> None:
    for number, (ending, codec) in enumerate(
        (e, c) for e, c in (("mp4", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx")) for _ in "12"
    ):
        noise = np.random.default_rng(number).integers(0, 256, (24, 48, 64, 3), np.uint8)
        write_video(tmp_path / f"{number}.{ending}", noise, Codec(codec, {}), fps=25)
    code = [sys.executable, "-c", DELIVER, str(tmp_path), str(clips)]
    done = subprocess.run(code, capture_output=True, text=True, check=True, timeout=3600)
    delivered, grown_mib = done.stdout.split()
    assert int(delivered) >= clips
    assert float(grown_mib) < ALLOWED_MIB
