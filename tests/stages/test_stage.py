"""Stages and schedules, against Algorithm 1 and §3.1."""

import math

import pytest
from pydantic import ValidationError

from stdcf.stages.stage import Stage, full_size, itsl, total_cost

CLIP = (16, 60, 80)


def test_itsl_is_the_papers() -> None:
    stages = itsl(3, epochs=40, lr=1e-3, milestones=(20,))
    assert [stage.name for stage in stages] == ["t1", "s1", "t2", "s2", "t3", "s3"]
    for stage in stages[::2]:
        assert stage.clip_shape(CLIP) == (16, 30, 40)
        assert stage.dilation == (2, 1)
        assert stage.trains == ("temporal", "joint")
        assert stage.relative_cost() == 1 / 4
    for stage in stages[1::2]:
        assert stage.clip_shape(CLIP) == (8, 60, 80)
        assert stage.dilation == (1, 2)
        assert stage.trains == ("spatial", "joint")
        assert stage.relative_cost() == 1 / 2
    for stage in stages:
        assert stage.test_dilation == (2, 2)
        assert (stage.epochs, stage.lr, stage.milestones) == (40, 1e-3, (20,))


def test_itsl_costs_two_and_a_quarter_times_full_size() -> None:
    full = total_cost(full_size(epochs=40, lr=1e-3))
    assert full == 40
    assert total_cost(itsl(3, epochs=40, lr=1e-3)) == 2.25 * full


def test_itsl_with_other_factors() -> None:
    t1, s1 = itsl(1, epochs=1, lr=1.0, beta=4, gamma=2)
    assert t1.clip_shape((2, 3, 8, 224, 224)) == (2, 3, 8, 56, 56)
    assert s1.clip_shape((2, 3, 8, 224, 224)) == (2, 3, 4, 224, 224)
    assert (t1.dilation, s1.dilation) == ((2, 1), (1, 4))
    assert t1.test_dilation == s1.test_dilation == (2, 4)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"beta": 0}, {"gamma": -1}])
def test_itsl_refuses_what_is_no_schedule(wrong: dict[str, int]) -> None:
    options = {"iterations": 1, "epochs": 1, "lr": 1.0} | wrong
    with pytest.raises(ValueError, match="iterations, beta and gamma must be at least 1"):
        itsl(options.pop("iterations"), **options)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 2)])
def test_full_size_is_one_stage_tested_as_trained(dilation: tuple[int, int]) -> None:
    (stage,) = full_size(epochs=40, lr=1e-3, milestones=[20], dilation=dilation)
    assert stage.clip_shape(CLIP) == CLIP
    assert stage.dilation == stage.test_dilation == dilation
    assert stage.trains == ("spatial", "temporal", "joint")
    assert stage.relative_cost() == 1


def test_learning_rate_falls_at_each_milestone() -> None:
    stage = Stage(name="x", epochs=40, lr=1e-3, milestones=(20, 30))
    rates = [stage.lr_at(epoch) for epoch in range(40)]
    assert rates[:20] == [1e-3] * 20
    assert rates[20:30] == pytest.approx([1e-4] * 10)
    assert rates[30:] == pytest.approx([1e-5] * 10)


@pytest.mark.parametrize(
    ("frames", "stride", "kept"), [(16, 2, 8), (15, 2, 8), (1, 2, 1), (17, 4, 5)]
)
def test_frames_kept_are_those_of_a_slice(frames: int, stride: int, kept: int) -> None:
    stage = Stage(name="x", epochs=1, lr=1.0, temporal_stride=stride)
    assert stage.clip_shape((frames, 1, 1))[0] == kept == len(range(frames)[::stride])


def test_a_clip_never_shrinks_to_nothing() -> None:
    stage = Stage(name="x", epochs=1, lr=1.0, spatial_scale=0.25)
    assert stage.clip_shape((1, 1, 9)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("temporal_stride", 0),
        ("temporal_stride", 1.5),
        ("spatial_scale", 0),
        ("spatial_scale", 2),
        ("dilation", (1,)),
        ("dilation", (1, 0)),
        ("test_dilation", 2),
        ("trains", ("spatial", "bias")),
        ("epochs", 0),
        ("epochs", -3),
        ("epochs", "many"),
        ("lr", 0),
        ("lr", float("nan")),
        ("lr", float("inf")),
        ("milestones", (0,)),
        ("milestones", (20, 10)),
        ("milestones", (20, 20)),
        ("gamma", -0.1),
        ("momentum", 0.9),
    ],
)
def test_a_wrong_key_or_value_is_named(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Stage(**{"name": "x", "epochs": 1, "lr": 1.0} | {field: value})


def test_is_frozen_hashable_and_survives_json() -> None:
    stage = itsl(1, epochs=3, lr=1e-3, milestones=(2,))[0]
    with pytest.raises(ValidationError, match="frozen"):
        stage.epochs = 4
    again = Stage.model_validate_json(stage.model_dump_json())
    assert again == stage
    assert hash(again) == hash(stage)


def test_cosine_falls_from_its_rate_towards_zero_after_a_linear_warm_up() -> None:
    stage = Stage(name="x", epochs=6, lr=0.4, warmup_epochs=2, schedule="cosine")
    rates = [stage.lr_at(epoch) for epoch in range(6)]
    assert rates == pytest.approx([0.4 / 3, 0.8 / 3, 0.4, 0.341421356, 0.2, 0.058578644])
    stepped = Stage(name="x", epochs=6, lr=0.4, warmup_epochs=1, milestones=(4,))
    assert [stepped.lr_at(e) for e in (0, 1, 4)] == pytest.approx([0.2, 0.4, 0.04])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"schedule": "cosine", "milestones": (2,)}, "takes no milestones"),
        ({"warmup_epochs": 6}, "leave none of 6"),
        ({"schedule": "linear"}, "'step' or 'cosine'"),
        ({"warmup_start": 0.1}, "need per_step"),
        ({"schedule": "cosine", "cosine_from_start": True}, "need per_step"),
        ({"per_step": True, "warmup_start": 1.0}, "less than 1"),
        ({"nesterov": True}, "nesterov is for sgd, not adam"),
        ({"clip_norm": 0}, "greater than 0"),
        ({"frozen_norm": "first"}, "'none', 'but_first' or 'all'"),
    ],
)
def test_rates_that_do_not_fit_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Stage.model_validate({"name": "x", "epochs": 6, "lr": 0.1, **wrong})


def test_per_step_rates_are_pyslowfasts() -> None:
    """Its SLOWFAST_8x8_R50: cosine over all 196 epochs, a warm-up of 34 from 0.01 to meet it."""
    stage = Stage(
        name="x",
        epochs=196,
        lr=0.1,
        schedule="cosine",
        warmup_epochs=34,
        per_step=True,
        warmup_start=0.1,
        cosine_from_start=True,
    )

    def cosine(epoch: float) -> float:
        return 0.1 * (math.cos(math.pi * epoch / 196) + 1) * 0.5

    for epoch, part in ((0, 0.0), (0, 0.5), (17, 0.0), (33, 0.75)):
        rise = (cosine(34) - 0.01) / 34
        assert stage.lr_at(epoch, part) == pytest.approx(0.01 + (epoch + part) * rise)
    for epoch, part in ((34, 0.0), (34, 0.25), (120, 0.5), (195, 0.9)):
        assert stage.lr_at(epoch, part) == pytest.approx(cosine(epoch + part))


def test_per_step_rates_are_tins() -> None:
    """Its README's cosine from ImageNet and steps from a pretrained network, one warm-up epoch."""
    warm = {"warmup_epochs": 1, "per_step": True, "warmup_start": 0.1}
    cosine = Stage.model_validate(
        {"name": "x", "epochs": 40, "lr": 0.02, "schedule": "cosine"} | warm
    )
    assert cosine.lr_at(0, 0.25) == pytest.approx(0.25 * (0.02 - 0.002) + 0.002)
    assert cosine.lr_at(1) == pytest.approx(0.02)
    assert cosine.lr_at(20, 0.5) == pytest.approx(0.01 * (1 + math.cos(math.pi * 19.5 / 39)))
    steps = {"name": "x", "epochs": 40, "lr": 0.008, "milestones": (10, 20, 30)}
    stepped = Stage.model_validate(steps | warm)
    rates = [stepped.lr_at(epoch, 0.99) for epoch in (1, 9, 10, 29, 30)]
    assert rates == pytest.approx([8e-3, 8e-3, 8e-4, 8e-5, 8e-6])


def test_a_rate_per_epoch_is_the_same_all_through_it() -> None:
    stage = Stage(name="x", epochs=6, lr=0.4, warmup_epochs=2, schedule="cosine")
    for epoch in range(6):
        assert stage.lr_at(epoch, 0.9) == stage.lr_at(epoch)
