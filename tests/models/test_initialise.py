"""How networks start: variances against He et al.'s formula, for every layer that is built."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.layers import Rank1Conv3d
from baselines.models.non_local import NonLocalBlock
from stdcf import STDCFConv3d
from stdcf.layers.atoms import INITS
from suites.engine.catalog import build

# fan_out of a dense 3×3×3 filter with 64 outputs.
FAN_OUT = 64 * 27


def composed(layer: nn.Module) -> Tensor:
    """The dense filter that a layer is, [C_out, C_in, kT, kH, kW]."""
    if isinstance(layer, STDCFConv3d):
        return layer.compose_weight()
    if isinstance(layer, Rank1Conv3d):
        w_s, w_t = layer.spatial.weight[:, :, 0], layer.temporal.weight[..., 0, 0]
        return torch.einsum("omt,mihw->oithw", w_t, w_s)
    assert isinstance(layer, nn.Conv3d)
    return layer.weight


@pytest.mark.parametrize(
    "conv",
    [
        *(
            partial(STDCFConv3d, num_spatial_atoms=6, num_temporal_atoms=2, init=init)
            for init in INITS
            if init != "normal"
        ),
        Rank1Conv3d,
    ],
)
def test_the_composed_filter_has_the_dense_ones_variance(conv: Any) -> None:
    torch.manual_seed(0)
    variances = []
    for _ in range(10):
        layer = conv(32, 64, 3)
        layer.reset_by_fan_out()
        assert not any(p.any() for n, p in layer.named_parameters() if n.endswith("bias"))
        variances.append(composed(layer).var().item())
    assert torch.tensor(variances).mean().item() == pytest.approx(2 / FAN_OUT, rel=0.05)


def test_in_groups_too() -> None:
    torch.manual_seed(0)
    layer = STDCFConv3d(32, 64, 3, groups=4)
    layer.reset_by_fan_out()
    assert composed(layer).var().item() == pytest.approx(2 / FAN_OUT, rel=0.1)
    rank1 = Rank1Conv3d(32, 64, 3, groups=4)
    rank1.reset_by_fan_out()
    # 16 channels between W_s and W_t are summed.
    variance = 16 * rank1.spatial.weight.var() * rank1.temporal.weight.var()
    assert variance.item() == pytest.approx(2 / FAN_OUT, rel=0.1)


def test_dcfnets_own_draw_stays_as_it_is() -> None:
    layer = STDCFConv3d(32, 64, 3, init="normal")
    layer.reset_by_fan_out()
    assert layer.coefficients.var().item() == pytest.approx(1 / (32 * 6), rel=0.1)


NETWORKS: list[tuple[str, str | None, dict[str, Any]]] = [
    *(("resnet3d_50", layer, {"stem": "conv"}) for layer in ("regular", "rank1", "stdcf")),
    ("slowfast_r50_8x8", None, {}),
    ("i3d_r50", None, {"non_local": 5}),
    ("i3d_gcn_r50", None, {}),
    *(("r2plus1d_34", layer, {}) for layer in (None, "regular", "stdcf")),
]


@pytest.mark.parametrize(("name", "layer", "options"), NETWORKS)
def test_every_network_from_scratch_starts_alike(
    name: str, layer: str | None, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = build(name, num_classes=400, layer=layer, **options)
    own = {
        m for block in model.modules() if isinstance(block, NonLocalBlock) for m in block.modules()
    }
    whole = (STDCFConv3d, Rank1Conv3d)
    inside = {m for lay in model.modules() if isinstance(lay, whole) for m in lay.children()}
    ratios = {}
    for where, module in model.named_modules():
        if module in own or module in inside or not isinstance(module, (nn.Conv3d, *whole)):
            continue
        filters = composed(module).detach()
        fan_out = filters.shape[0] * filters[0, 0].numel()
        ratios[where] = filters.var().item() * fan_out / 2
        # As many draws as the filter has; of STDCF's and rank-1's fewer are independent.
        loose = 0.35 if isinstance(module, whole) else 5 * (2 / filters.numel()) ** 0.5
        assert ratios[where] == pytest.approx(1, abs=loose), where
    assert torch.tensor(list(ratios.values())).mean().item() == pytest.approx(1, rel=0.03)
    fc = model.get_submodule("fc")
    assert isinstance(fc, nn.Linear)
    assert fc.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not fc.bias.any()


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("resnet3d_50", 16), ("slowfast_r50_8x8", 32), ("i3d_r50", 16), ("r2plus1d_34", 16)],
)
def test_a_block_begins_as_its_shortcut(name: str, blocks: int) -> None:
    model = build(name, num_classes=3)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    zeroed = [norm for norm in norms if not norm.weight.any()]
    assert len(zeroed) == blocks
    assert all((norm.weight == 1).all() for norm in norms if norm not in zeroed)
    assert not any(norm.bias.any() for norm in norms)
    # The block without a shortcut of its own is the identity on what a ReLU gave.
    block = model.get_submodule("layer1.1" if name != "slowfast_r50_8x8" else "slow.1.1").eval()
    channels = next(m for m in block.modules() if isinstance(m, nn.Conv3d)).in_channels
    x = torch.rand(1, channels, 2, 4, 4)
    assert torch.equal(block(x), x)


def test_non_local_blocks_start_in_their_own_way() -> None:
    model = build("i3d_r50", num_classes=3, non_local=5)
    block = next(m for m in model.modules() if isinstance(m, NonLocalBlock))
    assert block.query.weight.std().item() == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize(
    ("name", "head"),
    [("tsn_r50", "fc"), ("tsm_r50", "fc"), ("tin_r50", "fc"), ("trn_r50", "reduce")],
)
def test_2d_networks_start_as_their_authors(name: str, head: str) -> None:
    """new_fc of TSN, TSM, TIN and TRN; in TRN it gives the 256 features."""
    torch.manual_seed(0)
    model = build(name, num_classes=400)
    linear = model.get_submodule(head)
    assert linear.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert not linear.bias.any()
    for where, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.weight[0, 0].numel()
            variance = module.weight.var().item() * fan_out / 2
            assert variance == pytest.approx(1, abs=5 * (2 / module.weight.numel()) ** 0.5), where


class Odd(nn.Module):
    """A layer of one's own that says nothing of how it starts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv3d(*args, **kwargs)
        nn.init.constant_(self.conv.weight, 7.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        return {"spatial": [], "temporal": [], "joint": [self.conv.weight]}


def test_a_layer_of_ones_own_kind_stays_as_it_drew_itself() -> None:
    from stdcf.models import create_model

    model = create_model("resnet3d_50", conv=Odd)
    assert (model.layer1[0].conv2.conv.weight == 7).all()
