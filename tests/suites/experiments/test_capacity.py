"""capacity: ranks against closed forms, best fits against what no fit can beat."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stdcf.errors import UserError
from suites.engine.catalog import load_dataset
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.capacity import task as capacity_task
from suites.experiments.capacity.suite import SUITE, specs
from suites.experiments.capacity.tables import freedom
from suites.experiments.capacity.task import FAMILIES, compose, draw, jacobian_rank, rank1_error


@pytest.fixture(scope="module")
def row(video_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a network trained for an epoch on small clips."""
    cache = tmp_path_factory.mktemp("cache")
    size = {"size": [16, 16], "clip_frames": 8, "train_step": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STDCF_CACHE", str(cache))
        manifest = load_dataset("video_folder", str(video_root), **size).manifest
        request = Request("quick", "video_folder", epochs=1, data_options=size)
        (spec,) = specs(request, manifest)
        options = {"ranks": [3], "fit_channels": 4, "atoms": [[1, 1], [3, 2], [9, 3]]}
        folder = RunFolder.create(
            tmp_path_factory.mktemp("results"), spec.model_copy(update={"options": options})
        )
        threads = torch.get_num_threads()
        made = capacity_task.measure(Run(folder, data_root=str(video_root), num_workers=0))
        torch.set_num_threads(threads)
    common = {"seed": 0, "shipped": False, "commit": "c" * 40, "dirty": False, "device": "cpu X"}
    common |= {"finished": "2026-11-26T10:00:00Z", "dataset": "video_folder", "profile": "quick"}
    return common | {"dtype": "float32", "layer": "regular", "mode": "capacity"} | made


@pytest.mark.parametrize(("family", "m", "n"), FAMILIES)
def test_the_rank_is_the_dimension_in_closed_form(family: str, m: int, n: int) -> None:
    generator = torch.Generator().manual_seed(3)
    rank, params = jacobian_rank(family, 3, m, n, generator)
    assert rank == freedom(family, m, n, 3) <= params
    assert params == sum(p.numel() for p in draw(family, 3, m, n, generator))


def test_dimensions_by_hand() -> None:
    """C=4, M=3, N=2: of a change of basis, 3² and 2² are not freedom; of rank-1's, 4²."""
    assert freedom("regular", 0, 0, 4) == 27 * 16
    assert freedom("stdcf", 3, 2, 4) == 6 * 16 + 27 + 6 - 9 - 4
    assert freedom("rank1", 0, 0, 4) == 9 * 16 + 3 * 16 - 16
    # All atoms that there are: rank-1 itself.
    assert freedom("rank1_atoms", 9, 3, 4) == freedom("rank1", 0, 0, 4)


def test_rank1_fits_itself_and_nothing_nearer_exists() -> None:
    generator = torch.Generator().manual_seed(0)
    own = compose("rank1", draw("rank1", 4, 0, 0, generator)).unflatten(-1, (3, 3))
    assert rank1_error(own) < 1e-12
    random = torch.randn(4, 5, 3, 3, 3, generator=generator, dtype=torch.float64)
    matrix = random.numpy().transpose(0, 2, 1, 3, 4).reshape(12, 45)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    # As W_t [o, d, t] and W_s [d, c, s] with four channels between: the filter that is so near.
    w_t = torch.from_numpy((u * s)[:, :4].reshape(4, 3, 4).transpose(0, 2, 1).copy())
    w_s = torch.from_numpy(v[:4].reshape(4, 5, 9))
    nearest = compose("rank1", (w_s, w_t)).reshape(random.shape)
    error = float((random - nearest).norm() / random.norm())
    assert rank1_error(random) == pytest.approx(error, rel=1e-9)


def test_a_row_holds_ranks_and_fits_of_every_layer(row: dict[str, Any]) -> None:
    assert row["status"] == "ok"
    assert "accuracy" not in row
    assert len(row["ranks"]) == len(FAMILIES)
    errors = {(f["filters"], f["spatial_atoms"]): f["error"] for f in row["fits"]}
    assert {name for name, _ in errors} == {"random", "layer 1", "layer 2", "layer 3"}
    for name in ("random", "layer 1", "layer 2", "layer 3"):
        assert errors[name, 9] < 1e-7 < errors[name, 3] < errors[name, 1] < 1
    # Its input has one channel, so 32 products of a spatial and a temporal filter hold all of it.
    assert errors["layer 1", 0] < 1e-7
    stdcf = next(f for f in row["fits"] if (f["filters"], f["spatial_atoms"]) == ("layer 2", 3))
    assert (stdcf["params"], stdcf["dense_params"]) == (16 * 32 * 6 + 33, 16 * 32 * 27)


def test_tables_and_figure_come_from_rows_alone(row: dict[str, Any], tmp_path: Path) -> None:
    ranks, fits = SUITE.tables([row])
    assert ranks.rows[-3] == ["STDCF", "M=3, N=2", "87", "74", "74", "54", "8.22"]
    assert "8 families and numbers of channels: 0 have another rank" in ranks.notes[1]
    exact = {line[1]: line[2:6] for line in fits.rows}["M=9, N=3"]
    assert exact == ["0.0"] * 4
    wrong = {**row, "ranks": [row["ranks"][0] | {"rank": 1}, *row["ranks"][1:]]}
    assert ": 1 have another rank" in SUITE.tables([wrong])[0].notes[1]
    drawn = SUITE.figures([row], tmp_path)
    assert [path.name for path in drawn] == ["capacity.png", "capacity.svg"]
    assert SUITE.figures([], tmp_path) == []
    assert all(table.rows == [] for table in SUITE.tables([]))


def test_no_seed_is_refused() -> None:
    with pytest.raises(UserError, match="--seeds must be at least 1"):
        specs(Request("quick", "weizmann", seeds=0), "0" * 64)
