"""What a run can do, by name: each task is a function in a module that is imported when needed.

A task takes ``(folder, *, data_root, device, num_workers, should_stop)`` and returns the row's
fields beyond `row_header.header`, "status" and "reason" among them. What it raises becomes a row as
in `suites.engine.worker`. A row may have "summary", the line that the display shows when the run ended.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from stdcf.errors import UserError

TASKS: dict[str, str] = {
    "train": "suites.engine.train:train",
    "capacity": "suites.experiments.capacity.task:measure",
    "gpu_cap": "suites.experiments.gpu_evidence.memory_task:hold",
    "gpu_compiled": "suites.experiments.gpu_evidence.throughput_task:measure_compiled",
    "gpu_machine": "suites.experiments.gpu_evidence.machine_task:measure",
    "gpu_memory": "suites.experiments.gpu_evidence.memory_task:measure",
    "gpu_prediction": "suites.experiments.gpu_evidence.memory_task:predict",
    "gpu_throughput": "suites.experiments.gpu_evidence.throughput_task:measure",
    "layer_speed": "suites.experiments.layer_speed.task:measure",
    "memory_caps": "suites.experiments.memory_caps.task:measure",
    "network_speed": "suites.experiments.layer_speed.network_task:measure",
    "reconstruct": "suites.experiments.tr_mnist.task:reconstruct",
    "reduction": "suites.experiments.reduction.task:measure",
    "stage_maps": "suites.experiments.shared.stage_maps_task:measure",
    "train_and_test": "suites.experiments.shared.conditions_task:measure",
    "video_maps": "suites.experiments.kinetics_gradcam.task:measure",
}


def get_task(name: str) -> Callable[..., dict[str, Any]]:
    """A task by name.

    Raises:
        UserError: for an unknown one.
    """
    if name not in TASKS:
        raise UserError(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    module, _, function = TASKS[name].partition(":")
    task: Callable[..., dict[str, Any]] = getattr(import_module(module), function)
    return task
