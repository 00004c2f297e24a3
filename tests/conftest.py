"""Settings and fixtures for all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Workers share the cores: each, and what it starts, computes on one. Read when torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_ROOT = Path(__file__).resolve().parents[1]

# The same examples on every machine, and no failure because one of them was slow.
settings.register_profile(
    "stdcf",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("stdcf"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stdcf"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of real videos are marked so; those marked long are run where they are asked for."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
    if "long" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """A function from a name ("kth", "clips/vid.mp4") to real data; skips where it is not there."""
    root = Path(os.environ.get("STDCF_TEST_DATA") or _ROOT.parent / "shared" / "data")

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"no {root / name}: real data is not part of the repository")
        return root / name

    return find
