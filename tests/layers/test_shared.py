"""Shared atoms: one tensor for all layers, the filters' variance kept, ITSL's parts as ever."""

from functools import partial

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.layers import STDCFConv3d
from stdcf.layers.shared import share_atoms
from stdcf.models import create_model
from stdcf.stages.apply import apply_stage
from stdcf.stages.stage import itsl

CONV = partial(STDCFConv3d, num_spatial_atoms=3, num_temporal_atoms=2, plan="composed")


def test_all_layers_have_the_atoms_of_the_first() -> None:
    own = create_model("kth_cnn", conv=CONV)
    shared = create_model("kth_cnn", conv=CONV, share_atoms=True)
    layers = [m for m in shared.modules() if isinstance(m, STDCFConv3d)]
    assert len({id(layer.spatial_atoms) for layer in layers}) == 1
    assert len({id(layer.temporal_atoms) for layer in layers}) == 1
    counts = [sum(p.numel() for p in model.parameters()) for model in (own, shared)]
    # Two layers fewer with 3·9 spatial and 2·3 temporal taps.
    assert counts[0] - counts[1] == 2 * (3 * 9 + 2 * 3)


def test_filters_keep_their_variance() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(CONV(64, 64, 3) for _ in range(3)))
    before = [layer.compose_weight().detach().std() for layer in model]  # type: ignore[operator]
    assert share_atoms(model) == ["0", "1", "2"]
    after = [layer.compose_weight().detach().std() for layer in model]  # type: ignore[operator]
    # 24,576 coefficients a layer: the mean square of the taps is met within a few percent.
    for one, other in zip(before, after, strict=True):
        assert float(other) == pytest.approx(float(one), rel=0.05)


def test_a_step_moves_the_shared_atoms_once_and_weights_come_back() -> None:
    torch.manual_seed(0)
    model = create_model("kth_cnn", conv=CONV, share_atoms=True)
    apply_stage(model, itsl(1, epochs=1, lr=1e-3)[0])
    first, *others = (m for m in model.modules() if isinstance(m, STDCFConv3d))
    assert not first.spatial_atoms.requires_grad
    assert first.temporal_atoms.requires_grad
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = first.temporal_atoms.detach().clone()
    model(torch.randn(2, 1, 8, 16, 16)).sum().backward()
    optimizer.step()
    assert not torch.equal(first.temporal_atoms, before)
    assert all(layer.temporal_atoms is first.temporal_atoms for layer in others)

    again = create_model("kth_cnn", conv=CONV, share_atoms=True)
    again.load_state_dict(model.state_dict())
    apply_stage(again, itsl(1, epochs=1, lr=1e-3)[0])
    clip = torch.randn(1, 1, 8, 16, 16)
    assert torch.equal(again.eval()(clip), model.eval()(clip))


def test_without_atoms_to_share_it_is_refused() -> None:
    with pytest.raises(UserError, match="share_atoms: atoms are shared by at least 2 STDCF layers"):
        create_model("kth_cnn", share_atoms=True)
    with pytest.raises(ValueError, match="1 has atoms of another number"):
        share_atoms(nn.Sequential(CONV(1, 2, 3), CONV(1, 2, (3, 5, 5))))
