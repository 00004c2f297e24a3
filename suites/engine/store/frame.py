"""The results as pandas DataFrames, for notebooks: one row a run, or one row an epoch."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from suites import paths
from suites.engine.store import folder as store
from suites.engine.store.columns import FIELDS, REST, to_table

if TYPE_CHECKING:
    import pandas as pd

# Columns that stand first in `runs`; those up to "shipped" also stand before an epoch in `curves`.
_RUN = ("suite", "setting", "dataset", "profile", "model", "layer", "mode", "seed", "run_id")
_FIRST = (*_RUN, "shipped", "folder", "status", "accuracy")
_HEADER = "stage,epoch,lr,train_loss,train_accuracy,seconds,clips_per_second"


def runs(results: Path | str | None = None) -> "pd.DataFrame":
    """One row for each ended run, those of `results` first, then the shipped ones.

    The columns are the fields of result.json, with "setting", "shipped" (whether the repository
    ships the run) and "folder" (where it lies). Text is of pandas' string type, whole numbers are
    Int64, others float64, truth values boolean, `finished` is datetime64 in UTC; lists are arrays,
    and fields such as `stages` or `versions` hold the lists and dicts of result.json. Accuracies
    are fractions; other units stand in the names. A local run takes the place of the shipped run
    of the same spec.

    Args:
        results: the folder of your runs; by default results/local.

    Raises:
        UserError: if `results` is not a folder.
    """
    import pandas as pd

    rows = sorted(store.rows(paths.results_folder(results)), key=lambda row: bool(row["shipped"]))
    table = to_table(rows)
    frame: pd.DataFrame = table.drop_columns([FIELDS]).to_pandas()
    for field in table.schema:
        if field.metadata[b"kind"] == b"json":
            objects = [row.get(field.name) for row in rows]
            frame[field.name] = pd.Series(objects, dtype=object)
    if not any(table[REST].is_valid().to_pylist()):
        frame = frame.drop(columns=REST)
    return frame.reindex(columns=[*_FIRST, *(name for name in frame if name not in _FIRST)])


def curves(results: Path | str | None = None) -> "pd.DataFrame":
    """One row for each epoch of each run in `runs` that kept its curves, in order.

    The columns are the run's (`suite` to `shipped`), `epoch_of_run` (from 1, over all stages) and
    those of curves.csv: `stage`, `epoch` (from 1 in each stage), `lr`, `train_loss`,
    `train_accuracy` (a fraction), `seconds` (of the epoch) and `clips_per_second`.

    Args:
        results: the folder of your runs; by default results/local.

    Raises:
        UserError: if `results` is not a folder.
    """
    import pandas as pd

    every_run = runs(results)
    epochs_with: dict[str, list[str]] = {}
    for run, folder in enumerate(every_run["folder"]):
        lines = _curve_lines(Path(folder))
        for number, line in enumerate(lines[1:], 1):
            epochs_with.setdefault(lines[0], []).append(f"{run},{number},{line}")
    tables = [
        pd.read_csv(io.StringIO("\n".join([f"run,epoch_of_run,{header}", *epochs])))
        for header, epochs in (epochs_with or {_HEADER: []}).items()
    ]
    epochs = pd.concat(tables).sort_values(["run", "epoch_of_run"]).set_index("run")
    return every_run[[*_RUN, "shipped"]].join(epochs, how="inner").reset_index(drop=True)


def _curve_lines(folder: Path) -> list[str]:
    """Header and epochs; nothing of a run that kept none."""
    try:
        lines = (folder / "curves.csv").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if line.count(",") == lines[0].count(",")]
