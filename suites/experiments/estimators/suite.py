"""Estimators of a training step's peak memory, side by side against what a GPU measured.

Every step without savers that gpu_evidence measured in the usual layout: this project's networks
and torchvision's, two of them video transformers, in float32 and bfloat16. It needs no GPU.
"""

from suites.engine.spec import NO_DATA, RunSpec
from suites.engine.suite import Request, Suite
from suites.experiments.estimators.tables import tables
from suites.experiments.gpu_evidence.cases import Case, every_saver, others

# Profile -> networks; the paper's are all.
PROFILES = {"paper": None, "quick": ("kth_cnn-regular", "r3d_18")}


def groups() -> dict[str, list[Case]]:
    """Network -> its steps, one a type."""
    found = {}
    for name, steps in (*every_saver(), *others()):
        plain = [one for one in steps if not one["savers"] and not one.get("memory_format")]
        if plain:
            found[name] = plain
    return found


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """One run a network."""
    wanted = PROFILES[request.profile]
    return [
        request.spec(
            "estimators",
            task="estimators",
            mode=name,
            model=steps[0]["model"],
            seed=0,
            device="cpu",
            options={"cases": steps},
        )
        for name, steps in groups().items()
        if wanted is None or name in wanted
    ]


SUITE = Suite(
    name="estimators",
    title="Estimators of a step's peak memory, side by side against a GPU",
    profiles=tuple(PROFILES),
    datasets=(NO_DATA,),
    dataset_options=lambda request: {},
    specs=specs,
    tables=tables,
    takes_without_data=(),
    because="it estimates, and trains nothing",
)
