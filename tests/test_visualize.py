"""Outputs by name, and how alike they are: against the modules themselves and a plain cosine."""

import pytest
import torch
from torch import nn

from stdcf import set_dilation
from stdcf.models import create_model
from stdcf.visualize import outputs_of, share_on_motion, similarity


def test_outputs_are_those_of_the_modules() -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ReLU(), nn.Conv3d(2, 3, 1)).eval()
    x = torch.randn(2, 1, 4, 5, 6)
    found = outputs_of(model, ["2", "0"], x)
    assert list(found) == ["2", "0"]
    torch.testing.assert_close(found["0"], model[0](x))
    torch.testing.assert_close(found["2"], model(x))
    assert not any(module._forward_hooks for module in model.modules())
    assert not found["0"].requires_grad


def test_a_module_that_is_not_there_or_not_called_is_named() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Conv3d(1, 1, 1), nn.Conv3d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    x = torch.randn(1, 1, 2, 2, 2)
    with pytest.raises(ValueError, match="no module nothing"):
        outputs_of(Idle(), ["nothing"], x)
    with pytest.raises(ValueError, match="does not call spare"):
        outputs_of(Idle(), ["used", "spare"], x)


def test_similarity_is_a_cosine_after_standardising() -> None:
    torch.manual_seed(0)
    reference = torch.randn(3, 4, 2, 5, 5, dtype=torch.float64)
    other = torch.randn_like(reference)
    torch.testing.assert_close(similarity(reference, reference), torch.ones(3).double())
    # Turned over about each channel's mean it points the other way.
    mean = reference.mean((2, 3, 4), keepdim=True)
    torch.testing.assert_close(similarity(2 * mean - reference, reference), -torch.ones(3).double())
    # No channel outweighs another by its scale or its offset.
    scale, offset = torch.rand(2, 1, 4, 1, 1, 1).double() + 0.5
    torch.testing.assert_close(
        similarity(scale * other + offset, scale * reference + offset), similarity(other, reference)
    )
    # Of unit variance and mean 0 it is the plain cosine.
    std = reference.std((2, 3, 4), keepdim=True, correction=0)
    a, b = ((x - mean) / std for x in (other, reference))
    plain = (a * b).flatten(1).sum(1) / (a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1))
    torch.testing.assert_close(similarity(other, reference), plain)


def test_a_channel_that_is_constant_counts_for_nothing() -> None:
    reference = torch.randn(1, 2, 2, 3, 3)
    other = torch.randn_like(reference)
    constant = torch.full((1, 1, 2, 3, 3), 7.0)
    with_it = similarity(torch.cat([other, constant + 1], 1), torch.cat([reference, constant], 1))
    torch.testing.assert_close(with_it, similarity(other, reference))


@pytest.mark.parametrize("layer", ["regular", "stdcf"])
def test_swapped_atoms_see_the_same_moments(layer: str) -> None:
    """§2.1.2: what dilation 2 sees at tempo 1, dilation 1 sees at tempo 2, up to the time pool."""
    from suites.engine.catalog import LAYERS

    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=LAYERS[layer], num_classes=3, in_channels=1).eval()
    x = torch.randn(2, 1, 16, 16, 24)
    names = set_dilation(model, 2, 1)
    slow = outputs_of(model, names, x)
    kept = outputs_of(model, names, x[:, :, ::2])
    set_dilation(model, 1, 1)
    swapped = outputs_of(model, names, x[:, :, ::2])
    for name in names[:2]:
        moments = slow[name][:, :, ::2]
        torch.testing.assert_close(swapped[name], moments, atol=1e-5, rtol=1e-5)
        assert (similarity(kept[name], moments) < 0.99).all()


def test_share_on_motion_is_all_where_the_map_follows_what_moves() -> None:
    clip = torch.zeros(2, 1, 10, 10, 10, dtype=torch.uint8)
    clip[:, :, :, 4, 6] = torch.tensor([0, 200] * 5, dtype=torch.uint8)
    moving = torch.zeros(2, 10, 10, 10)
    moving[0, :, 4, 6] = 1
    moving[1, :, 0, 0] = 1
    # Of 1000 cells 10 move at all; the tenth that counts has these among them.
    found = share_on_motion(moving, clip)
    assert found[0] == 1
    assert share_on_motion(moving, clip, part=0.01).tolist() == [1, 0]
    coarse = torch.zeros(2, 5, 5, 5)
    coarse[:, :, 2, 3] = 1
    assert share_on_motion(coarse, clip, part=0.04).tolist() == [1, 1]


def test_share_on_motion_of_an_even_map_is_its_part() -> None:
    clip = torch.randint(0, 256, (2, 3, 8, 10, 10), dtype=torch.uint8)
    for value in (0.0, 3.0):
        even = torch.full((2, 4, 5, 5), value)
        assert share_on_motion(even, clip).tolist() == pytest.approx([0.1, 0.1])
