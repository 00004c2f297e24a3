"""Opening a video file: which stream is the film, and whether the file is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stdcf.data.video.avi import video_chunks
from stdcf.data.video.truncation import promised_bytes
from stdcf.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer


class BrokenVideo(UserError):
    """A video that cannot be decoded.

    Attributes:
        reason: why, without the file's name.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot decode {path}: {reason}. Copy it again, or take it out.")
        self.reason = reason


@contextmanager
def open_video(path: Path) -> "Iterator[tuple[InputContainer, Any]]":
    """The container and the stream that is the film, decoded in one thread.

    Raises:
        UserError: naming a file that is missing, cut short or no video, here or, for what FFmpeg
            cannot read, within the block.
    """
    try:
        import av
    except ModuleNotFoundError as error:
        raise UserError(f"Decoding {path} needs PyAV: pip install av.") from error
    if not path.is_file():
        raise BrokenVideo(path, "no such file")
    shortfall = shortfall_of(path)
    if shortfall and not _is_riff(path):
        raise BrokenVideo(path, shortfall)
    try:
        # From 19 on, PyAV never fails at a title that is not UTF-8, and has no such argument.
        asked: dict[str, Any] = (
            {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}
        )
        with av.open(str(path), **asked) as container:
            stream: Any = film_of(path, container)
            if stream.codec_context is None:
                raise BrokenVideo(path, "nothing here decodes its codec")
            stream.codec_context.thread_count = 1
            yield container, stream
    except av.FFmpegError as error:
        raise BrokenVideo(path, shortfall or error.strerror or type(error).__name__) from error


def frame_rate(path: Path) -> float | None:
    """Frames a second, on average, as a file's header says; None where it does not say."""
    with open_video(path) as (_, stream):
        return float(stream.average_rate) if stream.average_rate else None


def film_of(path: Path, container: "InputContainer") -> Any:
    """The stream that a player shows: no cover, no thumbnail; the default one, then the largest.

    Of two films that are alike in that, the first.

    Raises:
        BrokenVideo: if there is no film.
    """
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    films = [s for s in container.streams.video if not s.disposition & pictures]
    if not films:
        only = "a picture and no film" if container.streams.video else "no video stream"
        raise BrokenVideo(path, f"it holds {only}")

    def rank(stream: Any) -> tuple[bool, bool, int, int]:
        # A camera's thumbnail is a stream of one frame, whatever its size.
        is_still = stream.frames == 1 and any(film.frames != 1 for film in films)
        is_default = bool(stream.disposition & Disposition.default)
        codec = stream.codec_context
        pixels = codec.width * codec.height if codec else 0
        return not is_still, is_default, pixels, -stream.index

    return max(films, key=rank)


def check_frames(path: Path, container: "InputContainer", stream: Any, packets: int) -> None:
    """BrokenVideo for an AVI with fewer packets than its chunks or its header say.

    Packets are counted, since one may hold no picture (HMDB51's last ones), and in AVI alone:
    WebM's header says 0, and MP4's counts what an edit list cuts away.
    """
    if container.format.name != "avi" or packets >= stream.frames:
        return
    chunks = video_chunks(path, stream.index)
    if chunks.is_cut and chunks.count < stream.frames:
        raise BrokenVideo(
            path, f"truncated, {chunks.count} of the {stream.frames} frames its header states"
        )
    if packets < chunks.filled:
        raise BrokenVideo(path, f"damaged, {packets} of its {chunks.filled} frames can be read")


def shortfall_of(path: Path) -> str | None:
    """How much of a file is missing by what its container says; None where nothing is."""
    file_bytes, promised = path.stat().st_size, promised_bytes(path)
    if promised is None or promised <= file_bytes:
        return None
    return f"truncated, {file_bytes} of the {promised} bytes its header states"


def _is_riff(path: Path) -> bool:
    """AVI, of whose frames `check_frames` counts what is there."""
    with path.open("rb") as file:
        return file.read(4) == b"RIFF"
