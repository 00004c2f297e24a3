"""fused, step_in_backward, state_on_host and freeze against the plain step: what is learnt, what it
takes, that this is what was predicted, and what is refused."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.errors import UserError
from stdcf.memory import StepMeter, measure_peak, predict_peak
from stdcf.memory.savers import learn, parse_savers
from stdcf.memory.savers.company import prepare
from stdcf.memory.step import StepOptions

# Small maps and wide layers: the peak lies in the optimiser.
SHAPE = (2, 1, 2, 6, 6)
OPTIMIZERS = {
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2, foreach=False),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, nesterov=True),
}


class Wide(nn.Module):
    """A block, a layer that is used twice, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv3d(1, 32, 3, padding=1, bias=False)
        self.stem = nn.Sequential(first, nn.BatchNorm3d(32), nn.ReLU())
        self.twice = nn.Conv3d(32, 32, 3, padding=1)
        self.wide = nn.Sequential(nn.Conv3d(32, 64, 3, padding=1), nn.ReLU())
        hidden = [layer for _ in range(4) for layer in (nn.Linear(256, 256), nn.ReLU())]
        self.head = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), *hidden, nn.Linear(256, 3))
        self.unused = nn.Linear(4, 4)

    def forward(self, clip_BCTHW):
        x = self.stem(clip_BCTHW)
        x = self.twice(torch.relu(self.twice(x)))
        return self.head(self.wide(x).mean((2, 3, 4)))


def trained(savers, optimizer="adam", steps=3, clip_norm=None, dtype=torch.float32):
    torch.manual_seed(0)
    model = Wide().to(dtype)
    made = OPTIMIZERS[optimizer]([{"params": model.stem.parameters(), "lr": 1e-3}])
    made.add_param_group({"params": [p for n, p in model.named_parameters() if "stem" not in n]})
    schedule = torch.optim.lr_scheduler.StepLR(made, 1, gamma=0.5)
    for _ in range(steps):
        clip, label = torch.rand(SHAPE, dtype=dtype), torch.randint(3, SHAPE[:1])
        learn(model, clip, label, F.cross_entropy, parse_savers(savers), optimizer=made)
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        made.step()
        made.zero_grad()
        schedule.step()
    return model, made


def same(one, other):
    return all(map(torch.equal, one[0].state_dict().values(), other[0].state_dict().values()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "savers",
    [
        "step_in_backward",
        "state_on_host",
        "step_in_backward,state_on_host",
        "checkpoint,offload,step_in_backward",
    ],
)
def test_parameters_are_the_plain_steps_bit_for_bit(savers, optimizer):
    plain, changed = trained("", optimizer), trained(savers, optimizer)
    assert same(plain, changed)
    ours, plains = (one[1].state_dict()["state"] for one in (changed, plain))
    assert ours.keys() == plains.keys()
    for mine, theirs in ((ours[key], plains[key]) for key in ours):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(torch.as_tensor(mine[k]), torch.as_tensor(theirs[k])) for k in mine)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fused_is_the_plain_step_up_to_rounding(optimizer):
    """In float64: Adam divides by the gradient's size, so that where a gradient is next to nothing
    float32's rounding decides over parts of a step, by the processor's instructions."""
    plain, _ = trained("", optimizer, dtype=torch.float64)
    fused, made = trained("fused", optimizer, dtype=torch.float64)
    assert all(group["fused"] and not group["foreach"] for group in made.param_groups)
    for mine, theirs in zip(plain.parameters(), fused.parameters(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-10)


def test_the_state_lies_on_the_host_with_clipping_and_micro_batches_as_without():
    assert same(trained("", clip_norm=0.1), trained("state_on_host", clip_norm=0.1))
    assert same(trained("accumulate=2"), trained("accumulate=2,state_on_host"))


@pytest.mark.parametrize("saver", ["step_in_backward", "state_on_host", "freeze=stem|twice"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_what_is_predicted_is_measured_and_less(saver, optimizer):
    asked = {"optimizer": optimizer, "device": "cpu"}
    plain = measure_peak(Wide, SHAPE, **asked)
    real = measure_peak(Wide, SHAPE, savers=[saver], **asked)
    expected = predict_peak(Wide, SHAPE, savers=[saver], **asked)
    assert expected.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)
    assert expected.host_bytes == real.host_bytes
    assert real.peak_bytes < plain.peak_bytes
    state_bytes = plain.breakdown["optimizer_state"]
    if saver == "state_on_host":
        assert real.host_bytes == pytest.approx(state_bytes, rel=0.01)
        assert real.breakdown["optimizer_state"] < 0.01 * state_bytes


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_fused_takes_no_temporaries_where_foreach_takes_all_parameters(optimizer):
    plain = predict_peak(Wide, SHAPE, optimizer=optimizer)
    fused = predict_peak(Wide, SHAPE, optimizer=optimizer, savers=["fused"])
    if optimizer == "adam":
        assert fused.peak_bytes < plain.peak_bytes - plain.breakdown["parameters"] / 2
    assert fused.peak_bytes <= plain.peak_bytes
    real = measure_peak(Wide, SHAPE, optimizer=optimizer, savers=["fused"], device="cpu")
    same_device = predict_peak(Wide, SHAPE, optimizer=optimizer, savers=["fused"], device="cpu")
    assert same_device.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)


def test_a_cap_knows_what_lies_on_the_host():
    real = measure_peak(Wide, SHAPE, savers=["state_on_host"], device="cpu")
    model = Wide()
    optimizer = torch.optim.Adam(model.parameters())
    meter = StepMeter(model, optimizer, cap_bytes=int(1.01 * real.peak_bytes))
    for _ in range(3):
        clip, label = torch.rand(SHAPE), torch.randint(3, SHAPE[:1])
        with meter.step(clip, label):
            savers = parse_savers("state_on_host")
            learn(model, clip, label, F.cross_entropy, savers, optimizer=optimizer)
            optimizer.step()
            optimizer.zero_grad()


def frozen(savers, names):
    torch.manual_seed(0)
    model = Wide()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(names))
    clip, label = torch.rand(SHAPE), torch.randint(3, SHAPE[:1])
    model = copy.deepcopy(model)
    learn(model, clip, label, F.cross_entropy, parse_savers(savers))
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("names", [("stem",), ("twice", "wide"), ("head.0",)])
@pytest.mark.parametrize("others", ["", "recompute,", "offload,", "int8,", "checkpoint,"])
def test_frozen_layers_leave_the_other_gradients_as_they_are(names, others):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = frozen(others.strip(","), names)
        mine = frozen(f"{others}freeze={'|'.join(names)}", names)
    assert any(gradient is not None for gradient in plain.values())
    for name, gradient in plain.items():
        assert (gradient is None) == (mine[name] is None), name
        assert gradient is None or torch.equal(gradient, mine[name]), name


def test_a_frozen_convolutions_input_is_not_kept():
    """The inputs of `twice` and `wide`, whose filters are frozen after a stem that is not."""

    def by_hand() -> nn.Module:
        model = Wide()
        for part in (model.twice, model.wide):
            part.requires_grad_(False)
        return model

    shape = (2, 1, 8, 32, 32)
    autograd = measure_peak(by_hand, shape, device="cpu")
    saver = measure_peak(Wide, shape, device="cpu", savers=["freeze=twice|wide"])
    one_map = 4 * 32 * shape[0] * shape[2] * shape[3] * shape[4]
    assert autograd.peak_bytes - saver.peak_bytes >= 0.99 * one_map


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("step_in_backward,accumulate=2", "first micro-batch's gradient"),
        ("freeze", "saver freeze needs a value, as freeze=stem"),
        ("fused=1", "takes no number: write fused"),
    ],
)
def test_it_refuses_to_read(words, said):
    with pytest.raises(UserError, match=said):
        parse_savers(words)


def one_step(saver, model=None, optimizer=torch.optim.Adam, **options):
    model = model or Wide()
    made = None if optimizer is None else optimizer(model.parameters())
    clip, label = torch.rand(SHAPE), torch.randint(3, SHAPE[:1])
    learn(model, clip, label, F.cross_entropy, parse_savers(saver), optimizer=made, **options)
    return model


@pytest.mark.parametrize("saver", ["fused", "step_in_backward", "state_on_host"])
def test_without_the_optimiser_it_is_named(saver):
    with pytest.raises(UserError, match=f"saver {saver} changes .* give learn optimizer="):
        one_step(saver, optimizer=None)


def test_what_cannot_be_is_refused_with_its_reason():
    with pytest.raises(UserError, match="LBFGS takes all at once"):
        one_step("step_in_backward", optimizer=torch.optim.LBFGS)
    with pytest.raises(UserError, match="fused: Rprop has no such option"):
        one_step("fused", optimizer=torch.optim.Rprop)
    with pytest.raises(UserError, match="before a GradScaler could look for infinities"):
        one_step("step_in_backward", weigh=torch.amp.GradScaler("cpu").scale)
    with pytest.raises(UserError, match="finds gradients before the backward pass"):
        one_step("step_in_backward", one_step(""))
    with pytest.raises(UserError, match="GradScaler"):
        predict_peak(Wide, SHAPE, autocast="float16", savers=["step_in_backward"])
    with pytest.raises(UserError, match=r"nothing in Wide is called 'layer9'; .* stem.0.weight"):
        one_step("freeze=layer9")
    with pytest.raises(UserError, match=r"freeze=\* leaves nothing of Wide to train"):
        one_step("freeze=*")


def test_frozen_parameters_get_no_state():
    options = StepOptions(savers=parse_savers("freeze=head"))
    step = options.build(Wide(), SHAPE, torch.device("cpu"))
    step.warm_up()
    held = {id(parameter) for parameter in step.optimizer.state}
    assert held
    assert not held & {id(parameter) for parameter in step.model.head.parameters()}


def test_a_trainer_refuses_clipping_by_norm_and_freezes_before_each_stage():
    model, (updates, freezes) = Wide(), parse_savers("freeze=stem,step_in_backward")[::-1]
    with pytest.raises(UserError, match="before the norm of all gradients is known"):
        prepare([updates], model, 1.0)
    prepare([updates, freezes], model, None)
    assert not any(parameter.requires_grad for parameter in model.stem.parameters())
    assert all(parameter.requires_grad for parameter in model.head.parameters())
    with pytest.raises(UserError, match="DistributedDataParallel has averaged"):
        predict_peak(Wide, SHAPE, savers=["step_in_backward"], ranks=2)


def test_a_checkpoint_goes_on_where_it_was(tmp_path):
    whole, _ = trained("state_on_host", steps=4)
    model, optimizer = trained("state_on_host", steps=2)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    rates = [group["lr"] for group in optimizer.param_groups]
    again = torch.optim.Adam(optimizer.param_groups, foreach=False)
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    assert [group["lr"] for group in again.param_groups] == rates
    torch.manual_seed(0)
    Wide()
    for step in range(4):
        clip, label = torch.rand(SHAPE), torch.randint(3, SHAPE[:1])
        if step < 2:
            continue
        savers = parse_savers("state_on_host")
        learn(model, clip, label, F.cross_entropy, savers, optimizer=again)
        again.step()
        again.zero_grad()
        for group in again.param_groups:
            group["lr"] *= 0.5
    assert all(map(torch.equal, model.state_dict().values(), whole.state_dict().values()))
