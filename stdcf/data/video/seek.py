"""Some frames of a long video, without decoding the rest of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stdcf.data.video.container import BrokenVideo, check_frames, open_video
from stdcf.data.video.decode import rgb_converter, rgb_view
from stdcf.data.video.orientation import Orientation, show
from stdcf.data.video.timing import Timing

if TYPE_CHECKING:
    from av.container import InputContainer

ALL = Timing()
# From the number of frames to the indices that are wanted, of any shape.
Choose = Callable[[int], np.ndarray]
# What is made of each frame as it comes.
Keep = Callable[[np.ndarray], Any]


def whole(frame_HWC: np.ndarray) -> np.ndarray:
    """A copy of a frame: what `read_frames` keeps of it unless told."""
    return np.array(frame_HWC, order="C")


def read_frames(
    path: Path, choose: Choose, keep: Keep = whole, timing: Timing = ALL
) -> tuple[list[Any], np.ndarray]:
    """Frames of a video, each decoded once, in one FFmpeg thread.

    The container's packets are listed first, which decodes nothing and takes a millisecond or two
    for ten seconds; then decoding starts at the last keyframe before the first wanted frame. Frames
    are counted in the order of display. Where a container does not tell that order (AVI with
    B-frames), or some packet turns out to hold no picture, frames are counted by decoding.

    Args:
        choose: called with the number of frames; called again, and its first answer dropped, if
            the packets promised more frames than there are.
        timing: which of the frames there are for `choose`.
        keep: from a frame, RGB uint8 [H, W, 3] at the size of the first, to what is kept of it;
            called on each as it comes and never on two at a time, so that memory is bounded by what
            is kept. It must not keep the frame itself.

    Returns:
        What is kept of the frames, in the order of display, and what `choose` gave as indices of
        them.

    Raises:
        UserError: naming a file that is missing, truncated, damaged or no video.
    """
    with open_video(path) as (container, stream):
        packets = _Packets(path, container, stream)
        seconds_F = packets.seconds
        chosen = _chosen(path, choose, timing, seconds_F)
        found: list[Any] | int | None = packets.frames(np.unique(chosen), keep)
    if found is None:
        found = _count_to(path, np.unique(chosen), keep)
    if isinstance(found, int):
        chosen = _chosen(path, choose, timing, seconds_F[:found])
        found = _count_to(path, np.unique(chosen), keep)
    assert isinstance(found, list)
    return found, np.unique(chosen, return_inverse=True)[1].reshape(chosen.shape)


def _chosen(path: Path, choose: Choose, timing: Timing, seconds_F: np.ndarray) -> np.ndarray:
    if timing == ALL:
        return choose(len(seconds_F))
    try:
        offered = timing.offered(seconds_F)
    except ValueError as error:
        raise BrokenVideo(path, str(error)) from error
    return offered[choose(len(offered))]


def frame_seconds(path: Path) -> np.ndarray:
    """The times of a video's frames in the order of display, [F], without decoding.

    An AVI with B-frames tells them by the order of decoding alone.

    Raises:
        UserError: as `read_frames`.
    """
    with open_video(path) as (container, stream):
        return _Packets(path, container, stream).seconds


class _Packets:
    """What the packets of an open video say, and decoding by it.

    Attributes:
        count: of frames, if each packet holds one.
        places: timestamp -> place in the order of decoding.
        keyframes: their timestamps.
        times: the frames' timestamps in the order of display; None where packets do not tell it.
        seconds: the frames' times [F]; by the order of decoding where packets do not tell them.
    """

    def __init__(self, path: Path, container: "InputContainer", stream: Any) -> None:
        self.path = path
        self.container = container
        self.stream = stream
        listed: list[tuple[Any, bool]] = []
        shown: list[Any] = []
        decoded: list[Any] = []
        for packet in container.demux(self.stream):
            if packet.size:
                listed.append((packet.pts, packet.is_keyframe))
                # An edit list may cut frames away, which others still need for decoding.
                if not packet.is_discard:
                    shown.append(packet.pts)
                    decoded.append(packet.dts)
        if not shown:
            raise BrokenVideo(path, "it holds no frame")
        check_frames(path, container, stream, len(listed))
        self.places: dict[Any, int] = {time: place for place, (time, _) in enumerate(listed)}
        self.keyframes = [time for time, is_keyframe in listed if is_keyframe]
        # AVI has no times of display: FFmpeg makes some up from the order of decoding.
        is_told = None not in self.places and len(self.places) == len(listed)
        if container.format.name == "avi" and self.stream.codec_context.has_b_frames:
            is_told = False
        self.count = len(shown)
        self.times = sorted(shown) if is_told else None
        self.seconds = self._seconds(self.times or decoded)

    def _seconds(self, times: list[Any]) -> np.ndarray:
        if None not in times:
            return np.sort(np.array(times, np.float64)) * float(self.stream.time_base)
        rate = self.stream.average_rate or self.stream.guessed_rate
        if not rate:
            raise BrokenVideo(self.path, "its frames have no times")
        return np.arange(self.count) / float(rate)

    def frames(self, wanted: np.ndarray, keep: Keep) -> list[Any] | None:
        """The frames with these ascending indices; None where seeking cannot find each of them."""
        if self.times is None:
            return None
        times = [self.times[index] for index in wanted]
        first = next(iter(self.places))
        start = max((time for time in self.keyframes if time <= times[0]), default=first)
        to_rgb = _ToRgb(self.path)
        found = {frame.pts: keep(to_rgb(frame)) for frame in self._decode(set(times), start)}
        return [found[time] for time in times] if len(found) == len(times) else None

    def _decode(self, wanted: set[int], start: int) -> Iterator[Any]:
        """The frames at these times, from the packet of `start` on."""
        codec = self.stream.codec_context
        # What H.264 marks as no reference no other frame needs; HEVC's mark says less.
        may_skip = codec.name == "h264"
        left, mode = set(wanted), None
        self.container.seek(start, stream=self.stream)
        first_place = None
        for packet in self.container.demux(self.stream):
            if packet.size == 0:
                continue
            place = self.places[packet.pts]
            first_place = place if first_place is None else first_place
            if first_place > self.places[start]:
                return
            if place < self.places[start]:
                continue
            needed: Any = "DEFAULT" if packet.pts in left else "NONREF"
            if may_skip and needed != mode:
                codec.skip_frame = mode = needed
            left.discard(packet.pts)
            yield from self._among(wanted, codec.decode(packet))
            if not left:
                break
        # All that is wanted has been sent; what the decoder still holds comes out now.
        yield from self._among(wanted, codec.decode(None))

    def _among(self, wanted: set[int], frames: list[Any]) -> Iterator[Any]:
        for frame in frames:
            # Of the others too, on which a wanted one may build.
            if frame.is_corrupt:
                raise BrokenVideo(self.path, f"the frame at {frame.time:.2f} s is damaged")
            if frame.pts in wanted:
                yield frame


def _count_to(path: Path, wanted: np.ndarray, keep: Keep) -> list[Any] | int:
    """The frames with these ascending indices, decoding from the start; how many, if too few."""
    to_rgb = _ToRgb(path)
    indices = set(wanted.tolist())
    found = []
    with open_video(path) as (container, stream):
        count = 0
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise BrokenVideo(path, f"frame {count} is damaged")
            if count in indices:
                found.append(keep(to_rgb(frame)))
                if len(found) == len(indices):
                    return found
            count += 1
    if count == 0:
        raise BrokenVideo(path, "it holds no frame")
    return count


class _ToRgb:
    """Views of frames, uint8 [H, W, 3], as their metadata says, at the size of the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.convert = rgb_converter()
        self.orientation = Orientation()
        self.size: tuple[int, int] | None = None

    def __call__(self, frame: Any) -> np.ndarray:
        self.size = self.size or (frame.width, frame.height)
        try:
            matrix = self.orientation(frame)
        except ValueError as error:
            raise BrokenVideo(self.path, str(error)) from error
        return show(rgb_view(self.convert(frame, self.size)), matrix, 0)
