"""The tests of the CPU kernel are skipped where it cannot be had; this one says that it can."""

import shutil

import pytest

from stdcf.layers.cpu.library import _compilers, library


def test_the_kernel_is_built_wherever_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    if not any(map(shutil.which, _compilers())):
        pytest.skip("no C++ compiler: install g++")
    monkeypatch.delenv("STDCF_KERNEL", raising=False)
    assert library.__wrapped__() is not None  # whatever the process knew before
