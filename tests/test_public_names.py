"""What a user of the library imports: there, lazily, and listed by dir()."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import stdcf

PACKAGES = ("stdcf", "stdcf.memory", "stdcf.memory.savers")


def test_the_contract_is_public() -> None:
    wanted = "STDCFConv3d set_dilation decompose fuse predict_peak measure_peak Stage itsl"
    assert {*wanted.split(), "full_size", "Trainer", "learn"} <= set(stdcf.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    package = import_module(name)
    assert set(package.__all__) == set(package._HOMES) <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is vars(package)[public]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_importing_the_packages_does_not_import_torch() -> None:
    words = f"import sys, {', '.join(PACKAGES)}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True)


def test_every_package_says_that_it_is_typed() -> None:
    for package in ("stdcf", "baselines", "suites", "slurm"):
        assert (Path(stdcf.__file__).parents[1] / package / "py.typed").is_file()
