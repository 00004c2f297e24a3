"""Parameter groups: which rate and decay each parameter has, and what a step then does."""

from functools import partial

import pytest
import torch
from torch import nn

from baselines.layers import Rank1Conv3d
from baselines.models import create_baseline
from stdcf import Stage, STDCFConv3d, param_groups
from stdcf.errors import UserError
from stdcf.layers.shared import share_atoms
from stdcf.models import create_model
from stdcf.stages.optimizers import make_optimizer, set_rate, take_step


def network(layer: object = STDCFConv3d) -> nn.Module:
    torch.manual_seed(0)
    return create_model("kth_cnn", conv=layer, num_classes=3, in_channels=1)


def by_name(model: nn.Module, groups: list[dict]) -> dict[str, tuple[float, float]]:
    """Name -> rate and decay."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_every_parameter_is_in_one_group_with_its_rate_and_decay() -> None:
    model = network()
    groups = param_groups(
        model, 0.5, atom_lr=10, weight_decay=0.25, no_decay=("bias", "norm", "atoms")
    )
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    rates = by_name(model, groups)
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm3d)}
    for name, (lr, decay) in rates.items():
        atom = name.endswith(("spatial_atoms", "temporal_atoms"))
        plain = atom or name.endswith("bias") or name.rpartition(".")[0] in norms
        assert lr == (5.0 if atom else 0.5), name
        assert decay == (0.0 if plain else 0.25), name
    assert sum(lr == 5.0 for lr, _ in rates.values()) == 6
    assert {name for name, (_, decay) in rates.items() if decay} == {
        *(n for n in rates if n.endswith("coefficients")),
        _classifier(model),
    }


def _classifier(model: nn.Module) -> str:
    (name,) = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    return f"{name}.weight"


@pytest.mark.parametrize("layer", [nn.Conv3d, Rank1Conv3d])
def test_layers_without_atoms_have_one_rate(layer: type[nn.Module]) -> None:
    (group,) = param_groups(network(layer), 0.5, atom_lr=10)
    assert (group["lr"], group["weight_decay"], group["lr_scale"]) == (0.5, 0.0, 1.0)


def test_atoms_that_layers_share_stand_in_one_group() -> None:
    model = network()
    layers = [m for m in model.modules() if isinstance(m, STDCFConv3d)]
    share_atoms(model)
    groups = param_groups(model, 1.0, atom_lr=3)
    (atoms,) = [g for g in groups if g["lr"] == 3]
    assert [id(p) for p in atoms["params"]] == [
        id(layers[0].spatial_atoms),
        id(layers[0].temporal_atoms),
    ]


@pytest.mark.parametrize(
    "make", [torch.optim.Adam, torch.optim.AdamW, partial(torch.optim.SGD, momentum=0.9)]
)
def test_the_first_step_moves_atoms_by_the_factor(make: type[torch.optim.Optimizer]) -> None:
    """The same gradient: the step is proportional to the rate, for Adam and for SGD."""
    moved = {}
    for factor in (1.0, 10.0):
        model = network()
        optimizer = make(param_groups(model, 1e-3, atom_lr=factor))
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        torch.manual_seed(1)
        model(torch.rand(2, 1, 8, 16, 16)).square().sum().backward()
        optimizer.step()
        moved[factor] = {n: p.detach() - before[n] for n, p in model.named_parameters()}
    for name, step in moved[1.0].items():
        times = 10.0 if name.endswith("_atoms") else 1.0
        torch.testing.assert_close(moved[10.0][name], times * step, rtol=1e-3, atol=1e-6)


def test_a_stage_sets_rates_and_its_schedule_keeps_their_ratio() -> None:
    model = network()
    stage = Stage(name="full", epochs=2, lr=1e-3, atom_lr=10, milestones=(1,))
    optimizer = make_optimizer(model, stage)
    for epoch, expected in ((0, [1e-3, 1e-2]), (1, [1e-4, 1e-3])):
        set_rate(optimizer, stage.lr_at(epoch))
        assert sorted(g["lr"] for g in optimizer.param_groups) == pytest.approx(expected)


def test_wrong_words_are_refused() -> None:
    with pytest.raises(UserError, match="no_decay takes bias, norm, atoms, not biases"):
        param_groups(network(), 1.0, no_decay=("biases",))
    with pytest.raises(UserError, match="atom_lr must be above 0, not 0"):
        param_groups(network(), 1.0, atom_lr=0)


def test_biases_and_the_classifier_have_rates_of_their_own_as_tsms() -> None:
    """TSM: BatchNorm 1, biases 2, the classifier 5 and its bias 10; only weights decay."""
    model = create_baseline("tin_r50", num_classes=3, num_frames=4)
    stage = Stage(
        name="full",
        epochs=1,
        lr=0.01,
        optimizer="sgd",
        nesterov=True,
        weight_decay=5e-4,
        no_decay=("bias", "norm"),
        bias_lr=2,
        head_lr=5,
    )
    optimizer = make_optimizer(model, stage)
    assert all(group["nesterov"] for group in optimizer.param_groups)
    found = by_name(model, optimizer.param_groups)
    norms = (nn.BatchNorm2d,)
    for module_name, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            whole = f"{module_name}.{name}"
            if isinstance(module, norms):
                expected = (1, 0)
            elif module_name == "fc":
                expected = (5, 1) if name == "weight" else (10, 0)
            else:
                expected = (1, 1) if name == "weight" else (2, 0)
            assert found[whole] == pytest.approx((0.01 * expected[0], 5e-4 * expected[1])), whole


def test_a_model_without_a_classifiers_name_has_no_rate_for_it() -> None:
    with pytest.raises(UserError, match="head_lr is for the module fc or head, which Conv3d lacks"):
        param_groups(nn.Conv3d(1, 1, 1), 1.0, head_lr=5)
    with pytest.raises(UserError, match="bias_lr must be above 0, not 0"):
        param_groups(network(), 1.0, bias_lr=0)


@pytest.mark.parametrize("norm", [0.5, 50.0])
def test_the_gradient_is_cut_to_its_norm(norm: float) -> None:
    layer = nn.Linear(2, 2)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    stage = Stage(name="full", epochs=1, lr=1.0, optimizer="sgd", clip_norm=norm)
    optimizer = make_optimizer(layer, stage)
    layer.weight.grad = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    layer.bias.grad = torch.tensor([0.0, 12.0])
    # √(1 + 4 + 4 + 16 + 144) = 13
    take_step(layer, optimizer, stage)
    moved = before["bias"] - layer.bias.detach()
    torch.testing.assert_close(moved, torch.tensor([0.0, 12.0 * min(norm / 13, 1)]))
    assert layer.weight.grad is None
