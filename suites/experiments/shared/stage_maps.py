"""Where ITSL's networks look: the networks of Table 2, and maps of two of their stages over clips.

Figures 6 and 7 are of this kind; see `stage_maps_task`.
"""

from collections.abc import Sequence
from typing import Literal

from suites.engine.spec import RunSpec
from suites.engine.suite import Request
from suites.experiments.kth_table2 import suite as kth_table2

Map = Literal["attention", "gradcam"]


def specs(
    suite: str, kind: Map, stages: Sequence[str], request: Request, manifest: str
) -> list[RunSpec]:
    """Table 2's ITSL with every layer for the first seed, then for the next.

    The training is Table 2's own, so that its weights serve both.

    Args:
        stages: names of those whose networks are looked at.
    """
    changes = {
        "suite": suite,
        "task": "stage_maps",
        "options": {"map": kind, "stages": list(stages)},
        "published": None,
    }
    return [
        run.model_copy(update=changes)
        for run in kth_table2.specs(request, manifest)
        if run.mode == "itsl"
    ]


def stage_words(name: str) -> str:
    """ "t1" as "stage-t, iteration 1"; stages of other schedules by their names."""
    if name[0] in "ts" and name[1:].isdecimal():
        return f"stage-{name[0]}, iteration {name[1:]}"
    return "full size" if name == "full" else name
