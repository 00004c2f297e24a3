"""The pytest plugin, on the repository of its page: it passes, fails and names what grew."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from torch import nn

from stdcf.memory import predict_peak
from stdcf.memory.stored import Stored

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "memory-tests.md"
FILE = re.compile(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STORED = Path("tests", "memory", "net.json")

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """A run within this process forgets what it has imported, and torch is imported once only."""
    report = predict_peak(lambda: nn.Sequential(nn.Flatten(), nn.Linear(8, 2)), (1, 1, 2, 2, 2))
    assert Stored.of(report).sizes["peak"] == report.peak_bytes


@pytest.fixture
def repository(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """The page's files, on smaller clips."""
    text = PAGE.read_text(encoding="utf-8")
    found = dict(FILE.findall(text))
    assert set(found) == {"mynet/net.py", "tests/test_memory.py"}
    for name, content in found.items():
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content.replace("(8, 3, 16, 112, 112)", "(8, 3, 8, 32, 32)"))
    # Where the package was installed before it had the plugin, it is named.
    installed = request.config.pluginmanager.has_plugin("stdcf")
    monkeypatch.setenv("PYTEST_ADDOPTS", "" if installed else "-p stdcf.pytest_plugin")
    pytester.makeini(
        "[pytest]\npythonpath = .\naddopts = --import-mode=importlib -p no:cacheprovider"
    )
    return pytester


def change(repository: pytest.Pytester, name: str, old: str, new: str) -> None:
    path = repository.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_pages_repository_passes_and_growth_is_named(repository: pytest.Pytester) -> None:
    missing = repository.runpytest_inprocess()
    missing.assert_outcomes(passed=1, failed=1)
    missing.stdout.fnmatch_lines(["*no stored report *net.json; pytest --stdcf-update writes it*"])
    repository.runpytest_inprocess("--stdcf-update").assert_outcomes(passed=2)
    assert (repository.path / STORED).is_file()
    repository.runpytest_inprocess().assert_outcomes(passed=2)
    change(repository, "mynet/net.py", "nn.ReLU())", "nn.GELU(), nn.Dropout(0.1))")
    grown = repository.runpytest_inprocess()
    grown.assert_outcomes(passed=1, failed=1)
    text = grown.stdout.str()
    assert "net needs more memory than stored" in text
    assert re.search(r"peak [\d.]+ → [\d.]+ MiB \(\+[\d.]+\), allocated", text)
    modules = text.partition("by module at the peak:")[2].partition("by kind")[0]
    # The dropout of the first block: 8 × 16 × 8 × 32 × 32 floats and as many bytes of its mask.
    assert "  0.3 0.0 → 5.0 MiB (+5.0)" in modules, text
    repository.runpytest_inprocess("--stdcf-update").assert_outcomes(passed=2)


def test_a_step_that_does_not_fit_says_what_is_largest(repository: pytest.Pytester) -> None:
    change(repository, "tests/test_memory.py", '"6GiB"', '"850MiB"')
    failed = repository.runpytest_inprocess("-k", "card")
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*the step needs * MiB of 850 (fits: no)*", "largest modules*"])
    change(repository, "tests/test_memory.py", '"850MiB"', '"3 parsecs"')
    refused = repository.runpytest_inprocess("-k", "card")
    refused.stdout.fnmatch_lines(["*'3 parsecs' is not a size*"])


def test_another_clip_and_a_broken_file_are_told_apart(repository: pytest.Pytester) -> None:
    repository.runpytest_inprocess("--stdcf-update", "-k", "more").assert_outcomes(passed=1)
    change(repository, "tests/test_memory.py", "8, 32, 32)", "4, 32, 32)")
    other = repository.runpytest_inprocess("-k", "more")
    other.stdout.fnmatch_lines(["clip was [[]8, 3, 8, 32, 32[]] and is [[]8, 3, 4, 32, 32[]]*"])
    (repository.path / STORED).write_text("{}")
    broken = repository.runpytest_inprocess("-k", "more")
    broken.stdout.fnmatch_lines(["*net.json is no stored report; delete it and store it anew"])


def test_pytest_finds_it_by_its_entry_point() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    plugin = import_module(content["project"]["entry-points"]["pytest11"]["stdcf"])
    assert callable(plugin.pytest_addoption)
