"""Counts layers of one filter size, and says what §2.4's formulas make of them."""

from itertools import product
from math import prod
from typing import Any

from torch import nn

from stdcf.complexity import count
from stdcf.layers import STDCFConv3d
from suites.engine.task import Run


def measure(run: Run) -> dict[str, Any]:
    """The task "reduction": a measurement for each M, N and C."""
    options = run.spec.options
    t, k, clip = options["t"], options["k"], options["clip"]
    measurements = []
    for channels in options["channels"]:
        dense = _counted(nn.Conv3d(channels, channels, **_common(t, k)), channels, clip)
        for m, n in product(options["spatial_atoms"], options["temporal_atoms"]):
            run.stop_if_asked()
            layer = STDCFConv3d(
                channels, channels, num_spatial_atoms=m, num_temporal_atoms=n, **_common(t, k)
            )
            params, macs = _counted(layer, channels, clip)
            measurements.append(
                {
                    "channels": channels,
                    "spatial_atoms": m,
                    "temporal_atoms": n,
                    "params": params,
                    "macs": macs,
                    "dense_params": dense[0],
                    "dense_macs": dense[1],
                    **formulas(t, k, m, n, channels, prod(clip)),
                }
            )
    return {
        "status": "ok",
        "reason": None,
        "summary": f"{len(measurements)} layers counted",
        "t": t,
        "k": k,
        "clip": clip,
        "measurements": measurements,
    }


def formulas(t: int, k: int, m: int, n: int, channels: int, positions: int) -> dict[str, Any]:
    """§2.4 with C_in = C_out = `channels`; FLOPs there are 2 a multiply-accumulate.

    Returns:
        "formula_params" and "formula_macs" of the layer, "formula_dense_params" and
        "formula_dense_macs" of the regular one, and "limit", the share MN/(tk²) that both tend to.
    """
    return {
        "formula_params": channels**2 * m * n + m * k**2 + n * t,
        "formula_macs": channels * m * positions * (k**2 + n * t + n * channels),
        "formula_dense_params": channels**2 * t * k**2,
        "formula_dense_macs": channels**2 * positions * k**2 * t,
        "limit": m * n / (t * k**2),
    }


def _common(t: int, k: int) -> dict[str, Any]:
    return {"kernel_size": (t, k, k), "padding": (t // 2, k // 2, k // 2), "bias": False}


def _counted(layer: nn.Module, channels: int, clip: list[int]) -> tuple[int, int]:
    found = count(layer, (1, channels, *clip), fvcore=False)
    return found.params, found.macs
