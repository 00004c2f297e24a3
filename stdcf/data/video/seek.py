"""Some frames of a long video, without decoding the rest of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stdcf.data.video.decode import BrokenVideo, shortfall_of
from stdcf.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer

# From the number of frames to the indices that are wanted, of any shape.
Choose = Callable[[int], np.ndarray]


def read_frames(path: Path, choose: Choose) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a video, each decoded once, in one FFmpeg thread.

    The container's packets are listed first, which decodes nothing and takes a millisecond or two
    for ten seconds; then decoding starts at the last keyframe before the first wanted frame. Frames
    are counted in the order of display. Where a container does not tell that order (AVI with
    B-frames), or some packet turns out to hold no picture, frames are counted by decoding.

    Args:
        choose: called with the number of frames; called again, and its first answer dropped, if
            the packets promised more frames than there are.

    Returns:
        The frames, each RGB uint8 [H, W, 3] at the size of the first, and what `choose` gave as
        indices of them.

    Raises:
        UserError: naming a file that is missing, truncated, damaged or no video.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise UserError(f"Decoding {path} needs PyAV: pip install av.") from error
    if not path.is_file():
        raise BrokenVideo(path, "no such file")
    shortfall = shortfall_of(path)
    if shortfall and path.suffix.lower() != ".avi":
        raise BrokenVideo(path, shortfall)
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            packets = _Packets(path, container)
            chosen = choose(packets.count)
            found: list[np.ndarray] | int | None = packets.frames(np.unique(chosen))
        if found is None:
            found = _count_to(path, np.unique(chosen))
        if isinstance(found, int):
            chosen = choose(found)
            found = _count_to(path, np.unique(chosen))
    except av.FFmpegError as error:
        raise BrokenVideo(path, shortfall or error.strerror or type(error).__name__) from error
    assert isinstance(found, list)
    return found, np.unique(chosen, return_inverse=True)[1].reshape(chosen.shape)


class _Packets:
    """What the packets of an open video say, and decoding by it.

    Attributes:
        count: of frames, if each packet holds one.
        places: timestamp -> place in the order of decoding.
        keyframes: their timestamps.
        times: the frames' timestamps in the order of display; None where packets do not tell it.
    """

    def __init__(self, path: Path, container: "InputContainer") -> None:
        if not container.streams.video:
            raise BrokenVideo(path, "it holds no video stream")
        self.path = path
        self.container = container
        self.stream = container.streams.video[0]
        if self.stream.codec_context is None:
            raise BrokenVideo(path, "nothing here decodes its codec")
        self.stream.codec_context.thread_count = 1
        listed: list[tuple[Any, bool]] = []
        shown: list[Any] = []
        for packet in container.demux(self.stream):
            if packet.size:
                listed.append((packet.pts, packet.is_keyframe))
                # An edit list may cut frames away, which others still need for decoding.
                if not packet.is_discard:
                    shown.append(packet.pts)
        if not shown:
            raise BrokenVideo(path, "it holds no frame")
        is_avi = container.format.name == "avi"
        if is_avi and len(listed) < self.stream.frames:
            raise BrokenVideo(
                path, f"truncated, {len(listed)} of the {self.stream.frames} frames it states"
            )
        self.places: dict[Any, int] = {time: place for place, (time, _) in enumerate(listed)}
        self.keyframes = [time for time, is_keyframe in listed if is_keyframe]
        # AVI has no times of display: FFmpeg makes some up from the order of decoding.
        is_told = None not in self.places and len(self.places) == len(listed)
        if is_avi and self.stream.codec_context.has_b_frames:
            is_told = False
        self.count = len(shown)
        self.times = sorted(shown) if is_told else None

    def frames(self, wanted: np.ndarray) -> list[np.ndarray] | None:
        """The frames with these ascending indices; None where seeking cannot find each of them."""
        if self.times is None:
            return None
        times = [self.times[index] for index in wanted]
        first = next(iter(self.places))
        start = max((time for time in self.keyframes if time <= times[0]), default=first)
        to_rgb = _ToRgb()
        found = {frame.pts: to_rgb(frame) for frame in self._decode(set(times), start)}
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


def _count_to(path: Path, wanted: np.ndarray) -> list[np.ndarray] | int:
    """The frames with these ascending indices, decoding from the start; how many, if too few."""
    import av

    to_rgb = _ToRgb()
    indices = set(wanted.tolist())
    found = []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        count = 0
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise BrokenVideo(path, f"frame {count} is damaged")
            if count in indices:
                found.append(to_rgb(frame))
                if len(found) == len(indices):
                    return found
            count += 1
    if count == 0:
        raise BrokenVideo(path, "it holds no frame")
    return count


class _ToRgb:
    """Frames as uint8 [H, W, 3], turned as their metadata says, at the size of the first."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        # One for all frames: each of its own would build its conversion tables again.
        self.reformatter = VideoReformatter()
        self.size: tuple[int, int] | None = None
        # Later PyAVs convert in as many threads as there are cores unless told.
        text = VideoReformatter.reformat.__doc__ or ""
        self.options = {"threads": 1} if "threads" in text else {}

    def __call__(self, frame: Any) -> np.ndarray:
        self.size = self.size or (frame.width, frame.height)
        width, height = self.size
        rgb = self.reformatter.reformat(frame, width, height, "rgb24", **self.options)
        picture_HWC: np.ndarray = rgb.to_ndarray()
        return np.rot90(picture_HWC, round(frame.rotation / 90) % 4)
