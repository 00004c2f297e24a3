"""Weights of one network as the start of another with other classes."""

import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.training.checkpoint import save_checkpoint
from stdcf.training.transfer import head_names, load_with_new_head, read_weights
from suites.engine.catalog import build

ATOMS = {"num_spatial_atoms": 2, "num_temporal_atoms": 2}


def network(num_classes: int) -> nn.Module:
    return build(
        "kth_cnn", num_classes=num_classes, in_channels=3, layer="stdcf", layer_options=ATOMS
    )


def seeded(seed: int, num_classes: int) -> nn.Module:
    torch.manual_seed(seed)
    return network(num_classes)


# Its scales each end in a classifier of their own.
@pytest.mark.parametrize(
    ("model", "heads"), [("tsm_r50", {"fc.weight", "fc.bias"}), ("trn_r50", None)]
)
def test_the_head_is_what_changes_with_the_classes(model, heads):
    head = head_names(partial(_by_name, model), 5)
    shapes = {name: t.shape for name, t in _by_name(model, 5).state_dict().items()}
    if heads is not None:
        assert head == heads
    assert all(shapes[name][0] == 5 for name in head)
    assert {name for name, shape in shapes.items() if 5 in shape} == head
    assert model != "trn_r50" or len(head) == 2 * 7  # of 2 to 8 frames


def _by_name(model: str, num_classes: int) -> nn.Module:
    return build(model, num_classes=num_classes, in_channels=3)


# With as many classes, too, the old classifier stands for other classes.
@pytest.mark.parametrize("classes", [4, 7])
def test_all_but_the_head_is_taken(classes):
    source, model = seeded(0, 7), seeded(1, classes)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    head = head_names(network, classes)
    load_with_new_head(model, source.state_dict(), head)
    assert head
    for name, value in model.state_dict().items():
        expected = own[name] if name in head else source.state_dict()[name]
        assert torch.equal(value, expected), name
    body = [n for n in own if n not in head and not torch.equal(own[n], source.state_dict()[n])]
    assert body, "else nothing was there to take"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.popitem(last=False), "is missing"),
        (lambda weights: weights.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda weights: weights.update({next(iter(weights)): torch.zeros(9, 9)}),
            r"is \[9, 9\], not",
        ),
    ],
)
def test_another_network_is_refused_and_nothing_changes(change, message):
    weights, model = seeded(0, 7).state_dict(), seeded(1, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change(weights)
    with pytest.raises(UserError, match=f"another network: .*{message}") as error:
        load_with_new_head(model, weights, head_names(network, 4))
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_files_of_either_kind_are_read(tmp_path):
    weights = network(3).state_dict()
    save_checkpoint(tmp_path / "ours.pt", weights)
    torch.save(weights, tmp_path / "torch.pt")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "wrapped.pt")
    for name in ("ours", "torch", "wrapped"):
        found = read_weights(tmp_path / f"{name}.pt")
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[key], weights[key]) for key in weights)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_code_in_a_file_is_not_run(tmp_path):
    mark = tmp_path / "run"
    torch.save({"weight": Evil(mark)}, tmp_path / "evil.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Evil(mark)))
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("evil", "pickle", "text", "list"):
        with pytest.raises(UserError, match=rf"{name}\.pt holds no"):
            read_weights(tmp_path / f"{name}.pt")
    assert not mark.exists()
