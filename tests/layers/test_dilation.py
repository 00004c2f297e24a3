"""set_dilation on whole models: what it finds, skips, asks and refuses."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from baselines.layers import Rank1Conv3d
from stdcf import STDCFConv3d, set_dilation


class Asked(nn.Module):
    """A user's layer with a set_dilation of its own, which changes itself before it refuses."""

    def __init__(self, limit: int = 9) -> None:
        super().__init__()
        self.inner = nn.Conv3d(2, 2, 3, padding=1)
        self.limit = limit
        self.calls: list[tuple[int, int]] = []

    def set_dilation(self, temporal: int, spatial: int) -> None:
        self.calls.append((temporal, spatial))
        if temporal > self.limit:
            raise ValueError("too far")


class WithStem(nn.Module):
    dilation_skip = ("stem",)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU())
        self.body = nn.Conv3d(2, 2, 3, padding=1)


def mixed() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "dense": nn.Conv3d(2, 2, 3, padding=1),
            "point": nn.Conv3d(2, 2, 1),
            "frame": nn.Conv3d(2, 2, (1, 3, 3), padding=(0, 1, 1)),
            "time": nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0)),
            "image": nn.Conv2d(2, 2, 3, padding=1),
            "transposed": nn.ConvTranspose3d(2, 2, 3),
            "rank1": Rank1Conv3d(2, 2, 3, padding=1),
            "nested": nn.Sequential(nn.ReLU(), STDCFConv3d(2, 2, 3, padding=1)),
        }
    )


def test_sets_only_layers_that_span_space_and_time() -> None:
    model = mixed()
    assert set_dilation(model, 2, 3) == ["dense", "rank1", "nested.1"]
    assert model["dense"].dilation == model["dense"].padding == (2, 3, 3)
    assert model["nested"][1].dilation == model["nested"][1].padding == (2, 3, 3)
    assert model["rank1"].spatial.dilation == (1, 3, 3)
    assert model["rank1"].spatial.padding == (0, 3, 3)
    assert model["rank1"].temporal.dilation == (2, 1, 1)
    assert model["rank1"].temporal.padding == (2, 0, 0)
    for name in ("point", "frame", "time", "image", "transposed"):
        assert set(model[name].dilation) == {1}, name


def test_numbers_are_absolute() -> None:
    model = mixed()
    for _ in range(3):
        set_dilation(model, 2, 2)
    assert model["dense"].dilation == (2, 2, 2)
    set_dilation(model, 1, 1)
    assert model["dense"].padding == (1, 1, 1)
    assert model["rank1"].temporal.padding == (1, 0, 0)


def test_default_dilates_time_alone() -> None:
    conv = nn.Conv3d(2, 2, 3, padding=1)
    assert set_dilation(conv) == [""]
    assert conv.dilation == (2, 1, 1)


def test_skip_leaves_a_module_and_all_inside_it() -> None:
    model = mixed()
    assert set_dilation(model, 2, 1, skip=["nested", "dense"]) == ["rank1"]
    assert model["nested"][1].dilation == (1, 1, 1)
    assert set_dilation(model, 2, 1, skip=(name for name in ["nested.1"])) == ["dense", "rank1"]
    with pytest.raises(ValueError, match="no module of the model: absent, other"):
        set_dilation(model, 2, 1, skip=["absent", "dense", "other"])


@pytest.mark.parametrize("wrap", [False, True], ids=["alone", "inside another"])
def test_a_models_own_skip(wrap: bool) -> None:
    model: nn.Module = WithStem()
    if wrap:
        model = nn.Sequential(nn.Identity(), model)
    prefix = "1." if wrap else ""
    assert set_dilation(model, 2, 2) == [f"{prefix}body"]
    assert set_dilation(model, 2, 2, skip=[f"{prefix}body"]) == []


def test_a_module_of_its_own_is_asked_once_and_not_entered() -> None:
    model = nn.Sequential(Asked(), nn.Conv3d(2, 2, 3, padding=1))
    assert set_dilation(model, 2, 3) == ["0", "1"]
    assert model[0].calls == [(2, 3)]
    assert model[0].inner.dilation == (1, 1, 1)


def test_a_refusal_by_a_users_layer_changes_nothing() -> None:
    model = nn.Sequential(nn.Conv3d(2, 2, 3, padding=1), Asked(), Asked(limit=1))
    with pytest.raises(ValueError, match=r"^2: too far"):
        set_dilation(model, 2, 1)
    assert model[0].dilation == (1, 1, 1)
    assert model[1].calls == model[2].calls == []


@pytest.mark.parametrize(("temporal", "spatial"), [(0, 1), (1, 0), (-2, 1)])
def test_dilations_below_one_are_refused(temporal: int, spatial: int) -> None:
    with pytest.raises(ValueError, match=f"temporal={temporal}, spatial={spatial}"):
        set_dilation(mixed(), temporal, spatial)


@pytest.mark.parametrize("conv", [nn.Conv3d, STDCFConv3d, Rank1Conv3d])
def test_a_padding_that_would_be_negative_is_refused(conv: type[nn.Module]) -> None:
    model = nn.Sequential(conv(1, 1, 3, padding=0, dilation=2))
    with pytest.raises(ValueError, match="padding 0 at a filter extent of 5 would become -1 at 3"):
        set_dilation(model, 1, 1)


def test_reparametrised_convolutions_are_set_in_place() -> None:
    conv = weight_norm(nn.Conv3d(2, 2, 3, padding=1))
    optimised = list(conv.parameters())
    assert set_dilation(nn.Sequential(conv), 2, 2) == ["0"]
    assert conv(torch.randn(1, 2, 6, 6, 6)).shape == (1, 2, 6, 6, 6)
    assert all(p is q for p, q in zip(optimised, conv.parameters(), strict=True))


def test_gradients_and_optimiser_survive() -> None:
    model = mixed()
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    set_dilation(model, 2, 2)
    assert all(p is q for p, q in zip(parameters, model.parameters(), strict=True))
    assert all(p.grad is not None for p in model.parameters())
