"""A run's id, and what is said of a spec that is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stdcf.errors import UserError
from stdcf.stages.stage import Stage, full_size, itsl
from suites.engine.spec import PublishedSetting, RunSpec, parse_spec

BASE: dict[str, Any] = {
    "suite": "kth_table2",
    "profile": "quick",
    "dataset": "weizmann",
    "dataset_options": {"size": [60, 80]},
    "manifest": "ab" * 32,
    "model": "kth_cnn",
    "model_options": {"dropout": 0.5},
    "layer": "stdcf",
    "layer_options": {"plan": "composed"},
    "mode": "full",
    "stages": full_size(epochs=4, lr=1e-3),
    "seed": 0,
    "batch_size": 16,
}
LABELS = ("suite", "profile", "mode", "base_manifest")
# Another value of each field that changes the result.
OTHER: dict[str, Any] = {
    "task": "layer_speed",
    "options": {"shape": [64, 8, 56, 56]},
    "dataset": "kth",
    "dataset_options": {"size": [60, 81]},
    "manifest": "ac" * 32,
    "model": "resnet3d_50",
    "model_options": {"dropout": 0.25},
    "layer": "rank1",
    "layer_options": {"plan": "factored"},
    "stages": itsl(1, epochs=4, lr=1e-3),
    "seed": 1,
    "batch_size": 15,
    "amp": True,
    "savers": ("checkpoint", "accumulate=4"),
    "device": "cuda",
    "threads": 2,
    "epochs_override": 4,
    "cap_bytes": 2**30,
    "ranks": 2,
    "sync_batchnorm": False,
    "starts_from": "imagenet",
    "published": PublishedSetting(input_shape=(16, 1, 16, 60, 80), num_classes=6),
}
OTHER_STAGE: dict[str, Any] = {
    "name": "other",
    "temporal_stride": 2,
    "spatial_scale": 0.5,
    "batch_scale": 2.0,
    "cycle": (0.5, 1.0),
    "norm_parts": 2,
    "dilation": (2, 1),
    "test_dilation": (1, 2),
    "trains": ("spatial",),
    "optimizer": "sgd",
    "weight_decay": 1e-4,
    "fresh_optimizer": False,
    "epochs": 5,
    "lr": 1.0001e-3,
    "warmup_epochs": 1,
    "schedule": "cosine",
    "milestones": (2,),
    "gamma": 0.2,
    "atom_lr": 3.0,
    "no_decay": ("norm",),
    "recalibrate": True,
    "nesterov": True,
    "clip_norm": 20.0,
    "bias_lr": 2.0,
    "head_lr": 5.0,
    "per_step": True,
    "warmup_start": 0.1,
    "cosine_from_start": True,
    "frozen_norm": "but_first",
    "precise_batches": 200,
}
# What some of them ask for beside them.
ASKED = {
    "nesterov": {"optimizer": "sgd"},
    "warmup_start": {"per_step": True},
    "cosine_from_start": {"per_step": True},
}
SPEC = RunSpec(**BASE)


def with_stage(**changes: Any) -> RunSpec:
    return RunSpec(**{**BASE, "stages": (SPEC.stages[0].model_copy(update=changes),)})


def test_every_field_is_a_label_or_changes_the_id() -> None:
    assert {"schema_version", "overrides", *LABELS, *OTHER} == set(RunSpec.model_fields)
    assert OTHER_STAGE.keys() == Stage.model_fields.keys()
    variants = [RunSpec(**{**BASE, name: value}) for name, value in OTHER.items()]
    variants += [
        with_stage(**{name: value, **ASKED.get(name, {})}) for name, value in OTHER_STAGE.items()
    ]
    ids = [spec.run_id for spec in (SPEC, *variants)]
    assert len(set(ids)) == len(ids) == 1 + len(OTHER) + len(OTHER_STAGE)


@given(st.dictionaries(st.sampled_from(LABELS), st.text(max_size=9), max_size=3))
def test_labels_do_not_change_the_id(labels: dict[str, str]) -> None:
    words = tuple(f"{name}={value}" for name, value in labels.items())
    assert RunSpec(**{**BASE, **labels, "overrides": words}).run_id == SPEC.run_id


def test_no_field_is_a_path_or_a_host() -> None:
    assert not {"root", "path", "folder", "host", "executor", "workers"} & set(RunSpec.model_fields)


def test_the_id_is_the_same_in_every_process_and_after_a_rewrite() -> None:
    assert len(SPEC.run_id) == 12
    assert int(SPEC.run_id, 16) >= 0
    turned = dict(reversed(json.loads(SPEC.model_dump_json()).items()))
    assert parse_spec(json.dumps(turned)).run_id == SPEC.run_id
    # A change here makes every run that was ever taken count as missing.
    assert SPEC.run_id == "e8d13e1759fa"


def test_a_value_written_out_is_its_default() -> None:
    assert RunSpec(**{**BASE, "amp": False, "threads": 1, "device": "cpu"}).run_id == SPEC.run_id
    short = {k: v for k, v in json.loads(SPEC.model_dump_json()).items() if k != "threads"}
    assert parse_spec(json.dumps(short)) == SPEC


@given(
    seed=st.integers(0, 2**40),
    epochs=st.integers(1, 10**6),
    lr=st.floats(1e-12, 1e3),
    cap=st.none() | st.integers(1, 2**50),
    options=st.dictionaries(
        st.text(max_size=5), st.integers() | st.booleans() | st.text(), max_size=3
    ),
)
def test_specs_survive_their_file(
    seed: int, epochs: int, lr: float, cap: int | None, options: dict[str, Any]
) -> None:
    stages = full_size(epochs=epochs, lr=lr)
    changes = {"seed": seed, "stages": stages, "cap_bytes": cap, "layer_options": options}
    spec = RunSpec(**{**BASE, **changes})
    again = parse_spec(spec.model_dump_json(indent=1))
    assert (again, again.run_id, again.folder_name) == (spec, spec.run_id, spec.folder_name)


def test_specs_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SPEC.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        SPEC.stages[0].lr = 1.0  # type: ignore[misc]


@given(
    field=st.sampled_from(
        ["dataset", "manifest", "stages", "seed", "batch_size", "amp", "device", "threads"]
    ),
    value=st.sampled_from([None, [], {}, -1, "", 2.5, "no such"]),
)
def test_a_wrong_value_is_one_line_that_names_the_field(field: str, value: Any) -> None:
    content = json.loads(SPEC.model_dump_json()) | {field: value}
    try:
        RunSpec(**content)
    except ValidationError:
        with pytest.raises(UserError) as caught:
            parse_spec(json.dumps(content))
        message = str(caught.value)
        assert field in message
        assert "\n" not in message
        assert repr(value) in message


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


FIELDS = [*RunSpec.model_fields, *(f"stages.0.{name}" for name in Stage.model_fields)]


@pytest.mark.parametrize("field", FIELDS)
@settings(max_examples=15)
@given(value=JSON)
def test_any_value_of_any_field_is_taken_or_refused_by_name(field: str, value: Any) -> None:
    content = json.loads(SPEC.model_dump_json())
    if field.startswith("stages."):
        content["stages"][0][field.rpartition(".")[2]] = value
    else:
        content[field] = value
    try:
        spec = parse_spec(json.dumps(content))
    except UserError as error:
        message = str(error)
    else:
        # What is taken keeps its meaning in its file.
        assert parse_spec(spec.model_dump_json()).run_id == spec.run_id
        return
    assert message.isprintable()
    assert field.rpartition(".")[2] in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sed": 1}, ["sed", "seed", "batch_size"]),
        ({"device": "tpu"}, ["device", "'cpu' or 'cuda'", "'tpu'"]),
        ({"schema_version": 2}, ["schema_version", "1", "2"]),
        ({"seed": "many"}, ["seed", "integer", "'many'"]),
        ({"seed": -1}, ["seed", "greater than or equal to 0"]),
        ({"stages": []}, ["stages", "at least 1"]),
        ({"stages": [{"name": "a", "epochs": 0, "lr": 1}]}, ["stages.0.epochs", "greater than 0"]),
        (
            {"stages": [{"name": "a", "epochs": 1, "lr": 1, "rate": 1}]},
            ["stages.0.rate", "milestones"],
        ),
        (
            {"stages": [{"name": "a", "epochs": 1, "lr": 1, "trains": ["all"]}]},
            ["stages.0.trains.0", "'spatial', 'temporal' or 'joint'"],
        ),
        (
            {"stages": [{"name": "a", "epochs": 9, "lr": 1, "milestones": [4, 2]}]},
            ["milestones must ascend"],
        ),
        ({"savers": ["chekpoint"]}, ["savers", "'chekpoint'", "checkpoint, accumulate=4"]),
        ({"published": {"shape": 1}}, ["published.shape", "input_shape"]),
    ],
)
def test_what_is_valid_is_said(change: dict[str, Any], words: list[str]) -> None:
    content = json.loads(SPEC.model_dump_json()) | change
    with pytest.raises(UserError) as caught:
        parse_spec(json.dumps(content))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_what_is_missing_and_what_is_no_json_is_said() -> None:
    with pytest.raises(UserError, match="seed: Field required"):
        parse_spec(SPEC.model_dump_json(exclude={"seed"}))
    with pytest.raises(UserError, match=r"stages: .*at least 1"):
        parse_spec(SPEC.model_dump_json(exclude={"stages"}))
    with pytest.raises(UserError, match="Invalid JSON"):
        parse_spec(SPEC.model_dump_json()[:-5])


def test_a_table_of_its_own_for_what_departs_from_the_profile() -> None:
    assert SPEC.setting == "weizmann-quick"
    departures = {"epochs_override": 8, "amp": True, "cap_bytes": 2**20, "device": "cuda"}
    departures["overrides"] = ("test_persons=../../fold eli",)
    settings = [RunSpec(**{**BASE, name: value}).setting for name, value in departures.items()]
    assert len({SPEC.setting, *settings}) == 6
    assert not any("/" in setting or " " in setting for setting in settings)
    assert SPEC.folder_name == f"kth_table2/weizmann-quick/stdcf-full-s0-{SPEC.run_id}"


def test_savers_have_one_spelling() -> None:
    """However they are written, the same savers are the same run; bf16 is amp."""
    spec = RunSpec(**{**BASE, "savers": ("checkpoint", "bf16", "accumulate=4")})
    again = RunSpec(**{**BASE, "savers": ("accumulate=04", "checkpoint"), "amp": True})
    assert spec == again
    assert spec.run_id == again.run_id
    assert (spec.amp, spec.savers) == (True, ("checkpoint", "accumulate=4"))
    assert spec.techniques == ("bf16", "checkpoint", "accumulate=4")
    assert RunSpec(**{**BASE, "savers": ("bf16",)}).run_id == RunSpec(**BASE, amp=True).run_id
    assert parse_spec(spec.model_dump_json()) == spec


@pytest.mark.parametrize("own", [{"optimizer": "sgd"}, {"atom_lr": 10.0}, {"weight_decay": 0.1}])
def test_another_optimiser_needs_a_fresh_state(own: dict[str, Any]) -> None:
    first = Stage(name="a", epochs=1, lr=0.1)
    second = Stage(name="b", epochs=1, lr=0.1, fresh_optimizer=False, **own)
    data = {**BASE, "stages": (first, second)}
    with pytest.raises(ValidationError, match=f"its {next(iter(own))} cannot change"):
        RunSpec.model_validate(data)


def test_a_later_field_of_a_stage_changes_no_older_id() -> None:
    """The id of a spec that was written before stages had rates of atoms and recalibration."""
    old = {**BASE, "stages": [{"name": "full", "epochs": 2, "lr": 1e-3}]}
    new = {**BASE, "stages": [Stage(name="full", epochs=2, lr=1e-3, atom_lr=1.0)]}
    assert RunSpec(**old).run_id == RunSpec(**new).run_id
    for own in ({"atom_lr": 10.0}, {"recalibrate": True}, {"no_decay": ("bias",)}):
        changed = {**BASE, "stages": [Stage(name="full", epochs=2, lr=1e-3, **own)]}
        assert RunSpec(**changed).run_id != RunSpec(**old).run_id


def test_a_change_is_checked_as_a_new_spec_is() -> None:
    assert SPEC.changed(seed=7) == SPEC.model_copy(update={"seed": 7})
    for wrong in ({"seed": -1}, {"sead": 1}, {"starts_from": "imagenet:abc"}, {"stages": ()}):
        with pytest.raises(ValidationError):
            SPEC.changed(**wrong)
    for origin in ("imagenet", "kinetics400", f"imagenet:{'0a' * 32}", f"kinetics400:{'b1' * 32}"):
        bound = SPEC.changed(starts_from=origin)
        assert parse_spec(bound.model_dump_json()) == bound
    with pytest.raises(ValidationError):
        SPEC.stages[0].changed(milestones=(9, 3))
