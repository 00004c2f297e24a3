"""Run by test_interpreted.py alone, with Triton's interpreter switched on."""

import os
from collections.abc import Iterator

import pytest

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if INTERPRETED else ["test_*.py"]


@pytest.fixture(autouse=INTERPRETED, scope="session")
def _patched_once() -> Iterator[None]:
    """The interpreter replaces Triton's functions at each call of a kernel, and of a function in

    it, which takes a third of the time; here once a kernel.
    """
    from triton.runtime import interpreter

    replace = interpreter._patch_lang
    inside = []

    class Nested:
        def restore(self) -> None: ...

    class Outermost:
        def __init__(self, scope: object) -> None:
            self.scope = scope

        def restore(self) -> None:
            inside.clear()
            self.scope.restore()

    def once(function: object) -> object:
        if inside:
            return Nested()
        inside.append(True)
        return Outermost(replace(function))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang", once)
        yield


@pytest.fixture(autouse=INTERPRETED, scope="session")
def _bfloat16_as_on_a_card() -> Iterator[None]:
    """The interpreter cuts bfloat16's digits off, and multiplies matrices of its bits as integers

    (Triton 3.8). A card rounds to nearest, and multiplies exactly.
    """
    import numpy as np
    import torch
    import triton.language as tl
    from triton.runtime import interpreter

    convert, product = interpreter._convert_float, interpreter.InterpreterBuilder.create_dot

    def rounded(data: np.ndarray, given: tl.dtype, wanted: tl.dtype, mode: object) -> np.ndarray:
        if (given, wanted) != (tl.float32, tl.bfloat16):
            return convert(data, given, wanted, mode)
        exact = torch.from_numpy(np.ascontiguousarray(data))
        return exact.bfloat16().view(torch.int16).numpy().view(np.uint16)

    def widened(handle: interpreter.TensorHandle) -> interpreter.TensorHandle:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def multiplied(self: object, a: object, b: object, *rest: object) -> object:
        return product(self, widened(a), widened(b), *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_convert_float", rounded)
        patch.setattr(interpreter.InterpreterBuilder, "create_dot", multiplied)
        yield


@pytest.fixture(autouse=True)
def _as_on_a_gpu() -> Iterator[None]:
    from stdcf.layers.plans import modelled_device

    with modelled_device("cuda"):
        yield
