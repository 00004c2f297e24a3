"""Where networks of two stages look: the numbers, the pictures, and training done once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stdcf import set_dilation
from stdcf.data.clips.loader import batches
from stdcf.training.checkpoint import load_checkpoint
from stdcf.visualize import outputs_of, share_on_motion
from suites.engine.catalog import build_model
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.kth_attention import suite as kth_attention
from suites.experiments.shared import kth
from suites.experiments.shared.stage_maps_task import LAST_MAP, TOP, lively, measure
from suites.reporting.pictures import unpacked

SMALL = {"size": [16, 16], "clip_frames": 8, "train_step": 1}


def request(**changes: Any) -> Request:
    return Request(**{"profile": "quick", "dataset": "weizmann", "epochs": 4, **changes})


def small(spec: RunSpec, root: Path, results: Path) -> RunFolder:
    """The run on a few small clips, one epoch a stage."""
    from suites.engine.catalog import load_dataset

    data = load_dataset("video_folder", str(root), **SMALL)
    own: dict[str, Any] = {"dataset": "video_folder", "dataset_options": SMALL}
    own["stages"] = tuple(
        stage.model_copy(update={"epochs": 1, "milestones": ()}) for stage in spec.stages
    )
    own["manifest"] = data.manifest
    return RunFolder.create(results, spec.model_copy(update=own))


def run_it(folder: RunFolder, root: Path) -> dict[str, Any]:
    row = measure(Run(folder, data_root=str(root), num_workers=0))
    folder.write_result({"suite": folder.spec().suite, **row})
    return row


def test_the_training_is_table_2s() -> None:
    wanted = {
        (run.layer, run.seed): run.training_id
        for run in kth.specs(request(seeds=2), "0" * 64)
        if run.mode == "itsl"
    }
    own = kth_attention.specs(request(seeds=2), "0" * 64)
    assert {(run.layer, run.seed): run.training_id for run in own} == wanted
    assert len({run.run_id for run in own}) == len(own)


def test_attention_of_stages(
    video_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_env: dict[str, str]
) -> None:
    monkeypatch.setenv("STDCF_CACHE", small_env["STDCF_CACHE"])
    (spec,) = (s for s in kth_attention.specs(request(), "0" * 64) if s.layer == "stdcf")
    folder = small(spec, video_root, tmp_path / "results")
    row = run_it(folder, video_root)
    assert [look["stage"] for look in row["looks"]] == ["t1", "s2"]
    tests = {test["stage"]: test["accuracy"] for test in row["stages"]}
    assert [look["accuracy"] for look in row["looks"]] == [tests["t1"], tests["s2"]]
    assert row["accuracy"] == tests["s2"]

    # The number and the picture once more, from the weights that are kept.
    data = Run(folder, data_root=str(video_root)).data()
    model = build_model(folder.spec(), len(data.classes), 1)
    model.load_state_dict(load_checkpoint(folder.path / "stage-t1.pt"))
    set_dilation(model.eval(), 2, 2)
    clip_BCTHW = next(iter(batches(data.test, len(data.test), order=range(len(data.test)))))[0]
    x_BCTHW = (clip_BCTHW.float() / 255 - 0.45) / 0.225
    map_BTHW = outputs_of(model, [LAST_MAP], x_BCTHW)[LAST_MAP].sum(1)
    expected = float(share_on_motion(map_BTHW, clip_BCTHW).mean())
    assert row["looks"][0]["on_motion"] == pytest.approx(expected, abs=1e-5)

    places = lively(data, 2)
    assert len({int(data.test.labels[place]) for place in places}) == len(places)
    assert len(row["pictures"]) == len(places)
    picture = row["pictures"][0]
    frames = unpacked(picture["input"], picture["size"])
    assert (frames == clip_BCTHW[places[0], 0, picture["frames"]].numpy()).all()
    assert picture["label"] == data.classes[int(data.test.labels[places[0]])]
    shown = picture["maps"]["t1"]
    maps = unpacked(shown["map"], shown["size"]).astype(float)
    # The first and the last frame need no interpolation beyond the layer's own times.
    own = map_BTHW[places[0]]
    scaled = own[[0, -1]].numpy()
    assert maps.max() <= 255
    assert np.corrcoef(maps[[0, -1]].ravel(), scaled.ravel())[0, 1] > 0.999
    with torch.no_grad():
        scores_K = model(x_BCTHW)[places[0]].softmax(0)
    assert [name for name, _ in shown["top"]] == [
        data.classes[place] for place in scores_K.argsort(descending=True)[:TOP].tolist()
    ]
    (table,) = kth_attention.tables([{**row, **_words(folder.spec())}])
    assert f"{100 * expected:.2f}" in {cell for line in table.rows for cell in line}

    # Other seeds keep numbers alone.
    other = small(spec.model_copy(update={"seed": 1}), video_root, tmp_path / "results")
    assert "pictures" not in run_it(other, video_root)


def _words(spec: RunSpec) -> dict[str, Any]:
    return {
        "layer": spec.layer,
        "model": spec.model,
        "mode": spec.mode,
        "seed": spec.seed,
        "profile": spec.profile,
        "dataset": spec.dataset,
        "dtype": "float32",
        "shipped": False,
        "commit": "0" * 40,
        "dirty": False,
    }
