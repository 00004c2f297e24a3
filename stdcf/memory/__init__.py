"""Predict and measure the memory of one training step."""

from typing import TYPE_CHECKING

from stdcf.lazy import lazily

if TYPE_CHECKING:
    from stdcf.memory.measure import measure_peak
    from stdcf.memory.meter import StepMeter
    from stdcf.memory.predict import predict_evaluation, predict_peak, predict_stages
    from stdcf.memory.report import MemoryReport
    from stdcf.memory.tracking.moment import Moment
    from stdcf.memory.tracking.tracker import CapExceeded, LifeTracker

_HOMES = {
    "CapExceeded": "stdcf.memory.tracking.tracker",
    "LifeTracker": "stdcf.memory.tracking.tracker",
    "MemoryReport": "stdcf.memory.report",
    "Moment": "stdcf.memory.tracking.moment",
    "StepMeter": "stdcf.memory.meter",
    "measure_peak": "stdcf.memory.measure",
    "predict_evaluation": "stdcf.memory.predict",
    "predict_peak": "stdcf.memory.predict",
    "predict_stages": "stdcf.memory.predict",
}
__all__ = [
    "CapExceeded",
    "LifeTracker",
    "MemoryReport",
    "Moment",
    "StepMeter",
    "measure_peak",
    "predict_evaluation",
    "predict_peak",
    "predict_stages",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
