"""STDCF, a 3D convolution decomposed over space and time, and training in little memory.

Miao, Wang, Cheng and Qiu, "Spatiotemporal Joint Filter Decomposition in 3D Convolutional Neural
Networks", NeurIPS 2021.
"""

from typing import TYPE_CHECKING

from stdcf.lazy import lazily

if TYPE_CHECKING:
    from stdcf.convert import decompose, fuse
    from stdcf.layers import STDCFConv3d, set_dilation
    from stdcf.layers.tuning import tune
    from stdcf.memory import MemoryReport, StepMeter, measure_peak, predict_peak
    from stdcf.memory.savers import learn
    from stdcf.stages.rates import param_groups
    from stdcf.stages.stage import Stage, full_size, itsl
    from stdcf.training.trainer import Trainer

_HOMES = {
    "MemoryReport": "stdcf.memory.report",
    "STDCFConv3d": "stdcf.layers",
    "Stage": "stdcf.stages.stage",
    "StepMeter": "stdcf.memory.meter",
    "Trainer": "stdcf.training.trainer",
    "decompose": "stdcf.convert",
    "full_size": "stdcf.stages.stage",
    "fuse": "stdcf.convert",
    "itsl": "stdcf.stages.stage",
    "learn": "stdcf.memory.savers.learning",
    "measure_peak": "stdcf.memory.measure",
    "param_groups": "stdcf.stages.rates",
    "predict_peak": "stdcf.memory.predict",
    "set_dilation": "stdcf.layers",
    "tune": "stdcf.layers.tuning",
}
__all__ = [
    "MemoryReport",
    "STDCFConv3d",
    "Stage",
    "StepMeter",
    "Trainer",
    "decompose",
    "full_size",
    "fuse",
    "itsl",
    "learn",
    "measure_peak",
    "param_groups",
    "predict_peak",
    "set_dilation",
    "tune",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
