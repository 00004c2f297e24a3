"""A pytest plugin: how much memory a training step needs is a test like any other, without a GPU.

    def test_it_trains_on_a_small_card(stdcf_memory):
        stdcf_memory(build, (8, 3, 16, 112, 112)).below("6GiB").not_above("net")

It is there wherever the package is installed, and imports torch only when the fixture is used.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stdcf.memory.report import MemoryReport

UPDATE = "--stdcf-update"
FOLDER = "memory"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option that stores reports."""
    parser.getgroup("stdcf").addoption(
        UPDATE,
        action="store_true",
        help="Store the memory reports that stdcf_memory(…).not_above(NAME) compares with.",
    )


class MemoryCheck:
    """One step's prediction, to be asserted on.

    Attributes:
        report: the `MemoryReport`.
    """

    def __init__(self, report: "MemoryReport", folder: Path, update: bool) -> None:
        self.report = report
        self._folder, self._update = folder, update

    def below(self, cap: str, context: str = "800MiB") -> "MemoryCheck":
        """Fails unless the step fits safely into so much memory of a card.

        Args:
            cap: as "6GiB"; on CPU of all tensors.
            context: what CUDA's context takes of it; "0MiB" if the cap is the allocator's alone.
        """
        __tracebackhide__ = True
        from stdcf.sizes import parse_bytes

        cap_bytes, context_bytes = parse_bytes(cap), parse_bytes(context, least=0)
        verdict = self.report.fits(cap_bytes, context_bytes)
        if not verdict.safely:
            mib = 2**20
            needs = self.report.needs_bytes(context_bytes) / mib
            largest = list(self.report.known_lives().module_bytes().items())[:8]
            modules = [f"  {name or '(outside)'} {n / mib:,.1f} MiB" for name, n in largest]
            pytest.fail(
                f"the step needs {needs:,.0f} MiB of {cap_bytes / mib:,.0f} (fits: {verdict})\n"
                + "\n".join([str(self.report), "largest modules at the peak:", *modules]),
                pytrace=False,
            )
        return self

    def not_above(self, name: str, within: float = 0.01) -> "MemoryCheck":
        """Fails if peak, allocated or smallest cap has grown since the report NAME was stored.

        It is the file memory/NAME.json beside the test; `pytest --stdcf-update` writes it.

        Args:
            within: the share of the stored number that it may grow by.
        """
        __tracebackhide__ = True
        from stdcf.memory.stored import Stored

        now, path = Stored.of(self.report), self._folder / f"{name}.json"
        if self._update:
            now.write(path)
            return self
        if not path.is_file():
            pytest.fail(f"no stored report {path}; pytest {UPDATE} writes it", pytrace=False)
        growth = now.growth(Stored.read(path), within)
        if growth:
            pytest.fail(
                f"{name} needs more memory than stored ({path}; if it is meant, "
                f"pytest {UPDATE} stores it anew)\n{growth}",
                pytrace=False,
            )
        return self


@pytest.fixture
def stdcf_memory(request: pytest.FixtureRequest) -> Callable[..., MemoryCheck]:
    """`stdcf_memory(build, (B, C, T, H, W))` predicts a training step; see `MemoryCheck`.

    It takes what `stdcf.memory.predict_peak` takes.
    """
    folder = request.path.parent / FOLDER
    update = bool(request.config.getoption(UPDATE))

    def check(build: Callable[..., Any], input_shape: Any, **options: Any) -> MemoryCheck:
        from stdcf.memory.predict import predict_peak

        return MemoryCheck(predict_peak(build, input_shape, **options), folder, update)

    return check
