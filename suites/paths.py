"""Where results lie: what the repository or a wheel ships, and what is made here."""

import os
from pathlib import Path

from stdcf.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
# False of an installed wheel, which carries published values and shipped runs as package data.
IS_CHECKOUT = (REPOSITORY / "results" / "published").is_dir()
_DATA = REPOSITORY / ("results" if IS_CHECKOUT else "suites/shipped")
# Of a wheel the folder is an archive of the same name; see `suites.engine.store.shipped`.
SHIPPED = _DATA / "runs"
PUBLISHED = _DATA / "published"


def local_results() -> Path:
    """Where runs are kept by default: $STDCF_RESULTS, or results/local in the checkout.

    Without a checkout it is results/local in the current folder.
    """
    given = os.environ.get("STDCF_RESULTS")
    folder = Path(given).expanduser() if given else None
    return folder or (REPOSITORY if IS_CHECKOUT else Path.cwd()) / "results" / "local"


def results_folder(results: Path | str | None, *, must_exist: bool = True) -> Path:
    """The whole path of a folder of runs; None is `local_results`, which need not exist.

    Raises:
        UserError: if it must exist and does not.
    """
    folder = (local_results() if results is None else Path(results)).expanduser().resolve()
    if must_exist and results is not None and not folder.is_dir():
        raise UserError(f"no results folder {results}")
    return folder
