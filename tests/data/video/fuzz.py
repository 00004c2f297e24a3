"""Decodes mutations of one video: python fuzz.py FILE SEED FIRST COUNT; a JSON line for each.

Its memory is limited, and the kernel ends it when one mutation takes too long: whoever started it
sees after which line.
"""

import json
import random
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

from stdcf.data.video import seek
from stdcf.data.video.decode import decode_video
from stdcf.errors import UserError

# Of processor time, so that a busy machine is not a hang; and of time, where it only waits.
CPU_SECONDS, SECONDS = 30, 300
BYTES = 2**30
SIZE = (24, 32)
EDGES = (0, 1, 0x7F, 0x80, 0xFF)


def mutate(content: bytes, random_: random.Random) -> bytes:
    """A few bytes changed, or a part cut out, doubled or moved; half of the time near an end."""
    found = bytearray(content)
    header = min(len(found), 4096)
    for _ in range(random_.choice((1, 1, 2, 4, 16))):
        place = random_.choice(
            (
                random_.randrange(len(found)),
                random_.randrange(header),
                -1 - random_.randrange(header),
            )
        )
        place %= len(found)
        kind = random_.randrange(8)
        if kind < 2:
            found[place] ^= 1 << random_.randrange(8)
        elif kind < 4:
            found[place] = random_.choice((*EDGES, random_.randrange(256)))
        elif kind == 4:
            # A field of four bytes: sizes, counts, widths.
            number = random_.choice((0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1))
            found[place : place + 4] = number.to_bytes(4, random_.choice(("big", "little")))
        else:
            length = random_.choice((1, 4, 64, 4096))
            part = found[place : place + length]
            other = random_.randrange(len(found))
            if kind == 5:
                del found[place : place + length]
            elif kind == 6:
                found[other:other] = part
            else:
                found[other : other + length] = part
        if len(found) < 64:
            break
    return bytes(found)


def chosen(count: int) -> np.ndarray:
    """A few frames from the whole of a video."""
    return np.unique(np.linspace(0, count - 1, 3).astype(int))


def outcome(file: Path, whole_FCHW: np.ndarray) -> str:
    """What the two decoders make of a file; any other exception than UserError is a fault."""
    try:
        frames_FCHW = decode_video(file, SIZE)
    except UserError as error:
        found = "refused"
        if not str(error).isprintable():
            raise RuntimeError(repr(error)) from error
    else:
        same = frames_FCHW.shape == whole_FCHW.shape
        found = "another number of frames" if len(frames_FCHW) != len(whole_FCHW) else "decoded"
        found = "as before" if same and (frames_FCHW == whole_FCHW).all() else found
    try:
        pictures, _ = seek.read_frames(file, chosen)
    except UserError:
        return found
    try:
        counted = seek._count_to(file, chosen(_count(file)), seek.whole)
    except (UserError, av.FFmpegError):
        # Damage before the frames that are wanted is none to those who need not decode it.
        return found
    assert isinstance(counted, list)
    if not all(map(np.array_equal, pictures, counted)):
        # Neither the container nor the codec has noticed.
        return "other frames by seeking than by counting"
    return found


def _count(file: Path) -> int:
    numbers: list[int] = []

    def choose(count: int) -> np.ndarray:
        numbers.append(count)
        return chosen(count)

    seek.read_frames(file, choose)
    return numbers[-1]


def main() -> None:
    file, (seed, first, count) = Path(sys.argv[1]), map(int, sys.argv[2:])
    content = file.read_bytes()
    whole_FCHW = decode_video(file, SIZE)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    with tempfile.TemporaryDirectory() as folder:
        mutated = Path(folder) / f'it\'s a "name"\n ü{file.suffix}'
        for number in range(first, first + count):
            mutated.write_bytes(mutate(content, random.Random(f"{seed} {file.name} {number}")))
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            signal.alarm(SECONDS)
            said: dict[str, Any] = {"number": number}
            try:
                said["outcome"] = outcome(mutated, whole_FCHW)
            except Exception as error:
                said["fault"] = f"{type(error).__name__}: {error}"
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
