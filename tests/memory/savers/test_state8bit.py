"""state8bit against the optimiser's own step: what it rounds, what it saves, what it refuses."""

import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory import measure_peak, predict_peak
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers import rounded as rounding

SHAPE = (2, 1, 2, 8, 8)
OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=1e-3, foreach=False),
    "adamw": partial(torch.optim.AdamW, lr=1e-3, amsgrad=True, foreach=False),
    "sgd": partial(torch.optim.SGD, lr=1e-2, momentum=0.9, foreach=False),
}


def network():
    """Layers of more and of fewer than 4096 values, one in channels_last_3d."""
    body = nn.Conv3d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv3d(64, 128, 3, padding=1)
    model = nn.Sequential(*body, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(128, 3))
    weight = model[2].weight
    weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    return model


def wide():
    """As large a state as of real networks in little, of which no layer has the most."""
    layers = [nn.Linear(512, 512) for _ in range(8)]
    return nn.Sequential(nn.Conv3d(1, 512, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), *layers)


def trained(savers, optimizer="adam", steps=1):
    torch.manual_seed(0)
    model = network()
    made = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(steps):
        clip, label = torch.rand(SHAPE), torch.randint(3, SHAPE[:1])
        learn(model, clip, label, F.cross_entropy, parse_savers(savers), optimizer=made)
        made.step()
        made.zero_grad()
    return model, made


@pytest.fixture
def torchao():
    """An optional package; its imports warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torchao.optim", reason="torchao is not installed")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_first_step_is_the_optimisers_and_its_state_is_torchaos(torchao, optimizer):
    """The state is zero before; after it the bytes are those that torchao itself makes."""
    (plain, exact), (model, made) = trained("", optimizer), trained("state8bit", optimizer)
    assert all(map(torch.equal, model.state_dict().values(), plain.state_dict().values()))
    checked = 0
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        for name, value in made.state[mine].items():
            expected = exact.state[theirs][name]
            if not rounding.is_rounded(value):
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected))
                assert mine.numel() < 4096 or name == "step"
                continue
            flat = expected.as_strided((expected.numel(),), (1,))
            signed = not name.endswith("_sq")
            own = type(value).zeros(flat.shape, signed, 256).copy_(flat)
            positive = (flat > 0) & (not signed)
            assert torch.equal(value.codes, torch.maximum(own.codes, positive))
            assert torch.equal(value.scale, own.scale)
            back = rounding.whole(value, mine)
            assert back.stride() == mine.stride()
            # Of 256 values none is further from the next than 1/64 of the largest.
            assert ((back - expected).abs() <= expected.abs().amax() / 64).all()
            checked += 1
    assert checked == {"adam": 2, "adamw": 3, "sgd": 1}[optimizer]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_many_steps_are_near_the_optimisers(torchao, optimizer):
    plain, model = (trained(savers, optimizer, 8)[0] for savers in ("", "state8bit"))
    start, _ = trained("", optimizer, 0)
    for name, value in model.state_dict().items():
        moved = (plain.state_dict()[name] - start.state_dict()[name]).norm()
        assert (value - plain.state_dict()[name]).norm() < 0.2 * moved, name


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("others", [[], ["step_in_backward"]])
def test_what_is_predicted_is_measured_and_less(torchao, optimizer, others):
    asked = {"optimizer": optimizer, "device": "cpu"}
    plain = measure_peak(wide, SHAPE, savers=others, **asked)
    real = measure_peak(wide, SHAPE, savers=[*others, "state8bit"], **asked)
    expected = predict_peak(wide, SHAPE, savers=[*others, "state8bit"], **asked)
    assert expected.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)
    # A byte of four, a scale a block and a table of 256 values; biases stay.
    assert real.breakdown["optimizer_state"] < 0.28 * plain.breakdown["optimizer_state"]
    assert real.peak_bytes < plain.peak_bytes


def test_a_checkpoint_goes_on_where_it_was(torchao, tmp_path):
    whole, _ = trained("state8bit", steps=4)
    model, optimizer = trained("state8bit", steps=2)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    again = OPTIMIZERS["adam"](model.parameters())
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    torch.manual_seed(0)
    network()
    for step in range(4):
        clip, label = torch.rand(SHAPE), torch.randint(3, SHAPE[:1])
        if step >= 2:
            learn(model, clip, label, F.cross_entropy, parse_savers("state8bit"), optimizer=again)
            again.step()
            again.zero_grad()
    assert all(map(torch.equal, model.state_dict().values(), whole.state_dict().values()))


def test_beside_the_host_it_is_refused(torchao):
    with pytest.raises(UserError, match="in 8 bits or on the host: leave one of them out"):
        parse_savers("state8bit,state_on_host")


def test_without_torchao_it_is_one_line(monkeypatch):
    def missing(name, *args):
        raise ImportError(f"No module named {name.partition('.')[0]!r}")

    monkeypatch.setattr(rounding, "import_module", missing)
    rounding.library.cache_clear()
    with pytest.raises(UserError, match="pip install torchao, or leave state8bit out") as caught:
        parse_savers("state8bit")
    assert "\n" not in str(caught.value)
    rounding.library.cache_clear()
