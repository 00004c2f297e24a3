"""Ways to train in less memory, each a small class, in any combination."""

from typing import TYPE_CHECKING

from stdcf.lazy import lazily

if TYPE_CHECKING:
    from stdcf.memory.savers.learning import learn
    from stdcf.memory.savers.parse import SAVERS, parse_savers
    from stdcf.memory.savers.saver import Saver

_HOMES = {
    "SAVERS": "stdcf.memory.savers.parse",
    "Saver": "stdcf.memory.savers.saver",
    "learn": "stdcf.memory.savers.learning",
    "parse_savers": "stdcf.memory.savers.parse",
}
__all__ = ["SAVERS", "Saver", "learn", "parse_savers"]

__getattr__, __dir__ = lazily(__name__, _HOMES)
