"""Compiles and loads the CPU kernel; without a compiler there is none, and torch takes over."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from stdcf.cache_folder import cache_folder

SOURCE = Path(__file__).with_name("atoms.cpp")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
    "-fopenmp",
    "-shared",
    "-fPIC",
]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel; None where it cannot be had, and `problem` says why.

    It is compiled once for each machine type (some seconds) and kept in the cache folder.
    $STDCF_KERNEL=0 does without it, $CXX names the compiler.
    """
    try:
        return ctypes.CDLL(str(_compiled()))
    except OSError as error:
        _problems.append(" ".join(str(error).split()))
        return None


_problems: list[str] = []


def problem() -> str | None:
    """Why there is no kernel, in one line; None if there is one."""
    return None if library() is not None else _problems[0]


def _compiled() -> Path:
    """The shared library's path.

    Raises:
        OSError: if there is no compiler, or it fails.
    """
    if os.environ.get("STDCF_KERNEL") == "0":
        raise OSError("switched off by STDCF_KERNEL=0")
    compiler = next((p for c in _compilers() if (p := shutil.which(c)) is not None), None)
    if compiler is None:
        raise OSError(f"no C++ compiler ({', '.join(_compilers())}); install g++ or set CXX")
    source = SOURCE.read_bytes()
    key = hashlib.sha256(source)
    # -march=native means another thing on another processor.
    for part in (compiler, *FLAGS, platform.machine(), _processor()):
        key.update(part.encode() + b"\0")
    folder = cache_folder() / "kernels"
    path = folder / f"atoms-{key.hexdigest()[:16]}.so"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        built = Path(scratch) / path.name
        done = subprocess.run(
            [compiler, *FLAGS, str(SOURCE), "-o", str(built)], capture_output=True, text=True
        )
        if done.returncode != 0:
            raise OSError(f"{compiler} failed: {done.stderr.strip()[:300]}")
        # Whoever compiles at the same time writes the same file.
        built.replace(path)
    return path


def _compilers() -> tuple[str, ...]:
    own = os.environ.get("CXX")
    return (own,) if own else ("g++", "clang++", "c++")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line for line in lines if line.startswith(("model name", "flags", "Features")))
    return "\n".join(sorted(set(named)))
