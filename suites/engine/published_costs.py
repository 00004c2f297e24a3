"""Parameters, multiply-accumulates and memory of a run in the setting of its published row."""

from dataclasses import dataclass
from typing import Any

from suites.engine.spec import RunSpec
from suites.engine.suite import Row


@dataclass(frozen=True)
class Cost:
    """What a published row's network costs.

    Attributes:
        params, macs, executed_macs: see `stdcf.complexity.Complexity`; of one clip.
        peak_bytes: stage -> predicted peak memory of a training step on CUDA.
    """

    params: int
    macs: int
    executed_macs: int
    peak_bytes: dict[str, int]

    def as_fields(self) -> dict[str, Any]:
        """Fields of a row, from which `cost_of_row` reads them."""
        return {
            "published_params": self.params,
            "published_macs": self.macs,
            "published_executed_macs": self.executed_macs,
            "published_stage_peak_bytes": self.peak_bytes,
        }


def predict_cost(spec: RunSpec) -> Cost:
    """On fake and meta tensors: neither data nor a GPU nor the network's memory is used."""
    import torch

    from stdcf.complexity import count
    from stdcf.memory.predict import predict_stages
    from suites.engine.catalog import build_model

    published = spec.published
    assert published is not None, "only a run beside a published one has such a setting"
    assert published.counted_shape is not None, "a shape to count at belongs to it"
    classes, channels = published.num_classes, published.input_shape[1]
    spec = spec.as_published()
    with torch.random.fork_rng(devices=()):
        model = build_model(spec, classes, channels)
        found = count(model, published.counted_shape, fvcore=False)
        reports = predict_stages(
            lambda: build_model(spec, classes, channels),
            published.input_shape,
            spec.stages,
            device="cuda",
            optimizer=spec.stages[0].optimizer,
        )
    peaks = {name: report.peak_bytes for name, report in reports.items()}
    return Cost(found.params, found.macs, found.executed_macs, peaks)


def cost_of_row(row: Row) -> Cost | None:
    """What `predict_cost` said when the row was made; None where the run did not get so far."""
    if row.get("published_macs") is None:
        return None
    return Cost(
        row["published_params"],
        row["published_macs"],
        row["published_executed_macs"],
        row["published_stage_peak_bytes"],
    )
