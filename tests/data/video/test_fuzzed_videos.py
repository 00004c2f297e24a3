"""Videos that somebody broke on purpose: refused in one line, or decoded; never a hang or a crash.

STDCF_MUTATIONS=2000 is the long version, whose figures docs/robustness.md shows.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

MUTATIONS = int(os.environ.get("STDCF_MUTATIONS", "100"))
SEED = int(os.environ.get("STDCF_MUTATIONS_SEED", "0"))
FUZZ = Path(__file__).with_name("fuzz.py")
# A container each; the real ones are small, so that many mutations take little time.
MADE = {"a.avi": "mpeg4", "a.mp4": "h264", "a.webm": "libvpx-vp9", "a.mkv": "ffv1"}
REAL = (
    "video_90.mov",
    "vid.mp4",
    "test.webm",
    "TrumanShow_wave_f_nm_np1_fr_med_26.avi",
)


def fuzz(file: Path, count: int) -> Counter[str]:
    """How many mutations of a file ended how; a process that dies or hangs is a fault."""
    command = [sys.executable, str(FUZZ), str(file), str(SEED), "0", str(count)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    faults = [line for line in said if "fault" in line]
    assert faults == []
    assert (done.returncode, len(said)) == (0, count), (file.name, done.stderr[-2000:])
    return Counter(line["outcome"] for line in said)


@pytest.mark.real_data
@pytest.mark.slow
def test_no_mutation_hangs_crashes_or_takes_more_than_its_share(
    tmp_path: Path, make_video: Callable[..., object]
) -> None:
    files = [tmp_path / name for name in MADE]
    for file in files:
        make_video(file, 12, codec=MADE[file.name])
    shared = Path(__file__).resolve().parents[4] / "shared" / "data"
    root = Path(os.environ.get("STDCF_TEST_DATA") or shared) / "clips"
    files += [Path(shutil.copy(root / n, tmp_path)) for n in REAL if (root / n).exists()]
    counts = [MUTATIONS // len(files) + (i < MUTATIONS % len(files)) for i in range(len(files))]
    with ThreadPoolExecutor(2) as pool:
        for file, found in zip(files, pool.map(fuzz, files, counts), strict=True):
            print(f"\n{file.name}: {sum(found.values())} mutations, {dict(found)}")
