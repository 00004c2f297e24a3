"""What a budget of GPU-hours buys: ``--budget-gpu-hours``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stdcf.errors import UserError
from suites.engine.dry_run import TRAINED, Hours, planned
from suites.engine.spec import RunSpec
from suites.engine.suite import Suite


@dataclass(frozen=True)
class Bought:
    """What fits.

    Attributes:
        specs: the trainings and all that is read off them.
        gpu_hours: estimated, of what is not done yet.
    """

    specs: list[RunSpec]
    trainings: int
    of_trainings: int
    gpu_hours: float


def within(
    gpu_hours: float, suite: Suite, specs: Sequence[RunSpec], results: Path, hours: Hours
) -> Bought:
    """The runs whose trainings fit into so many hours, with all that is read off these.

    Trainings are taken in the suite's own order (`Suite.rank`), and one that does not fit any more
    is passed over.

    Raises:
        UserError: if none fits.
    """
    runs = planned(specs, results)
    costs: dict[str, float] = {}
    for one in runs:
        name = one.training.folder_name
        # What it goes on from need not be among those that are chosen.
        costs[name] = costs.get(name, 0.0) + hours.of(replace(one, begun=0))
    trainings = [one.spec for one in runs if one.how == TRAINED]
    if suite.rank is not None:
        trainings.sort(key=suite.rank)
    left, chosen = gpu_hours, set()
    for spec in trainings:
        cost = costs[spec.folder_name]
        if cost <= left:
            left -= cost
            chosen.add(spec.folder_name)
    if not chosen:
        least = min(costs.values())
        raise UserError(
            f"--budget-gpu-hours {gpu_hours:g} is less than the shortest training, about "
            f"{least:,.1f} GPU-hours"
        )
    bought = [one.spec for one in runs if one.training.folder_name in chosen]
    return Bought(bought, len(chosen), len(trainings), gpu_hours - left)
