"""Table 4's runs against §3.3, and what each of them starts from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.recipes import SOMETHING_V1
from stdcf.errors import UserError
from stdcf.training.checkpoint import save_checkpoint
from suites.engine import weights
from suites.engine.catalog import build
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.experiments.kinetics_table3 import suite as kinetics_table3
from suites.experiments.something_table4 import suite as something_table4
from suites.experiments.something_table4.suite import SUITE, TABLES, specs
from suites.reporting.published import published

PAPER = Request(profile="paper", dataset="something_v1")
MANIFEST = "ab" * 32


def by_row(request: Request = PAPER) -> dict[tuple[str, str], RunSpec]:
    """By the common recipe."""
    found = {(spec.model, spec.mode): spec for spec in specs(request, MANIFEST)}
    return {key: spec for key, spec in found.items() if not key[1].endswith("_own")}


def test_every_published_row_has_its_run_frames_and_start_in_both_recipes():
    runs = {(s.model, s.layer, s.mode): s for s in specs(PAPER, MANIFEST)}
    assert len(runs) == 18
    assert len({spec.run_id for spec in runs.values()}) == 18
    assert len({spec.folder_name.rpartition("-")[0] for spec in runs.values()}) == 18
    rows = published("table4_something_v1")
    for table in TABLES:
        assert [line.name for line in table.lines] == [row["method"] for row in rows]
        for line, row in zip(table.lines, rows, strict=True):
            spec = runs[line.run]
            stage = next(stage for stage in spec.stages if stage.name == line.stage)
            frames = spec.dataset_options.get("frames", 8)
            # The paper counts what a stage is trained on.
            assert stage.clip_shape((frames, 224, 224))[0] == int(row["frames"]), line.name
            if row["pretrain"]:
                assert weights.describe(spec.starts_from) == row["pretrain"], line.name


def test_own_rows_are_trained_as_their_authors_do():
    rows = {s.model: s for s in specs(PAPER, MANIFEST) if s.mode == "full_own"}
    assert rows.keys() == SOMETHING_V1.keys()
    for model, spec in rows.items():
        recipe = SOMETHING_V1[model]
        assert (spec.stages, spec.batch_size) == (recipe.stages(), recipe.batch_size)
        assert spec.model_options["dropout"] == recipe.dropout
        assert recipe.data.items() <= spec.dataset_options.items()
        assert "flip" not in spec.dataset_options  # the data set's own default is none
    (itsl,) = (s for s in specs(PAPER, MANIFEST) if s.mode == "itsl_own")
    assert [(s.name, s.epochs, s.lr, s.milestones) for s in itsl.stages] == [
        (name, 20, 2e-4, (15,)) for name in ("t1", "s1", "t2", "s2")
    ]
    assert all(stage.nesterov and stage.precise_batches == 200 for stage in itsl.stages)


def test_the_schedule_is_the_papers():
    (full,) = by_row()["resnet3d_50", "full"].stages
    rates = [full.lr_at(epoch) for epoch in (0, 29, 30, 49)]
    assert (full.epochs, rates) == (50, pytest.approx([1e-3, 1e-3, 1e-4, 1e-4]))
    itsl = by_row()["resnet3d_50", "itsl"].stages
    assert [s.name for s in itsl] == ["t1", "s1", "t2", "s2"]
    for stage in itsl:
        assert stage.epochs == 20
        rates = [stage.lr_at(epoch) for epoch in (0, 14, 15, 19)]
        assert rates == pytest.approx([2e-4, 2e-4, 2e-5, 2e-5])
    for spec in by_row().values():
        assert spec.batch_size == 64
        assert "flip" not in spec.dataset_options  # the data set's own default is none
        assert {stage.optimizer for stage in spec.stages} == {"sgd"}


def test_epochs_scale_the_milestones():
    fewer = by_row(Request(profile="paper", dataset="something_v1", epochs=10))
    (full,) = fewer["resnet3d_50", "full"].stages
    assert (full.epochs, full.milestones) == (10, (6,))
    assert [(s.epochs, s.milestones) for s in fewer["resnet3d_50", "itsl"].stages] == [
        (4, (3,))
    ] * 4
    one = by_row(Request(profile="paper", dataset="something_v1", epochs=1))
    assert one["resnet3d_50", "full"].stages[0].milestones == ()


def test_the_quick_profile_needs_no_imagenet():
    quick = by_row(Request(profile="quick", dataset="something_v1"))
    assert quick["tsm_r50", "full"].starts_from is None
    assert quick["tin_r50", "full"].starts_from == "kinetics400"


NETWORK: dict[str, Any] = {"num_spatial_atoms": 6, "num_temporal_atoms": 2}


def pretrained(results: Path, mode: str, profile: str = "paper", seed: int = 0) -> Path:
    """A finished run of Table 3's STDCF-R50; its weights stand for it by its folder's name."""
    request = Request(profile=profile, dataset="kinetics400")
    spec = next(
        s for s in kinetics_table3.specs(request, MANIFEST) if (s.layer, s.mode) == ("stdcf", mode)
    ).model_copy(update={"seed": seed})
    folder = RunFolder.create(results, spec)
    folder.write_result({"status": "ok", "accuracy": 0.5, "manifest": MANIFEST})
    file = folder.path / f"stage-{spec.stages[-1].name}.pt"
    name = torch.tensor(list(folder.path.name.encode()), dtype=torch.uint8)
    save_checkpoint(file, {"weight": name})
    return file


def bound(results: Path, profile: str = "paper") -> dict[tuple[str, str], str | None]:
    request = Request(profile=profile, dataset="something_v1")
    assert SUITE.bind is not None
    found = SUITE.bind(specs(request, MANIFEST), results)
    return {(spec.model, spec.mode): spec.starts_from for spec in found}


def test_a_run_starts_from_one_by_the_same_recipe(tmp_path):
    common = pretrained(tmp_path, "full")
    assert bound(tmp_path)["resnet3d_50", "full_own"] == "kinetics400"
    own = pretrained(tmp_path, "full_own")
    origins = bound(tmp_path)
    assert origins["resnet3d_50", "full"] == f"kinetics400:{weights._sha256(common)}"
    for mode in ("full_own", "itsl_own"):
        assert origins["resnet3d_50", mode] == f"kinetics400:{weights._sha256(own)}"


def test_tins_own_start_on_kinetics_is_tsms_network(tmp_path):
    """All but what TIN adds, the classifier too: the data set is the same."""
    torch.manual_seed(0)
    tsm, tin = (build(name, num_classes=3) for name in ("tsm_r50", "tin_r50"))
    (tmp_path / "weights").mkdir()
    torch.save(tsm.state_dict(), tmp_path / "weights" / "tsm_r50.pt")
    request = Request(profile="paper", dataset="kinetics400")
    (spec,) = (
        s
        for s in kinetics_table3.specs(request, MANIFEST)
        if (s.model, s.mode) == ("tin_r50", "full_own")
    )
    assert weights.waits(spec, tmp_path / "nowhere")
    assert not weights.waits(spec, tmp_path)
    with pytest.raises(UserError, match="no kinetics400-tsm_r50 weights for tsm_r50: run kine"):
        weights.start(tin, spec, tmp_path / "nowhere", 3)
    (bound_spec,) = weights.bind([spec], tmp_path)
    assert weights.bind([bound_spec], tmp_path) == [bound_spec]
    offsets = tin.get_parameter("backbone.net.layer1.0.conv1.mixer.offset_net.fc1.weight").clone()
    assert weights.start(tin, bound_spec, tmp_path, 3) == "weights/tsm_r50.pt"
    for name, value in tsm.state_dict().items():
        assert torch.equal(tin.state_dict()[name], value), name
    after = tin.get_parameter("backbone.net.layer1.0.conv1.mixer.offset_net.fc1.weight")
    assert torch.equal(after, offsets)


def test_runs_start_from_the_same_kind_of_learning_in_the_same_results(tmp_path):
    files = {mode: pretrained(tmp_path, mode) for mode in ("full", "itsl")}
    assert [file.name for file in files.values()] == ["stage-full.pt", "stage-s3.pt"]
    pretrained(tmp_path, "full", seed=1)
    pretrained(tmp_path, "itsl", seed=1)
    origins = bound(tmp_path)
    for mode, file in files.items():
        assert origins["resnet3d_50", mode] == f"kinetics400:{weights._sha256(file)}"
    assert origins["tin_r50", "full"] == "kinetics400"  # not there, and it will say so
    assert origins["tsm_r50", "full"] == "imagenet"


def test_another_profiles_run_is_no_start(tmp_path):
    pretrained(tmp_path, "full", profile="quick")
    assert bound(tmp_path)["resnet3d_50", "full"] == "kinetics400"
    assert (bound(tmp_path, "quick")["resnet3d_50", "full"] or "").startswith("kinetics400:")


def test_a_run_that_failed_is_no_start(tmp_path):
    folder = RunFolder(pretrained(tmp_path, "full").parent)
    folder.write_result({"status": "nan", "reason": "", "manifest": MANIFEST})
    assert bound(tmp_path)["resnet3d_50", "full"] == "kinetics400"


def test_a_file_of_ones_own_comes_first_and_is_part_of_the_id(tmp_path):
    pretrained(tmp_path, "full")
    before = bound(tmp_path)
    (tmp_path / "weights").mkdir()
    for name in ("resnet3d_50-stdcf", "i3d_r50", "resnet50-imagenet"):
        torch.save({"weight": torch.ones(1)}, tmp_path / "weights" / f"{name}.pt")
    origins = bound(tmp_path)
    assert origins["resnet3d_50", "full"] == origins["resnet3d_50", "itsl"]
    assert origins["resnet3d_50", "full"] != before["resnet3d_50", "full"]
    assert origins["i3d_r50", "full"] != "kinetics400"
    assert (origins["tsm_r50", "full"] or "").startswith("imagenet:")
    request = Request(profile="paper", dataset="something_v1")
    assert SUITE.bind is not None
    runs = SUITE.bind(specs(request, MANIFEST), tmp_path)
    changed = {s.run_id for s in runs} - {s.run_id for s in specs(request, MANIFEST)}
    assert len(changed) == 14  # in either recipe all but I3D+GCN and TIN


def test_quick_runs_without_weights_start_from_scratch(tmp_path):
    assert set(bound(tmp_path, "quick").values()) == {None}


def test_missing_weights_are_one_line_with_the_remedy(tmp_path):
    spec = by_row()["tin_r50", "full"]
    model = build("tin_r50", num_classes=3, in_channels=3)
    with pytest.raises(UserError, match="no kinetics400 weights for tin_r50: ") as error:
        weights.start(model, spec, tmp_path, 3)
    assert "run kinetics_table3" in str(error.value)
    assert str(tmp_path / "weights" / "tin_r50.pt") in str(error.value)
    assert "\n" not in str(error.value)
    other = spec.model_copy(update={"starts_from": "kinetics400:" + "0" * 64})
    with pytest.raises(UserError, match="with SHA-256 0000"):
        weights.start(model, other, tmp_path, 3)


def test_imagenet_weights_come_from_a_file_of_ones_own(tmp_path):
    import timm

    torch.manual_seed(3)
    (tmp_path / "weights").mkdir()
    resnet = timm.create_model("resnet50")
    torch.save(resnet.state_dict(), tmp_path / "weights" / "resnet50-imagenet.pt")
    (spec,) = weights.bind([by_row()["tsm_r50", "full"]], tmp_path)
    model = build("tsm_r50", num_classes=3, in_channels=3)
    head = model.get_parameter("fc.weight").detach().clone()
    assert weights.start(model, spec, tmp_path, 3) == "weights/resnet50-imagenet.pt"
    assert torch.equal(
        model.get_parameter("backbone.net.layer4.2.conv3.weight"),
        resnet.get_parameter("layer4.2.conv3.weight"),
    )
    assert torch.equal(model.get_parameter("fc.weight"), head)


@pytest.mark.slow
def test_predicted_costs_of_every_row():
    memory, stages, _ = something_table4.plan(specs(PAPER, MANIFEST))
    rows = {row[0]: dict(zip(memory.columns, row, strict=True)) for row in memory.rows}
    for name in ("2D-R50", "TIN", "TSM"):
        own, theirs = rows[name]["Memory, GiB (8 clips)"], rows[name]["paper, G"]
        assert float(own) == pytest.approx(float(theirs), rel=0.1), name
    # 16 frames cost a 2D network twice what 8 do.
    assert float(rows["TSN"]["GMAC"]) == pytest.approx(2 * float(rows["2D-R50"]["GMAC"]), rel=1e-3)
    assert all(row["Params, M"] != "–" for row in rows.values())
    assert len(stages.rows) == 8 + 4


def test_imagenets_weights_are_asked_for_before_any_run(tmp_path, monkeypatch):
    def unreachable(*_: Any) -> None:
        raise UserError("no ImageNet weights (offline)")

    monkeypatch.setattr("stdcf.models.inflate.imagenet_weights", unreachable)
    request = Request(profile="paper", dataset="something_v1")
    specs = something_table4.specs(request, MANIFEST)
    own = tmp_path / "weights" / "resnet50-imagenet.pt"
    with pytest.raises(UserError) as raised:
        weights.check_reachable(specs, tmp_path)
    assert str(raised.value) == f"no ImageNet weights (offline); here: put a state dict at {own}"
    own.parent.mkdir()
    save_checkpoint(own, {"weight": torch.zeros(1)})
    weights.check_reachable(weights.bind(specs, tmp_path), tmp_path)
