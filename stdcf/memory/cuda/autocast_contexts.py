"""CUDA's autocast for tensors that are on no GPU: its contexts and decorators in forward."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.amp import autocast_mode

from stdcf.errors import UserError

_Autocast = autocast_mode.autocast
_OWN = (Path(torch.__file__).parent, Path(__file__).parents[2])


@contextmanager
def asked_autocasts() -> Iterator[None]:
    """Within, autocasts that are made remember whether they were to be enabled, GPU or not."""
    init: Any = _Autocast.__init__

    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        asked = inspect.signature(init).bind(self, *args, **kwargs)
        asked.apply_defaults()
        if asked.arguments["device_type"] == "cuda":
            self._asked = asked.arguments["enabled"]

    patched: Any = _Autocast
    patched.__init__ = initialise
    try:
        yield
    finally:
        patched.__init__ = init


@contextmanager
def cuda_contexts() -> Iterator[None]:
    """Within, torch.autocast("cuda") works on CPU tensors, and "cpu" does nothing in forward.

    Where a model asks a tensor for its device's type, "cpu" stands for "cuda". The casts of
    torch.amp.custom_fwd for CUDA are made, too.
    """
    init, enter, leave = _Autocast.__init__, _Autocast.__enter__, _Autocast.__exit__
    cast = autocast_mode._cast

    def initialise(self: Any, *args: Any, **kwargs: Any) -> None:
        asked = inspect.signature(init).bind(self, *args, **kwargs)
        if asked.arguments["device_type"] == "cpu" and _means_the_tensors(sys._getframe(1)):
            asked.arguments["device_type"] = "cuda"
        asked.apply_defaults()
        if asked.arguments["device_type"] == "cuda":
            enabled, asked.arguments["enabled"] = asked.arguments["enabled"], False
            init(*asked.args, **asked.kwargs)
            self._enabled = self._asked = enabled
        else:
            init(*asked.args, **asked.kwargs)

    def start(self: Any) -> Any:
        before = _states()
        self.__dict__.setdefault("_before", []).append(before)
        if self.device == "cuda":
            if "_asked" not in vars(self):
                self._asked = _enabled_by_source(self, sys._getframe(1))
            self._enabled = self._asked
        result = enter(self)
        # In backward it is a saver that enters again what was in force: by the tensors, "cpu".
        in_backward = torch._C._current_graph_task_id() != -1
        if self.device == "cuda" or (self.device == "cpu" and in_backward):
            _set(dict.fromkeys(before, (self._enabled, self.fast_dtype)))
        elif self.device == "cpu":
            _set(before)
        return result

    def end(self: Any, *error: Any) -> Any:
        result = leave(self, *error)
        _set(self._before.pop())
        return result

    def cast_as_cuda(value: Any, device_type: str, dtype: Any) -> Any:
        return cast(value, "cpu" if device_type == "cuda" else device_type, dtype)

    patched: Any = _Autocast
    patched.__init__, patched.__enter__, patched.__exit__ = initialise, start, end
    autocast_mode._cast = cast_as_cuda
    try:
        yield
    finally:
        patched.__init__, patched.__enter__, patched.__exit__ = init, enter, leave
        autocast_mode._cast = cast


def _states() -> dict[str, tuple[bool, torch.dtype]]:
    """Whether autocast is on, and its type: of the tensors' device and of the modelled one."""
    return {
        kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
    }


def _set(states: dict[str, tuple[bool, torch.dtype]]) -> None:
    for kind, (enabled, dtype) in states.items():
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _means_the_tensors(frame: Any) -> bool:
    """Whether a model's "cpu" is where its tensors are, and not written so."""
    code = frame.f_code
    if any(Path(code.co_filename).is_relative_to(folder) for folder in _OWN):
        return False
    return "type" in code.co_names or "cpu" not in code.co_consts


def _enabled_by_source(autocast: Any, frame: Any) -> bool:
    """Of one that was made before, which torch has switched off for want of a GPU.

    Raises:
        UserError: if its decorator does not say it.
    """
    if torch.cuda.is_available():
        return bool(autocast._enabled)
    try:
        source = textwrap.dedent(inspect.getsource(frame.f_locals["func"]))
        (function,) = ast.parse(source).body
        calls = [d for d in getattr(function, "decorator_list", ()) if isinstance(d, ast.Call)]
        (call,) = (c for c in calls if ast.unparse(c.func).endswith("autocast"))
    except (KeyError, OSError, TypeError, SyntaxError, ValueError):
        return True
    # torch.cuda.amp.autocast has it first, torch.autocast after device and type.
    place = 0 if "cuda" in ast.unparse(call.func) else 2
    given: list[ast.expr] = [k.value for k in call.keywords if k.arg in ("enabled", None)]
    given += call.args[place : place + 1]
    if not given:
        return True
    if not isinstance(given[0], ast.Constant):
        raise UserError(
            f"without a GPU it cannot be seen whether @{ast.unparse(call)} is enabled: write "
            "enabled=True or False, or use torch.autocast as a context in forward"
        )
    return bool(given[0].value)
