"""Suites of runs: specs, the store, the runner, tables, figures and the commands.

`runs()` and `curves()` give the results as pandas DataFrames.
"""

from typing import TYPE_CHECKING

from stdcf.lazy import lazily

if TYPE_CHECKING:
    from suites.engine.store.frame import curves, runs

__all__ = ["curves", "runs"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "suites.engine.store.frame"))
