"""What a step takes beyond its multiplications, in multiplications."""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Prices:
    """How fast a machine is; the defaults are round numbers for a card of about 10 TFLOP/s.

    Attributes:
        bus: bytes a second between the device and the host; 12 GiB/s is about what PCIe 3.0 ×16
            moves from pinned memory.
        memory: bytes a second that operators read and write on the device.
        multiplications: multiply-accumulates a second.
    """

    bus: float = 12 * GIB
    memory: float = 400 * GIB
    multiplications: float = 5e12

    def of(self, macs: float, moved_bytes: float, bus_bytes: float) -> float:
        """Multiplications that take as long as these one after the other."""
        seconds = moved_bytes / self.memory + bus_bytes / self.bus
        return macs + self.multiplications * seconds


PRICES = Prices()
