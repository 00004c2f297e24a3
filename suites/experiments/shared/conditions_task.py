"""Trains a network, or takes one that was trained so, and tests it under several conditions."""

from typing import Any

from torch import nn

from stdcf.data.clips.splits import VideoData
from stdcf.training.evaluate import evaluate
from stdcf.training.step import Numerics
from suites.engine.spec import RunSpec
from suites.engine.task import Run
from suites.engine.trained import train_or_adopt
from suites.experiments.shared.conditions import Condition


def measure(run: Run) -> dict[str, Any]:
    """The task "train_and_test": the row of training with "conditions", one entry a test.

    Its "accuracy" is None: each condition has its own.
    """
    trained = train_or_adopt(run)
    if trained is None:
        return {}
    spec, data, numerics, row = trained.spec, trained.data, trained.numerics, trained.row
    model = trained.model(spec.stages[-1].name)
    conditions = [Condition.model_validate(given) for given in spec.options["conditions"]]
    tests = [tested(model, data, spec, numerics, condition) for condition in conditions]
    row["conditions"] = tests
    row["summary"] = ", ".join(f"{test['name']} {100 * test['accuracy']:.1f}%" for test in tests)
    if spec.options.get("maps"):
        from suites.experiments.shared.tempo_maps import compare

        row |= compare(model, data, spec, numerics, conditions)
    return row


def tested(
    model: nn.Module, data: VideoData, spec: RunSpec, numerics: Numerics, condition: Condition
) -> dict[str, Any]:
    """The condition with its accuracies in [0, 1]."""
    found = evaluate(
        model,
        data.test,
        condition.dilation,
        numerics,
        batch_size=spec.batch_size,
        sized_as_in=spec.stages[-1] if condition.own_size else None,
        tempo=condition.tempo,
    )
    accuracies = {"accuracy": found.clip, "video_accuracy": found.video}
    return {**condition.model_dump(mode="json"), **accuracies}
