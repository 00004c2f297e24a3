"""How fast devices are, as earlier rows say: the layer's own times, and copies."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from suites.engine.suite import Row

# A training step computes the forward pass, the gradients of activations and those of weights.
TRAIN_PASSES = 3
OPERATIONS_A_MAC = 2
# Sustained while training, where nothing was measured: one data-centre GPU, with and without
# bfloat16, and one CPU core.
_TERAFLOPS = {
    ("cuda", True): 40.0,
    ("cuda", False): 10.0,
    ("cpu", True): 0.02,
    ("cpu", False): 0.02,
}
_SHAPE = re.compile(r"(\d+)to(\d+)_(\d+)x(\d+)x(\d+)-(\w+)")

Channels = tuple[int, int]


def device_kind(row: Row) -> str:
    """ "cuda" or "cpu"."""
    return "cuda" if str(row["device"]).startswith("cuda") else "cpu"


def device_model(row: Row) -> str:
    """The device without its number, as "NVIDIA H200"."""
    return str(row["device"]).partition(" ")[2]


class Speeds:
    """Of one device, for steps of which multiply-accumulates and moved bytes are known.

    Args:
        rows: earlier results of the device; those of the suites layer_speed and gpu_evidence tell
            the times of single layers, and gpu_evidence's first how fast memory is copied.
        teraflops: that the device sustains where no rows say more.
    """

    def __init__(self, rows: Sequence[Row], kind: str, teraflops: float | None = None) -> None:
        self._kind, self._teraflops = kind, teraflops
        self._bytes_per_second = max(
            (row["copy"]["bytes_per_second"] for row in rows if "copy" in row), default=None
        )
        # Type and layer -> channels -> the largest batch, its operations and seconds.
        self._layers: dict[tuple[str, str], dict[Channels, tuple[int, float, float]]] = {}
        for row in rows:
            if "measurements" in row and (shape := _SHAPE.fullmatch(str(row["mode"]))):
                self._add(row, shape)

    def _add(self, row: Row, shape: re.Match[str]) -> None:
        c_in, c_out, *size = (int(number) for number in shape.groups()[:5])
        dense = {m["name"]: m["params"] for m in row["measurements"]}.get("regular")
        for found in row["measurements"]:
            if found["layout"] != "contiguous" or not found.get("step_seconds") or not dense:
                continue
            # A composed filter multiplies as the dense one; each weight once a position.
            weights = found["params"] if found["name"] == "rank1" else dense
            macs = weights * size[0] * size[1] * size[2] * row["batch"]
            known = self._layers.setdefault((shape[6], found["name"]), {})
            if row["batch"] > known.get((c_in, c_out), (0,))[0]:
                operations = OPERATIONS_A_MAC * TRAIN_PASSES * macs
                known[c_in, c_out] = (row["batch"], operations, found["step_seconds"])

    def knows(self, layer: str, channels: Collection[Channels], amp: bool) -> bool:
        """Whether `step_seconds` rests on measured layers."""
        return self._layer_rate(layer, channels, amp) is not None

    def step_seconds(
        self,
        macs: int,
        moved_bytes: int,
        *,
        layer: str,
        channels: Collection[Channels],
        amp: bool,
    ) -> float:
        """A step's time: products at the layers' rate, all else at the memory's.

        Args:
            layer: as the rows of layer_speed name it.
            channels: in and out, of the network's 3×3 convolutions.
        """
        rate = self._layer_rate(layer, channels, amp)
        if rate is not None:
            assert self._bytes_per_second is not None, "without it there is no such rate"
            return OPERATIONS_A_MAC * macs / rate + moved_bytes / self._bytes_per_second
        assumed = 1e12 * (self._teraflops or _TERAFLOPS[self._kind, amp])
        return OPERATIONS_A_MAC * macs / assumed

    def _layer_rate(self, layer: str, channels: Collection[Channels], amp: bool) -> float | None:
        """Operations a second of the layer at the network's own shapes."""
        if self._bytes_per_second is None:
            return None
        rates = []
        # What cuDNN makes of float32 by default has TF32's ten bits; bfloat16 is no slower.
        for dtype in ("bfloat16", "tf32") if amp else ("tf32",):
            for name in _like(layer):
                found = self._layers.get((dtype, name), {})
                times = [found[pair] for pair in found if pair in channels]
                if times:
                    rates.append(sum(t[1] for t in times) / sum(t[2] for t in times))
                    break
        return max(rates, default=None)


def _like(layer: str) -> Iterable[str]:
    """The layer and, where it was not timed, those most like it."""
    yield layer
    if layer.startswith("stdcf"):
        yield f"stdcf 6,2 {layer.rpartition(' ')[2]}"
        yield "stdcf 6,2 composed"
    yield "regular"


def layer_name(layer: str, options: Mapping[str, Any]) -> str:
    """As the rows of layer_speed name a spec's layer."""
    if layer != "stdcf":
        return layer or "regular"
    m, n = options.get("num_spatial_atoms", 3), options.get("num_temporal_atoms", 2)
    return f"stdcf {m},{n} {options.get('plan', 'auto')}"
