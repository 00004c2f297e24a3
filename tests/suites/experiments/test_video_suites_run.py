"""Tables 3 and 4 from end to end on generated trees: train, checkpoint, evaluate, start, table.

Every row by its authors' recipe, with its own network; -m long has the common recipe too. Clips
are small and rates low, since two steps of a fresh network at the paper's rate may end in NaN.
Predicted costs have tests of their own.
"""

import hashlib
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from stdcf.complexity import count
from stdcf.data.tools.generate import Amount, generate
from stdcf.training.checkpoint import load_checkpoint
from suites.engine import train as execute
from suites.engine import worker
from suites.engine.request import make_request
from suites.engine.session import Session
from suites.engine.store.folder import RunFolder
from suites.engine.store.provenance import header
from suites.engine.suite import Suite
from suites.engine.task import Run
from suites.engine.weights import describe
from suites.experiments.kinetics_table3 import suite as kinetics_table3
from suites.experiments.something_table4 import suite as something_table4

AMOUNT = Amount(classes=2, train=2, test=1, frames=40, size=(64, 80))
PREDICTED: dict[str, Any] = {
    "predicted_peak_bytes": None,
    "published_params": 24_330_000,
    "published_macs": 33_000_000_000,
    "published_executed_macs": 33_000_000_000,
    "published_stage_peak_bytes": {},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    for name in ("kinetics400", "something_v1"):
        generate(name, root / name, AMOUNT)
    broken = sorted((root / "kinetics400" / "train").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:-50])
    return root


@pytest.fixture(
    scope="module",
    params=[("_own",), pytest.param(("_own", ""), marks=pytest.mark.long)],
    ids=["authors", "both"],
)
def recipes(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How the modes of the recipes end that are trained."""
    return request.param


@pytest.fixture(scope="module")
def results(recipes: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module, size in ((kinetics_table3, 48), (something_table4, 32)):
        quick: Any = module.PROFILES["quick"]
        data = {
            "crop": size,
            "short_side": [size, size + 8],
            "test_crop": size,
            "test_short_side": size,
        }
        monkeypatch.setitem(
            module.PROFILES, "quick", replace(quick, batch_size=4, data={**quick.data, **data})
        )
    monkeypatch.setattr(kinetics_table3, "LR", 1e-4)
    monkeypatch.setattr(execute, "predictions", lambda spec, data: PREDICTED)
    monkeypatch.setattr(execute, "count", partial(count, fvcore=False))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(
    suite: Suite, root: Path, results: Path, recipes: tuple[str, ...]
) -> tuple[dict[str, dict[str, Any]], Session]:
    """Each run as a worker would do it, in this process."""
    request = make_request(suite, "quick", None, epochs=1)
    session = Session(suite, request, root / request.dataset, results)
    rows, trained = {}, []
    for spec in session.specs:
        if "" not in recipes and not spec.mode.endswith(recipes):
            continue
        # Some start from a run that has just ended.
        (spec,) = suite.bind([spec], results) if suite.bind else (spec,)
        trained.append(spec)
        folder = RunFolder.create(session.results, spec)
        row = execute.train(Run(folder, data_root=session.data_root, num_workers=0))
        folder.write_result(header(spec, "cpu") | row)
        rows[f"{spec.model} {spec.mode}"] = row
        for stage in spec.stages:
            state = load_checkpoint(folder.path / f"stage-{stage.name}.pt")
            assert all(value.isfinite().all() for value in state.values())
    session.specs = trained
    return rows, session


def test_a_run_from_a_weights_file_of_ones_own_is_written_read_and_run(
    small: None, root: Path, tmp_path: Path
) -> None:
    """The spec in the folder is all that a worker has."""
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights" / "resnet50-imagenet.pt"
    torch.save(timm.create_model("resnet50").state_dict(), file)
    suite = something_table4.SUITE
    request = make_request(suite, "quick", None, epochs=1)
    session = Session(suite, request, root / request.dataset, tmp_path)
    (tsm,) = (s for s in session.specs if (s.model, s.mode) == ("tsm_r50", "full_own"))
    assert suite.bind is not None
    (bound,) = suite.bind([tsm.changed(starts_from="imagenet")], tmp_path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert bound.starts_from == f"imagenet:{digest}"
    folder = RunFolder.create(tmp_path, bound)
    arguments = Namespace(
        data_root=session.data_root, device="cpu", num_workers=0, claimed=True, rank=0
    )
    assert worker._run(folder, arguments, lambda: False) == 0  # type: ignore[arg-type]
    row = folder.result()
    assert row is not None
    assert (row["status"], row["reason"]) == ("ok", None)
    assert (row["starts_from"], row["started_from"]) == (bound.starts_from, f"weights/{file.name}")


@pytest.mark.slow
def test_table_3(
    small: None,
    root: Path,
    results: Path,
    recipes: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, session = run(kinetics_table3.SUITE, root, results, recipes)
    names = [
        "resnet3d_50 full",
        "resnet3d_50 itsl",
        "r2plus1d_34 full",
        "slowfast_r50_8x8 full",
        "tsm_r50 full",
        "tin_r50 full",
    ]
    assert list(rows) == [f"{name}{recipe}" for recipe in recipes for name in names]
    assert rows["tin_r50 full_own"]["started_from"].startswith(
        "kinetics_table3/kinetics400-quick-epochs1/tsm_r50-full_own-s0-"
    )
    for row in rows.values():
        # 2 test videos in 2 clips × 3 crops; one of 4 training videos is cut short.
        assert (row["test_videos"], row["test_clips"]) == (2, 12)
        assert [name.partition("/")[0] for name in row["broken_videos"]] == ["train"]
        assert row["synthetic"]
    assert [s["stage"] for s in rows["resnet3d_50 itsl_own"]["stages"]] == [
        f"{kind}{e}" for e in (1, 2, 3) for kind in "ts"
    ]
    assert rows["resnet3d_50 itsl_own"]["train_shapes"] == ["8×24×24", "4×48×48"]
    assert rows["slowfast_r50_8x8 full_own"]["train_shapes"] == ["32×48×48"]
    capsys.readouterr()
    assert session.print_tables()
    shown = capsys.readouterr().out
    assert "SYNTHETIC" in shown
    assert "truncated" in shown
    assert "each by its authors' recipe" in shown
    assert ("all by one recipe" in shown) == ("" in recipes)
    assert "not run" not in shown
    for line in kinetics_table3.TABLES[0].lines:
        assert line.name in shown


@pytest.mark.slow
def test_table_4_starts_from_table_3(
    small: None,
    root: Path,
    results: Path,
    recipes: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After the test above, whose networks these start from."""
    rows, session = run(something_table4.SUITE, root, results, recipes)
    assert len(rows) == 9 * len(recipes)
    starts = {name: describe(row["starts_from"]) for name, row in rows.items()}
    assert {name for name, start in starts.items() if start == "Kinetics"} == {
        f"{name}{suffix}"
        for name in ("resnet3d_50 full", "resnet3d_50 itsl", "tin_r50 full")
        for suffix in recipes
    }
    for suffix in recipes:
        for mode, stage in (("itsl", "s3"), ("full", "full")):
            source = rows[f"resnet3d_50 {mode}{suffix}"]["started_from"]
            assert source.endswith(f"stage-{stage}.pt")
            assert f"/stdcf-{mode}{suffix}-s0-" in source
    for row in rows.values():
        assert (row["test_videos"], row["test_clips"]) == (2, 2)
        assert row["broken_videos"] == {}
    capsys.readouterr()
    assert session.print_tables()
    shown = capsys.readouterr().out
    assert "not run" not in shown
    for line in something_table4.TABLES[0].lines:
        assert line.name in shown
