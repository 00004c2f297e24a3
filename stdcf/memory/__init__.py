"""Predict and measure the memory of one training step."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stdcf.memory.measure import measure_peak
    from stdcf.memory.meter import StepMeter
    from stdcf.memory.predict import predict_peak, predict_stages
    from stdcf.memory.report import MemoryReport, Moment
    from stdcf.memory.tracking.tracker import CapExceeded, LifeTracker

_HOMES = {
    "CapExceeded": "tracking.tracker",
    "LifeTracker": "tracking.tracker",
    "MemoryReport": "report",
    "Moment": "report",
    "StepMeter": "meter",
    "measure_peak": "measure",
    "predict_peak": "predict",
    "predict_stages": "predict",
}
__all__ = [
    "CapExceeded",
    "LifeTracker",
    "MemoryReport",
    "Moment",
    "StepMeter",
    "measure_peak",
    "predict_peak",
    "predict_stages",
]


def __getattr__(name: str) -> Any:
    # Reading a report must not cost the import of torch.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"stdcf.memory.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'stdcf.memory' has no attribute {name!r}")
