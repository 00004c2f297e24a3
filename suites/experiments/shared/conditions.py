"""Trained networks under other conditions: clips of other sizes or tempi, atoms dilated or not.

A run trains one network and tests it under each of its conditions; see `conditions_task`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import PositiveFloat

from stdcf.frozen import Frozen
from stdcf.stages.stage import Dilation, Stage, full_size
from suites.engine.spec import RunSpec
from suites.engine.suite import Request, Row
from suites.experiments.shared import kth
from suites.experiments.shared.ablation import milestones
from suites.experiments.shared.kth import LAYERS, PROFILES
from suites.reporting.columns import Line
from suites.reporting.figures import style


class Condition(Frozen):
    """One test.

    Attributes:
        name: unique among a run's.
        dilation: (temporal, spatial) of the atoms.
        tempo: how many times as fast the clips are played; 2 keeps every second frame.
        own_size: on clips as small as those of the training; else on full-size ones.
    """

    name: str
    dilation: Dilation
    tempo: PositiveFloat = 1
    own_size: bool = False


def full_network(request: Request, dilation: Dilation = (1, 1), **options: Any) -> Stage:
    """Full-size learning at a dilation, as long as the request says.

    At dilation 1 it is Table 2's, so that its weights serve both.

    Args:
        options: further fields of `Stage`.
    """
    profile = PROFILES[request.profile]
    epochs = request.epochs or profile.epochs
    own: dict[str, Any] = {
        "milestones": milestones(request, epochs),
        "recalibrate": profile.recalibrate,
    }
    (stage,) = full_size(epochs=epochs, lr=1e-3, dilation=dilation, **own, **options)
    return stage


def specs(
    suite: str,
    request: Request,
    manifest: str,
    networks: Mapping[str, tuple[Stage, Sequence[Condition]]],
    **options: Any,
) -> list[RunSpec]:
    """Every network with every layer, seed by seed and fold by fold, at Table 2's rates.

    Args:
        networks: mode -> how it is trained, what is asked of it then.
        options: further ones of the task.
    """
    asked = {
        mode: {"conditions": [test.model_dump(mode="json") for test in tests], **options}
        for mode, (_, tests) in networks.items()
    }
    return [
        kth.spec(
            suite,
            request,
            manifest,
            layer,
            dataset_options=kth.clips(request, person),
            task="train_and_test",
            options=asked[mode],
            mode=mode,
            stages=(stage.changed(**kth.rate_of(request, layer, "full", person)._asdict()),),
            seed=seed,
        )
        for seed in request.each_seed(PROFILES[request.profile].seeds)
        for person in kth.folds(request)
        for layer in kth.layers()
        for mode, (stage, _) in networks.items()
    ]


def under(rows: Sequence[Row], layer: str, mode: str, condition: str) -> list[dict[str, Any]]:
    """The rows of a network with the accuracy under a condition as their own, for `cells`.

    Failed runs are among them, those that were not asked for this condition are not.
    """
    found = []
    for row in rows:
        if (row["layer"], row["mode"]) != (layer, mode):
            continue
        tests = {test["name"]: test for test in row.get("conditions") or ()}
        if row["status"] != "ok" or condition in tests:
            found.append({**row, **tests.get(condition, {})})
    return found


def tested(rows: Sequence[Row], layer: str, mode: str, condition: str) -> Line:
    """A network's line under a condition; runs that were not asked for it are left out."""
    own = [row for row in rows if (row["layer"], row["mode"]) == (layer, mode)]
    asked = [row for row in own if row["status"] != "ok" or condition in _accuracies(row)]
    return Line(asked, condition, layer, value=lambda row: _accuracies(row)[condition])


def _accuracies(row: Row) -> dict[str, float]:
    return {test["name"]: test["accuracy"] for test in row.get("conditions") or ()}


def layers_of(rows: Sequence[Row]) -> list[str]:
    """The paper's layers, then others that rows have."""
    return style.in_order([*LAYERS, *(row["layer"] for row in rows)])
