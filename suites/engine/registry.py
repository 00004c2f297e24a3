"""Every suite and every task by name; their modules are imported when they are asked for."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from stdcf.errors import UserError
from suites.engine.own_suites import own_suites, own_tasks, suite_from_file
from suites.engine.suite import Suite

SUITES: dict[str, str] = {
    "kth_tempo": "Figure 3: clips twice as fast as in training, with and without swapped atoms",
    "tempo_sweep": "Test tempo 0.5 to 4, temporal atoms kept or dilated to match",
    "kth_table1": "Table 1: dilated atoms where training and test differ in resolution",
    "kth_table2": "Table 2 and Figure 5: three layers, full size against ITSL",
    "rate_sweep": "Learning rates of each layer and training mode, chosen on validation persons",
    "kth_attention": "Figure 6: where networks look after stage-t and after stage-s",
    "kinetics_table3": "Table 3: Kinetics-400, STDCF-R50 beside four other networks",
    "kinetics_gradcam": "Figure 7: Grad-CAM of stage-t and stage-s, of any video by --video",
    "kinetics_grid": "Ablation on Kinetics-400: layer, atoms, E, β, γ, dilation, memory cap",
    "something_table4": "Table 4: Something-Something, STDCF-R50 beside seven other rows",
    "memory_caps": "What fits under 0.5 to 16 GiB, and what ITSL and every memory saver cost",
    "rivals": "ITSL beside the schedules and savers that compete with it, under one cap",
    "single": "One run of any model, layer, clip and savers, as suites.plan proposes",
    "layer_speed": "Time and memory of every layer and plan against nn.Conv3d",
    "capacity": "§2.1.1: degrees of freedom and best fits of each family of filters",
    "reduction": "§2.4: the reduction formulas against counted parameters and MACs",
    "tr_mnist": "Figure 2: moving, turning digits, reconstructed by each layer",
    "itsl_ablation": "What ITSL's iterations, sizes, dilation, frozen parts and order are worth",
    "atoms_ablation": "Numbers of atoms, how they start, shared or each layer's own",
    "gpu_evidence": "What only a GPU can tell: memory, caps, speed, throughput, Table 2",
    "estimators": "Estimators of a step's peak memory, side by side against a GPU",
    "synthetic_card": "What the synthetic clips ask of time and of detail",
}

# What a run can do, by name: "module:function", imported when needed.
TASKS: dict[str, str] = {
    "train": "suites.engine.train:train",
    "capacity": "suites.experiments.capacity.task:measure",
    "estimators": "suites.experiments.estimators.task:measure",
    "gpu_cap": "suites.experiments.gpu_evidence.memory_task:hold",
    "gpu_compiled": "suites.experiments.gpu_evidence.throughput_task:measure_compiled",
    "gpu_estimate": "suites.experiments.gpu_evidence.memory_task:hold_to_estimates",
    "gpu_kernel": "suites.experiments.gpu_evidence.kernel_task:measure",
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


def all_suites() -> dict[str, str]:
    """Name -> title of this project's suites, then of others' (see `suites.engine.own_suites`)."""
    return {**{name: suite.title for name, suite in own_suites().items()}, **SUITES}


def get_suite(name: str) -> Suite:
    """A suite by name, or of a file.

    Raises:
        UserError: for an unknown one, with the nearest name.
    """
    if name.endswith(".py"):
        suite = suite_from_file(Path(name))
        if suite.name in SUITES:
            raise UserError(f"{name}: {suite.name} is a suite of this project; choose another name")
        return suite
    if name not in SUITES:
        own = own_suites()
        if name in own:
            return own[name]
        names = [*SUITES, *own]
        near = get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise UserError(f"no suite {name!r}; {hint} (python -m suites.run --list)")
    found: Suite = import_module(f"suites.experiments.{name}.suite").SUITE
    return found


def get_task(name: str) -> Callable[..., dict[str, Any]]:
    """A task by name.

    Raises:
        UserError: for an unknown one.
    """
    if name not in TASKS:
        own = own_tasks()
        if name in own:
            return own[name]
        raise UserError(f"unknown task {name!r}; there are {', '.join([*TASKS, *own])}")
    module, _, function = TASKS[name].partition(":")
    task: Callable[..., dict[str, Any]] = getattr(import_module(module), function)
    return task
