"""Times whole training steps: a network with each layer, in both memory layouts."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from stdcf.memory.measure import StepMeter
from stdcf.stages.apply import to_channels_last
from suites.engine.catalog import build
from suites.engine.task import Run
from suites.experiments.layer_speed.cases import ATOMS
from suites.experiments.layer_speed.task import LAYOUTS
from suites.experiments.shared.timing import Contender, run_rounds, timings

# Channels, T, H, W and classes.
INPUTS = {"kth_cnn": ((1, 16, 60, 80), 6), "resnet3d_50": ((3, 8, 224, 224), 400)}
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "regular": ("regular", {}),
    "rank1": ("rank1", {}),
    **{
        f"stdcf {m},{n} {plan}": (
            "stdcf",
            {"num_spatial_atoms": m, "num_temporal_atoms": n, "plan": plan},
        )
        for m, n in ATOMS
        for plan in ("auto", "composed")
    },
}


class Step:
    """Forward, loss, backward and Adam, as the trainer does them."""

    def __init__(
        self, model: nn.Module, clip: torch.Tensor, target: torch.Tensor, amp: bool
    ) -> None:
        self.model, self.clip_BCTHW, self.target, self.amp = model, clip, target, amp
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def __call__(self) -> None:
        kind = self.clip_BCTHW.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.amp):
            loss = F.cross_entropy(self.model(self.clip_BCTHW), self.target)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def peak_bytes(self) -> int:
        meter = StepMeter(self.model, self.optimizer, measured_step=0)
        with meter.step(self.clip_BCTHW, self.target):
            self()
        assert meter.report is not None
        return meter.report.peak_bytes


def measure(run: Run) -> dict[str, Any]:
    """The task "network_speed": the row of one network; bfloat16 is by autocast."""
    options = run.spec.options
    run.settle()
    shape, classes = INPUTS[options["network"]]
    clip = torch.randn(options["batch"], *shape, device=run.device)
    target = torch.randint(classes, (options["batch"],), device=run.device)
    steps, contenders = [], []
    for name, (layer, layer_options) in LAYERS.items():
        make = partial(build, options["network"], num_classes=classes, in_channels=shape[0])
        for layout, memory_format in LAYOUTS.items():
            model = make(layer=layer, layer_options=layer_options).to(run.device).train()
            if layout == "channels_last_3d":
                model = to_channels_last(model)
            amp = options["dtype"] == "bfloat16"
            step = Step(model, clip.to(memory_format=memory_format), target, amp)
            steps.append(step)
            contenders.append(Contender(name, layout, {"step": step}))
    rounds = run_rounds(run, contenders)
    measurements = [
        timings(one, contenders)
        | {
            "params": sum(p.numel() for p in step.model.parameters()),
            "peak_bytes": step.peak_bytes(),
        }
        for one, step in zip(contenders, steps, strict=True)
    ]
    return {
        "status": "ok",
        "reason": None,
        "summary": f"{rounds} rounds of {len(contenders)} networks",
        "rounds": rounds,
        "batch": options["batch"],
        "measurements": measurements,
        "measured_by": "cuda_allocated" if run.on_gpu else "tracker_cpu",
    }
