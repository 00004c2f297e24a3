"""What reads a tensor's values in a step on fake tensors, which have none: one sentence."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from stdcf.errors import UserError

_HERE, _TORCH = Path(__file__).parents[1], Path(torch.__file__).parent


@contextmanager
def reading_refused() -> Iterator[None]:
    """Within, what reads values ends in one sentence that says where it does."""
    try:
        yield
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        raise _refusal(error, str(error.func)) from error
    except RuntimeError as error:
        if ".numpy() is not supported for tensor subclasses" not in str(error):
            raise
        raise _refusal(error, "numpy()") from error


def _refusal(error: BaseException, operator: str) -> UserError:
    return UserError(
        f"the step reads a tensor's values ({operator} at {_place(error)}), so it cannot be "
        "predicted: compute without reading them there, or let stdcf.memory.measure_peak run it"
    )


def _place(error: BaseException) -> str:
    """The last line that is neither torch's nor ours or, of a step that has none, torch's."""
    frames = traceback.extract_tb(error.__traceback__)
    paths = [Path(frame.filename) for frame in frames]
    own = [i for i, path in enumerate(paths) if path.is_relative_to(_HERE)]
    # The first of ours is this file; the step is run from others.
    inside = range(own[0] + 1 if own else 0, len(frames))
    theirs = [i for i in inside if not any(paths[i].is_relative_to(p) for p in (_HERE, _TORCH))]
    torchs = [i for i in inside if paths[i].parent in (_TORCH / "nn", _TORCH / "optim")]
    found = (theirs or torchs or [len(frames) - 1])[-1]
    path = paths[found]
    name = path.relative_to(_TORCH.parent) if path.is_relative_to(_TORCH) else path.name
    return f"{name}, line {frames[found].lineno}"
