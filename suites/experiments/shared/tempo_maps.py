"""Feature maps of one network under several tempi: how alike they are, and pictures of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stdcf.data.clips.loader import batches
from stdcf.data.clips.splits import VideoData
from stdcf.data.clips.transforms import change_tempo, stride_time
from stdcf.layers import set_dilation
from stdcf.training.step import Numerics
from stdcf.visualize import outputs_of, similarity
from suites.engine.spec import RunSpec
from suites.experiments.shared.conditions import Condition
from suites.experiments.shared.stage_maps_task import lively
from suites.reporting.pictures import packed

# Frames of the faster clip of which pictures are kept, of the first seed alone.
PICTURE_FRAMES = 4


@torch.no_grad()
def compare(
    model: nn.Module,
    data: VideoData,
    spec: RunSpec,
    numerics: Numerics,
    conditions: Sequence[Condition],
) -> dict[str, Any]:
    """Row fields: "similarities", condition -> convolution -> mean over the test clips.

    Compared with the first condition's maps at the same moments of the scene, of which a clip that
    is played twice as fast has every second one. "pictures", of the first seed: the channel that
    varies most in the reference, of one clip.
    """
    model.eval()
    reference, *others = conditions
    names = set_dilation(model, *reference.dilation)
    sums = {condition.name: dict.fromkeys(names, 0.0) for condition in others}
    for clip_BCTHW, _, _ in batches(data.test, spec.batch_size, order=range(len(data.test))):
        x_BCTHW = numerics.prepare(clip_BCTHW)
        expected = _maps(model, names, x_BCTHW, reference, numerics)
        for condition in others:
            found = _maps(model, names, x_BCTHW, condition, numerics)
            for name in names:
                same_times = _at_times_of(found[name], expected[name])
                sums[condition.name][name] += float(similarity(found[name], same_times).sum())
    row: dict[str, Any] = {
        "similarities": {
            condition: {name: total / len(data.test) for name, total in by_name.items()}
            for condition, by_name in sums.items()
        }
    }
    if spec.seed == 0:
        row["pictures"] = _pictures(model, data, numerics, names, conditions)
    return row


def _maps(
    model: nn.Module, names: list[str], x_BCTHW: Tensor, condition: Condition, numerics: Numerics
) -> dict[str, Tensor]:
    set_dilation(model, *condition.dilation)
    with numerics.autocast():
        return outputs_of(model, names, change_tempo(x_BCTHW, condition.tempo))


def _at_times_of(map_BCTHW: Tensor, reference_BCTHW: Tensor) -> Tensor:
    """The reference at the moments that the map has."""
    return stride_time(reference_BCTHW, reference_BCTHW.shape[2] // map_BCTHW.shape[2])


def _pictures(
    model: nn.Module,
    data: VideoData,
    numerics: Numerics,
    names: list[str],
    conditions: Sequence[Condition],
) -> dict[str, Any]:
    clips = next(iter(batches(data.test, 1, order=lively(data, 1))))[0]
    x_BCTHW = numerics.prepare(clips)
    reference, *others = conditions
    expected = _maps(model, names, x_BCTHW, reference, numerics)
    channels = {name: int(expected[name].float().var((0, 2, 3, 4)).argmax()) for name in names}
    found: dict[str, dict[str, Tensor]] = {}
    for condition in others:
        maps = _maps(model, names, x_BCTHW, condition, numerics)
        found[condition.name] = {name: maps[name][0, channels[name]].float() for name in names}
        found.setdefault(reference.name, {}).update(
            {
                name: _at_times_of(maps[name], expected[name])[0, channels[name]].float()
                for name in names
            }
        )
    pictures: dict[str, Any] = {"layers": {}, "input": packed(clips[0, 0].numpy())}
    for name in names:
        own = {condition: maps[name] for condition, maps in found.items()}
        # One scale for all, so that the eye may compare them; what lies beyond is cut off.
        low, high = (float(value) for value in own[reference.name].aminmax())
        count = own[reference.name].shape[0]
        frames = np.linspace(0, count - 1, min(PICTURE_FRAMES, count)).round().astype(int)
        pictures["layers"][name] = {
            "channel": channels[name],
            "low": low,
            "high": high,
            "frames": frames.tolist(),
            "of_frames": count,
            "size": list(own[reference.name].shape[1:]),
            "maps": {
                condition: packed(_as_bytes(maps[frames], low, high))
                for condition, maps in own.items()
            },
        }
    return pictures


def _as_bytes(maps: Tensor, low: float, high: float) -> np.ndarray:
    scaled = (maps - low) / max(high - low, torch.finfo(maps.dtype).tiny)
    return scaled.clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
