"""Where results lie: what the repository ships, and what is made here."""

from pathlib import Path

from stdcf.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = REPOSITORY / "results" / "runs"
LOCAL = REPOSITORY / "results" / "local"
PUBLISHED = REPOSITORY / "results" / "published"


def results_folder(results: Path | str | None, *, must_exist: bool = True) -> Path:
    """The whole path of a folder of runs; None is results/local, which need not exist.

    Raises:
        UserError: if it must exist and does not.
    """
    folder = (LOCAL if results is None else Path(results)).expanduser().resolve()
    if must_exist and results is not None and not folder.is_dir():
        raise UserError(f"no results folder {results}")
    return folder
