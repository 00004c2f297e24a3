"""How much may be decoded at a time, whatever the size of the frames."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Of one pixel: some fifteen frames that a decoder holds, 1.5 bytes each, and one in RGB twice.
BYTES_A_PIXEL = 30
LIMIT_BYTES = 256 * 2**20


class Room:
    """Bytes that the threads of this process share; what needs more than all waits to be alone."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._free_bytes = limit_bytes
        self._change = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Waits until there is room for decoding frames of so many pixels."""
        wanted = min(pixels * BYTES_A_PIXEL, self._limit_bytes)
        with self._change:
            self._change.wait_for(lambda: self._free_bytes >= wanted)
            self._free_bytes -= wanted
        try:
            yield
        finally:
            with self._change:
                self._free_bytes += wanted
                self._change.notify_all()


ROOM = Room()
