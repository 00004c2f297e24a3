"""Trains ITSL's networks, or takes them from a run that did, and maps where two of them look."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from stdcf.data.clips.loader import batches
from stdcf.data.clips.splits import VideoData
from stdcf.layers import set_dilation
from stdcf.training.step import Numerics
from stdcf.visualize import outputs_of, share_on_motion
from suites.engine.task import Run
from suites.engine.trained import Trained, train_or_adopt
from suites.experiments.shared.gradcam import gradcam
from suites.reporting.pictures import packed

# Of clips that are drawn, of the first seed alone.
PICTURES = 2
PICTURE_FRAMES = 4
TOP = 5

# The last convolution of kth_cnn after its normalisation and ReLU: what the network goes on with.
LAST_MAP = "blocks.2.2"


# A map [B, T, H, W] that is nowhere negative, of the layer's own size, and probabilities [B, K].
Look = tuple[Tensor, Tensor]


def attention(model: nn.Module, x_BCTHW: Tensor) -> Look:
    """The last convolution's feature maps summed over channels (§3.1, Figure 6)."""
    logits: list[Tensor] = []
    handle = model.register_forward_hook(lambda module, inputs, output: logits.append(output))
    try:
        maps = outputs_of(model, [LAST_MAP], x_BCTHW)[LAST_MAP]
    finally:
        handle.remove()
    return maps.float().sum(1), logits[0].float().softmax(1)


def class_activation(model: nn.Module, x_BCTHW: Tensor) -> Look:
    """Grad-CAM of the predicted class at the same place (Figure 7)."""
    return gradcam(model, LAST_MAP, x_BCTHW)


LOOKS: dict[str, Callable[[nn.Module, Tensor], Look]] = {
    "attention": attention,
    "gradcam": class_activation,
}


def measure(run: Run) -> dict[str, Any]:
    """The task "stage_maps": the row of training with "looks" and, of the first seed, "pictures".

    "looks" has for each stage its accuracies and "on_motion", the mean over the test clips of
    `share_on_motion`. Its "accuracy" is the last of these stages'.
    """
    trained = train_or_adopt(run)
    if trained is None:
        return {}
    spec, row = trained.spec, trained.row
    look = LOOKS[spec.options["map"]]
    tests = {test["stage"]: test for test in row["stages"]}
    shown = lively(trained.data, PICTURES) if spec.seed == 0 else []
    pictures = [_frames(trained.data, place) for place in shown]
    looks = []
    for name in spec.options["stages"]:
        model = _tested_model(trained, name)
        found = {key: tests[name][key] for key in ("accuracy", "video_accuracy")}
        looks.append({"stage": name, **found, "on_motion": _on_motion(model, trained, look)})
        for place, picture in zip(shown, pictures, strict=True):
            clip_BCTHW = next(iter(batches(trained.data.test, 1, order=[place])))[0]
            seen = _seen(look, model, trained.numerics, clip_BCTHW)
            picture["maps"][name] = drawn(seen, picture, trained.data.classes)
    row |= {"looks": looks, "accuracy": looks[-1]["accuracy"]}
    row |= {"pictures": pictures} if pictures else {}
    row["summary"] = ", ".join(
        f"{one['stage']} {100 * one['accuracy']:.1f}%, {100 * one['on_motion']:.1f}% on motion"
        for one in looks
    )
    return row


def _tested_model(trained: Trained, stage: str) -> nn.Module:
    """The stage's network with the dilation that it is tested with."""
    model = trained.model(stage)
    (dilation,) = (s.test_dilation for s in trained.spec.stages if s.name == stage)
    set_dilation(model, *dilation)
    return model


def _on_motion(model: nn.Module, trained: Trained, look: Callable[..., Look]) -> float:
    clips = trained.data.test
    total = 0.0
    for clip_BCTHW, _, _ in batches(clips, trained.spec.batch_size, order=range(len(clips))):
        map_BTHW, _ = _seen(look, model, trained.numerics, clip_BCTHW)
        total += float(share_on_motion(map_BTHW.cpu(), clip_BCTHW).sum())
    return total / len(clips)


def _seen(
    look: Callable[..., Look], model: nn.Module, numerics: Numerics, clip_BCTHW: Tensor
) -> Look:
    with numerics.autocast():
        return look(model, numerics.prepare(clip_BCTHW))


def lively(data: VideoData, count: int) -> list[int]:
    """The test clips whose pixels change most from frame to frame, each of another class."""
    changes: list[Tensor] = []
    for clip_BCTHW, _, _ in batches(data.test, 16, order=range(len(data.test))):
        frames = clip_BCTHW.float()
        changes.append((frames[:, :, 1:] - frames[:, :, :-1]).abs().flatten(1).mean(1))
    chosen: dict[int, int] = {}
    for place in torch.cat(changes).argsort(descending=True).tolist():
        chosen.setdefault(int(data.test.labels[place]), place)
    return list(chosen.values())[:count]


def _frames(data: VideoData, place: int) -> dict[str, Any]:
    clip_BCTHW, label_B, _ = next(iter(batches(data.test, 1, order=[place])))
    return picture_of(clip_BCTHW[0]) | {"label": data.classes[int(label_B[0])]}


def picture_of(clip_CTHW: Tensor) -> dict[str, Any]:
    """Some frames of a uint8 clip in gray, packed, with room for maps."""
    count = clip_CTHW.shape[1]
    shown = np.linspace(0, count - 1, min(PICTURE_FRAMES, count)).round().astype(int)
    gray_THW = clip_CTHW.float().mean(0)[torch.from_numpy(shown)].round().to(torch.uint8)
    return {
        "frames": shown.tolist(),
        "of_frames": count,
        "size": list(gray_THW.shape[1:]),
        "input": packed(gray_THW.numpy()),
        "maps": {},
    }


def drawn(seen: Look, picture: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """The map of a batch of one at the picture's frames, 255 at its largest, and the top classes.

    Between the layer's own times it is interpolated, its height and width stay.
    """
    map_BTHW, scores_BK = seen
    size = map_BTHW.shape[2:]
    map_THW = interpolate(
        map_BTHW[None].float().cpu(), (picture["of_frames"], *size), mode="trilinear"
    )[0, 0]
    values = map_THW / map_THW.max().clamp_min(torch.finfo(map_THW.dtype).tiny)
    chosen = values[torch.tensor(picture["frames"])].mul(255).round().to(torch.uint8)
    best = scores_BK[0].cpu().topk(min(TOP, len(classes)))
    return {
        "size": list(size),
        "map": packed(chosen.numpy()),
        "top": [
            [classes[place], float(score)]
            for score, place in zip(best.values, best.indices.tolist(), strict=True)
        ],
    }
