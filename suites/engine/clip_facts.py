"""What a data set makes a run cost beside its spec: its clips' shape and their number."""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stdcf.data.clips.shared_memory import Load
from stdcf.data.clips.splits import VideoData
from suites.engine.catalog import DATASETS
from suites.engine.spec import RunSpec

# Classes, training and test clips (or videos) of whole sets, for plans that open no data.
_WHOLE_SETS = {
    "kinetics400": (400, 240_000, 20_000),
    "something_v1": (174, 86_017, 11_522),
    "something_v2": (174, 168_913, 24_777),
    "kinetics600": (600, 390_000, 30_000),
    "kinetics700": (700, 545_000, 35_000),
    "jester": (27, 118_562, 14_787),
    "diving48": (48, 15_000, 2_000),
    "epic100": (97, 67_217, 9_668),
    "kth": (6, 9_000, 5_000),
    "weizmann": (10, 720, 148),
    "jhmdb": (21, 4_741, 751),
    "ucf101": (101, 400_000, 45_000),
    "hmdb51": (51, 70_000, 9_000),
    "synthetic_actions": (6, 576, 288),
}
_UNKNOWN_SET = (10, 1_000, 300)


@dataclass(frozen=True)
class ClipFacts:
    """What decides a run's cost beside its spec.

    Attributes:
        clip_shape: (C, T, H, W) of a training clip.
        test_passes: forward passes of the test, counted in training clips.
        assumed: not read from the data.
        loads: what data workers make of the two parts.
    """

    clip_shape: tuple[int, int, int, int]
    classes: int
    train_clips: int
    test_passes: float
    assumed: bool = False
    loads: tuple[Load, ...] = ()


def facts_of(data: VideoData) -> ClipFacts:
    """Of data that is open."""
    shape = data.train.clip_shape
    pixels = math.prod(data.test.clip_shape) / math.prod(shape)
    views = getattr(data.test, "num_views", 1)
    loads = (Load.of(data.train), Load.of(data.test))
    passes = len(data.test) * views * pixels
    return ClipFacts(shape, len(data.classes), len(data.train), passes, loads=loads)


def assumed_facts(spec: RunSpec) -> ClipFacts:
    """Of the whole set by its name, for a plan that opens no data."""
    signature = inspect.signature(DATASETS[spec.dataset])
    options: Mapping[str, Any] = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    options = {**options, **spec.dataset_options}
    classes, train, test = _WHOLE_SETS.get(spec.dataset, _UNKNOWN_SET)
    if options.get("size") is not None:
        height, width = options["size"]
        shape = (options["channels"], options["clip_frames"], height, width)
        return ClipFacts(shape, classes, train, test, assumed=True)
    crop = options["crop"]
    views = options["test_clips"] * options["test_crops"] * (options["test_crop"] / crop) ** 2
    shape = (3, options["frames"], crop, crop)
    return ClipFacts(shape, classes, train, test * views, assumed=True)
