"""What decoding takes of memory, whatever the size of the frames."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stdcf.data.video.encode import Codec, write_video

SIZE_4K = (2160, 3840)
FRAMES = 12
# All frames as RGB would take 570 MiB.
ALLOWED_MIB = 400

DECODE = """
import resource, sys
from pathlib import Path
from stdcf.data.clips.crops import Crops
from stdcf.data.clips.sampling import Sampling
from stdcf.data.clips.streamed import RandomClips, VideoFiles
from stdcf.data.frames.cache import cache_videos
from stdcf.data.video.decode import count_frames
import numpy as np

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

root = Path(sys.argv[1])
names = tuple(sorted(path.name for path in root.glob("*.mp4")))
files = VideoFiles(root, names, np.zeros(2, np.int64))
clips = RandomClips(files, ("x",), Sampling(frames=12, interval=1), Crops())
before = peak_mib()
assert [count_frames(root / name) for name in names] == [12, 12]
print(peak_mib() - before)
cache_videos([root / name for name in names], (60, 80), cache_dir=root / "c", workers=2)
print(peak_mib() - before)
*_, broken = clips.__getitems__([0, 1])
assert not broken
print(peak_mib() - before)
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("4k")
    for name in ("a", "b"):
        frames = np.zeros((FRAMES, *SIZE_4K, 3), np.uint8)
        write_video(folder / f"{name}.mp4", frames, Codec("mpeg4", {}), fps=25)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
def test_counting_caching_and_clips_of_4k(films: Path) -> None:
    code = [sys.executable, "-c", DECODE, str(films)]
    done = subprocess.run(code, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert max(map(float, done.stdout.split())) < ALLOWED_MIB, done.stdout
