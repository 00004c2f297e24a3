"""Savers from their names."""

from collections.abc import Callable, Sequence

from stdcf.errors import UserError
from stdcf.memory.savers.accumulate import Accumulate
from stdcf.memory.savers.autocast import Bf16
from stdcf.memory.savers.budget import Budget
from stdcf.memory.savers.checkpoint import Checkpoint
from stdcf.memory.savers.company import no_accumulation
from stdcf.memory.savers.freeze import Freeze
from stdcf.memory.savers.fused import Fused
from stdcf.memory.savers.int8 import Int8
from stdcf.memory.savers.names import NAMES, read_words
from stdcf.memory.savers.offload import Offload
from stdcf.memory.savers.plan import Plan
from stdcf.memory.savers.recompute import Recompute
from stdcf.memory.savers.saver import Saver
from stdcf.memory.savers.state8bit import State8bit
from stdcf.memory.savers.state_on_host import StateOnHost
from stdcf.memory.savers.step_in_backward import StepInBackward
from stdcf.memory.savers.stochastic import Stochastic

SAVERS: dict[str, Callable[..., Saver]] = {
    "bf16": Bf16,
    "recompute": Recompute,
    "checkpoint": Checkpoint,
    "accumulate": Accumulate,
    "freeze": Freeze,
    "stochastic": Stochastic,
    "int8": Int8,
    "offload": Offload,
    "plan": Plan,
    "fused": Fused,
    "step_in_backward": StepInBackward,
    "state_on_host": StateOnHost,
    "state8bit": State8bit,
    "budget": Budget,
}
# What a plan decides for each block.
_PLANNED = ("recompute", "checkpoint", "int8", "offload", "budget")
# What makes others from saved maps, or sends them away whole.
_WHOLE_MAPS = ("recompute", "checkpoint", "offload", "plan", "budget")


def parse_savers(words: str | Sequence[str | Saver]) -> tuple[Saver, ...]:
    """Savers from words such as "checkpoint" and "accumulate=4"; a saver stays as it is.

    Raises:
        UserError: for an unknown or repeated name, a value that is missing or wrong, or savers that
            do not go together.
    """
    given = [word for word in words if isinstance(word, Saver)]
    texts = words if isinstance(words, str) else [w for w in words if isinstance(w, str)]
    found = {saver.name: saver for saver in given}
    for name, number in read_words(texts).items():
        if name in found:
            raise UserError(f"saver {name} is named twice")
        found[name] = SAVERS[name]() if number is None else SAVERS[name](number)
    for name in _PLANNED if "plan" in found else ():
        if name in found:
            raise UserError(f"a plan says for each block whether it is to {name}: leave {name} out")
    for name in _WHOLE_MAPS if "stochastic" in found else ():
        if name in found:
            raise UserError(
                f"stochastic keeps a part of each map, and {name} is for whole ones: leave one of "
                "them out"
            )
    if {"state8bit", "state_on_host"} <= found.keys():
        raise UserError("the optimiser's state is in 8 bits or on the host: leave one of them out")
    for saver in found.values():
        if saver.updates and "accumulate" in found:
            raise UserError(no_accumulation(saver))
    return tuple(found[name] for name in NAMES if name in found)
