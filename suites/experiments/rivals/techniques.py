"""What is weighed against ITSL, how it is trained, and the largest batch that one cap leaves it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stdcf.stages.schedules import half_size, half_time, multigrid, progressive, scaled_rate
from stdcf.stages.stage import Stage, full_size, itsl, total_cost
from suites.engine.suite import Row
from suites.experiments.shared.kth import ITERATIONS
from suites.experiments.shared.kth import PROFILES as TABLE2
from suites.experiments.shared.rates import Rate

MIB = 2**20
# What rows of ITSL are compared by.
ITSL = "itsl"
# Table 2's control, which the cap does not hold.
UNCAPPED = "full_same_compute"

# Of full-size epochs, the schedule of a technique; its rates are shares of the layer's own.
Schedule = Callable[[float], Sequence[Stage]]


@dataclass(frozen=True)
class Technique:
    """A schedule and savers, under one name.

    Attributes:
        name: in tables.
        schedule: its stages for an amount of computation in full-size epochs.
        savers: of every step.
        step_cost: multiplications of a step against the plain one's.
        only: the layer that it is for; None: all.
        rates: None takes those of the sweep.
    """

    name: str
    schedule: Schedule
    savers: tuple[str, ...] = ()
    step_cost: float = 1.0
    only: str | None = None
    rates: Rate | None = None


def _full(falls_after: float) -> Schedule:
    def schedule(computation: float) -> tuple[Stage, ...]:
        epochs = max(round(computation), 1)
        return full_size(epochs=epochs, lr=1.0, milestones=_falls(epochs, falls_after))

    return schedule


def _itsl(falls_after: float) -> Schedule:
    def schedule(computation: float) -> tuple[Stage, ...]:
        once = total_cost(itsl(ITERATIONS, epochs=1, lr=1.0))
        epochs = max(round(computation / once), 1)
        return itsl(ITERATIONS, epochs=epochs, lr=1.0, milestones=_falls(epochs, falls_after))

    return schedule


def _falls(epochs: int, falls_after: float) -> tuple[int, ...]:
    fall = int(epochs * falls_after)
    return (fall,) if fall else ()


def techniques(profile: str) -> dict[str, Technique]:
    """Mode -> technique, in the order of tables; the first two are what others are compared with.

    The batch of small clips is Table 2's where the cap leaves full-size ones less.
    """
    after = TABLE2[profile].rate_falls_after

    def small(schedule: Callable[..., Sequence[Stage]]) -> Schedule:
        scale = TABLE2[profile].batch_size / BATCHES[profile][schedule.__name__]
        return lambda cost: schedule(cost, lr=1.0, falls_after=after, batch_scale=scale)

    full, two_stage = _full(after), _itsl(after)
    return {
        UNCAPPED: Technique("full size, no cap", full),
        ITSL: Technique("ITSL, E=3", two_stage),
        "smaller_batch": Technique("full size, fewer clips", full),
        "accumulate": Technique("full size, accumulate=2", full, ("accumulate=2",)),
        "checkpoint": Technique("full size, checkpoint", full, ("checkpoint",), 4 / 3),
        "bf16": Technique("full size, bf16", full, ("bf16",)),
        "stochastic": Technique("full size, stochastic=0.25", full, ("stochastic=0.25",)),
        "multigrid": Technique(
            "multigrid", lambda cost: multigrid(cost, lr=1.0, falls_after=after)
        ),
        "progressive": Technique(
            "progressive", lambda cost: progressive(cost, lr=1.0, falls_after=after)
        ),
        "half_size": Technique("half size, then full", small(half_size)),
        "half_time": Technique("half time, then full", small(half_time)),
        "itsl_paper_rates": Technique(
            "ITSL, all rates 1e-3", two_stage, only="stdcf", rates=Rate(1e-3)
        ),
    }


# Profile -> peak of a training step on a CPU: a little more than ITSL with Table 2's batch.
CAPS = {"quick": 25 * MIB, "half": 25 * MIB, "paper": 200 * MIB}
_HALF = {
    UNCAPPED: 8,
    ITSL: 8,
    "smaller_batch": 4,
    "accumulate": 8,
    "checkpoint": 5,
    "bf16": 4,
    "stochastic": 5,
    "multigrid": 4,
    "progressive": 4,
    "half_size": 4,
    "half_time": 4,
    "itsl_paper_rates": 8,
}
# Four times the pixels of a clip, and twice the clips.
_PAPER = {mode: 2 * clips for mode, clips in _HALF.items()} | {"bf16": 9, "stochastic": 11}
# Profile -> technique -> clips of a full-size step, at most Table 2's: what fits with both layers.
BATCHES: Mapping[str, Mapping[str, int]] = {
    "quick": _HALF,
    "half": _HALF,
    "paper": _PAPER,
}


# Of a stage of ITSL, where Table 2's are too many for so many techniques.
_EPOCHS = {"quick": 2}


def computation(profile: str, epochs: int | None) -> float:
    """ITSL's, of so many epochs a stage or the profile's, in full-size epochs."""
    own = epochs or _EPOCHS.get(profile, TABLE2[profile].epochs)
    return total_cost(itsl(ITERATIONS, epochs=own, lr=1.0))


def stages(
    technique: Technique, mode: str, profile: str, epochs: int | None, full: Rate, small: Rate
) -> tuple[Stage, ...]:
    """The technique's schedule for ITSL's computation at the layer's rates.

    Stages on full-size clips take the rate of full size, the others that of ITSL, each found with
    Table 2's batch and scaled with the root of what the stage has of it.

    Args:
        epochs: a stage of ITSL; None: the profile's.
    """
    own = TABLE2[profile]
    batch = BATCHES[profile][mode]
    found = []
    for stage in technique.schedule(computation(profile, epochs) / technique.step_cost):
        rate = technique.rates or (full if stage.relative_cost() == 1 else small)
        # The schedule has scaled a stage's rate for its batch_scale already.
        lr = stage.lr * scaled_rate(rate.lr, batch / own.batch_size)
        # Adam is fresh at each stage, as in the whole protocol.
        changed = {"lr": lr, "atom_lr": rate.atom_lr, "fresh_optimizer": True}
        found.append(stage.changed(**changed, recalibrate=own.recalibrate))
    return tuple(found)


def for_layer(profile: str, layer: str) -> dict[str, Technique]:
    """Those that are for this layer."""
    return {
        mode: technique
        for mode, technique in techniques(profile).items()
        if technique.only in (None, layer)
    }


def multiplications(row: Row) -> float:
    """Of a whole training: three passes a clip, at the sizes of its stages, and the savers' own."""
    technique = techniques(row["profile"])[row["mode"]]
    passes = 3 * row["train_clips"] * row["full_size_epochs"]
    total: float = passes * row["executed_macs"] * technique.step_cost
    return total
