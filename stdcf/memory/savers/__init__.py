"""Ways to train in less memory, each a small class, in any combination."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stdcf.memory.savers.learning import learn
    from stdcf.memory.savers.parse import SAVERS, parse_savers
    from stdcf.memory.savers.saver import Saver

_HOMES = {"SAVERS": "parse", "Saver": "saver", "learn": "learning", "parse_savers": "parse"}
__all__ = ["SAVERS", "Saver", "learn", "parse_savers"]


def __getattr__(name: str) -> Any:
    # Reading a spec must not cost the import of torch.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"stdcf.memory.savers.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'stdcf.memory.savers' has no attribute {name!r}")
