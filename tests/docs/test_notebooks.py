"""The notebooks of docs/ run, and print what they show: run anew by

jupyter nbconvert --to notebook --execute --inplace docs/notebooks/*.ipynb
"""

from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def printed(cell: Any) -> str:
    """What a cell wrote, in however many pieces."""
    return "".join(out["text"] for out in cell.outputs if out["output_type"] == "stream")


def pictures(cell: Any) -> int:
    return sum("image/png" in out.get("data", {}) for out in cell.outputs)


def test_there_is_one_for_each_user() -> None:
    names = {file.stem for file in NOTEBOOKS}
    assert {"which_scheme_fits", "my_own_network", "read_the_results"} <= names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Jupyter's own packages
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_it_prints_what_it_shows(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason=f"no {package}: pip install -e '.[docs]'")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("STDCF_RESULTS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(file.parents[2]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shown = nbformat.read(file, as_version=4)
    anew = nbformat.read(file, as_version=4)
    client = NotebookClient(anew, timeout=600, resources={"metadata": {"path": tmp_path}})
    client.execute()
    for old, new in zip(shown.cells, anew.cells, strict=True):
        if old.cell_type == "code":
            assert printed(new) == printed(old), old.source
            assert pictures(new) == pictures(old)
    assert any(cell.outputs for cell in shown.cells if cell.cell_type == "code")
