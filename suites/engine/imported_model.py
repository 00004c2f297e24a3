"""Models of anyone's own, named by where they are made: ``mypkg.net:build``.

"module:function" is imported, from the present folder too; "path/to/net.py:build" is a file's;
"torchvision:r3d_18" is torchvision's video model of that name.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from stdcf.errors import UserError

if TYPE_CHECKING:
    from torch import nn

_SHORT = {"torchvision": "torchvision.models.video"}


def is_import_path(name: str) -> bool:
    """Whether a model is named by an import path, and not by the catalog."""
    return ":" in name


def build_imported(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    conv: "Callable[..., nn.Module] | None" = None,
    **options: Any,
) -> "nn.Module":
    """The model that an import path makes.

    Its function gets the numbers that it has parameters for. A layer goes to its parameter `conv`;
    where it has none, every dense 3D convolution (kT > 1 and kH·kW > 1) is replaced by the layer.

    Raises:
        UserError: if it cannot be imported or called, fails, or gives no nn.Module.
    """
    # Not above: tables know a model by its name alone, and torch takes seconds to import.
    from torch import nn

    function = find(name)
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    given = dict(options)
    if num_classes is not None and ("num_classes" in parameters or takes_any):
        given["num_classes"] = num_classes
    if in_channels is not None and "in_channels" in parameters:
        given["in_channels"] = in_channels
    if conv is not None and "conv" in parameters:
        given["conv"] = conv
    try:
        model = function(**given)
    except UserError:
        raise
    # Whatever a function of anyone's own raises is theirs to mend.
    except Exception as error:
        if is_of_fake_tensors(error):
            raise
        raise UserError(f"model {name}: {_as_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"{name} gives a {type(model).__name__}, not a torch.nn.Module")
    if conv is not None and "conv" not in parameters:
        _replace(model, conv)
    return model


def source_digest(name: str) -> str:
    """SHA-256 of the file that an import path's module is in; what is built depends on it."""
    source = inspect.getsourcefile(_module(name.partition(":")[0]))
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""


def find(name: str) -> Callable[..., Any]:
    """What an import path names.

    Raises:
        UserError: if it cannot be imported, or has no such function.
    """
    where, _, attribute = name.partition(":")
    module = _module(where)
    function = getattr(module, attribute, None)
    if callable(function):
        return function
    made = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    # Classes last: what builds models is mostly a function.
    made.sort(key=lambda name: (inspect.isclass(getattr(module, name)), name))
    near = get_close_matches(attribute, made, n=3, cutoff=0.4) or made[:8]
    raise UserError(f"{where} has no function {attribute!r}; there are {', '.join(near)}")


def _module(where: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            return _from_file(Path(where))
        if str(Path.cwd()) not in sys.path and "" not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(_SHORT.get(where, where))
    except (ImportError, OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"cannot import {where!r}: {error}; write module:function or file.py:function"
        ) from error
    except Exception as error:
        raise UserError(f"cannot import {where!r}: {_as_one_line(error)}") from error


def module_from_file(path: Path) -> ModuleType:
    """The module of a Python file, which runs once.

    Raises:
        UserError: if it cannot be imported.
    """
    return _module(str(path))


def is_of_fake_tensors(error: BaseException) -> bool:
    """Whether it says that a tensor's values were asked for where there are none."""
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
    )

    return isinstance(error, DataDependentOutputException | DynamicOutputShapeException)


def _as_one_line(error: BaseException) -> str:
    """The kind of error, its message's first line and where it was raised."""
    message = (str(error).splitlines() or [""])[0]
    words = f"{type(error).__name__}: {message}" if message else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{words} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def _from_file(path: Path) -> ModuleType:
    name = f"_own_model_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path.expanduser().resolve())
        if spec is None or spec.loader is None:
            raise ImportError(f"no Python file {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def _replace(model: "nn.Module", conv: "Callable[..., nn.Module]") -> None:
    from torch import nn

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv3d) and child.kernel_size[0] > 1:
                if child.kernel_size[1:] == (1, 1):
                    continue
                setattr(parent, name, _like(child, conv))


def _like(old: "nn.Conv3d", conv: "Callable[..., nn.Module]") -> "nn.Module":
    return conv(
        old.in_channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        dilation=old.dilation,
        groups=old.groups,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
