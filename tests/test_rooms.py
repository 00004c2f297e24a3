"""The house: which room may import which, no circles, short files. Read off the syntax trees.

Imports inside functions and under TYPE_CHECKING count like any other.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stdcf", "baselines", "slurm", "suites")

# From the ground up: a room imports itself and what stands on a lower line. The longest name that
# fits a module is its room.
FLOORS = (
    ("stdcf.errors",),
    ("stdcf.frozen", "stdcf.whole_file", "stdcf.cache_folder", "stdcf.lazy"),
    ("stdcf.layers",),
    ("stdcf.complexity", "stdcf.convert", "stdcf.data", "stdcf.models", "stdcf.stages"),
    ("stdcf.memory", "stdcf.visualize"),
    ("stdcf.training",),
    ("stdcf",),
    ("baselines", "slurm"),
    ("suites.paths", "suites.cli"),
    ("suites.tables",),
    ("suites.engine",),
    ("suites.reporting",),
    ("suites.planning", "suites.cluster"),
    ("suites.experiments",),
    ("suites",),
)
# Within a room, the same.
INNER_FLOORS = {
    "stdcf.data": ("video", "frames", "clips", "synthetic", "sets", "tools"),
    "stdcf.memory": ("tracking", "cuda", "savers"),
    "suites.reporting": ("figures", "page"),
}


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of ours."""
    files = [f for package in PACKAGES for f in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(file): file for file in files}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> dict[str, set[str]]:
    """Module -> our modules that it imports anywhere."""
    return {name: set(_imported(name, file)) - {name} for name, file in modules().items()}


def _imported(name: str, file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports by dots"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in modules():
                    yield whole
                elif node.module in modules():
                    yield str(node.module)


def room(module: str, floors: tuple[tuple[str, ...], ...]) -> tuple[int, str] | None:
    """Floor and room of a module; None where it stands in none of these."""
    fitting = [
        (number, name)
        for number, names in enumerate(floors)
        for name in names
        if module == name or module.startswith(f"{name}.")
    ]
    return max(fitting, key=lambda place: len(place[1]), default=None)


def climbing(floors: tuple[tuple[str, ...], ...]) -> list[str]:
    """Imports from a room to another one that does not stand lower."""
    return [
        f"{module} -> {other}"
        for module, others in imports().items()
        for other in sorted(others)
        if (here := room(module, floors))
        and (there := room(other, floors))
        and here[1] != there[1]
        and there[0] >= here[0]
    ]


def test_no_room_imports_a_higher_one() -> None:
    assert climbing(FLOORS) == []


@pytest.mark.parametrize("inside", INNER_FLOORS)
def test_no_part_of_a_room_imports_a_higher_one(inside: str) -> None:
    assert climbing(tuple((f"{inside}.{name}",) for name in INNER_FLOORS[inside])) == []


def test_no_circles() -> None:
    """Files that import nothing left are taken away until none is left."""
    left = {module: set(others) for module, others in imports().items()}
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []


def test_every_module_has_a_room() -> None:
    assert [module for module in modules() if room(module, FLOORS) is None] == []


def test_the_commands_are_few_and_files_are_short() -> None:
    assert len(list((ROOT / "suites").glob("*.py"))) <= 12
    lengths = {name: len(file.read_text().splitlines()) for name, file in modules().items()}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert median(lengths.values()) <= 120
