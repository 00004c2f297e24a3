"""Suites from outside the project: of a file, of the files in $STDCF_SUITES, of installed packages.

A file holds `SUITE`, and `TASKS` (name -> function) if its runs do something of their own. A
package names them by entry points of the groups "stdcf.suites" and "stdcf.tasks".
"""

import os
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from stdcf.errors import UserError
from suites.engine.suite import Suite

# Files of suites, separated like $PATH. Workers, drawing processes and jobs inherit it.
VARIABLE = "STDCF_SUITES"

Task = Callable[..., dict[str, Any]]


def suite_from_file(path: Path) -> Suite:
    """The file's suite, which from here on is known by its name to this process and its children.

    Raises:
        UserError: if the file is not there, does not run, or has no `SUITE`.
    """
    file = path.expanduser().resolve()
    suite = _suite(_module(file), str(path))
    known = os.environ.get(VARIABLE, "").split(os.pathsep)
    if str(file) not in known:
        os.environ[VARIABLE] = os.pathsep.join(filter(None, [str(file), *known]))
    return suite


def own_suites() -> dict[str, Suite]:
    """Name -> suite, of every file in $STDCF_SUITES and of every installed package.

    Raises:
        UserError: naming the first that cannot be loaded.
    """
    found = {suite.name: suite for suite in (_suite(m, str(m.__file__)) for m in _modules())}
    for entry in entry_points(group="stdcf.suites"):
        suite = _loaded(entry)
        if not isinstance(suite, Suite):
            raise UserError(f"entry point {entry.name} = {entry.value} is not a Suite")
        found.setdefault(suite.name, suite)
    return found


def own_tasks() -> dict[str, Task]:
    """Name -> task, of the same files and packages."""
    found: dict[str, Task] = {}
    for module in _modules():
        found |= getattr(module, "TASKS", {})
    for entry in entry_points(group="stdcf.tasks"):
        if entry.name not in found:
            found[entry.name] = _loaded(entry)
    return found


def source_file(name: str) -> Path | None:
    """The file of $STDCF_SUITES that holds the suite; None of any other suite."""
    for module in _modules():
        if _suite(module, "").name == name:
            return Path(str(module.__file__))
    return None


def _modules() -> Iterator[ModuleType]:
    for word in os.environ.get(VARIABLE, "").split(os.pathsep):
        if word:
            yield _module(Path(word).expanduser().resolve())


def _module(file: Path) -> ModuleType:
    from suites.engine.imported_model import module_from_file

    if not file.is_file():
        raise UserError(f"no file {file} with a suite")
    return module_from_file(file)


def _suite(module: ModuleType, path: str) -> Suite:
    suite = getattr(module, "SUITE", None)
    if not isinstance(suite, Suite):
        raise UserError(f"{path} has no SUITE of suites.engine.suite.Suite")
    return suite


def _loaded(entry: Any) -> Any:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"entry point {entry.name} = {entry.value}: {error}") from error
