"""Loops and optimisers of a user's own under step_in_backward, state_on_host and freeze: what a
plain loop gives, or a refusal."""

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.memory.savers import learn, parse_savers

X, Y = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(3))
SAVERS = ["step_in_backward", "state_on_host", "step_in_backward,state_on_host"]


def mean_square(output, target):
    return (output - target).square().mean()


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=0.1)


class Loop:
    """Three steps by a loop, with or without savers.

    Attributes:
        values: of all parameters in the end.
    """

    def __init__(self, loop, savers="", optimizer=adamw):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
        self.optimizer, self.savers = optimizer(self.net.parameters()), parse_savers(savers)
        for index in range(3):
            loop(self, index)
        self.values = torch.cat([p.detach().flatten() for p in self.net.parameters()])

    def learn(self):
        learn(self.net, X, Y, mean_square, self.savers, optimizer=self.optimizer)

    def step(self, closure=None):
        self.optimizer.step(closure)
        self.optimizer.zero_grad()


def plainly(run, index):
    run.learn()
    run.step()


def check(loop, savers, optimizer=adamw, said=None):
    """The same as without savers, or what is said."""
    plain = Loop(loop, "", optimizer)
    if said is None:
        assert torch.equal(Loop(loop, savers, optimizer).values, plain.values)
        return
    with pytest.raises(UserError, match=said) as caught:
        Loop(loop, savers, optimizer)
    assert "\n" not in str(caught.value)
    assert "leave" in str(caught.value)


class ByNormOfAll(torch.optim.Optimizer):
    """Looks at all gradients."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        found = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = sum(p.grad.square().sum() for p in found) ** 0.5
        for parameter in found:
            parameter.sub_(0.1 * parameter.grad / norm)


class Clips(torch.optim.AdamW):
    def step(self, closure=None):
        nn.utils.clip_grad_norm_([p for g in self.param_groups for p in g["params"]], 0.1)
        return super().step(closure)


class Counts(ByNormOfAll):
    """Counts its steps in the group, as some of timm's do."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad / group["step"])


@pytest.mark.parametrize("optimizer", [ByNormOfAll, Clips, Counts])
@pytest.mark.parametrize("savers", SAVERS)
def test_a_step_that_is_not_torchs_own_is_refused(optimizer, savers):
    check(plainly, savers, optimizer, f"step of {optimizer.__name__} is not torch's own")


TORCHS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, maximize=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, centered=True),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "radam": torch.optim.RAdam,
    "nadam": torch.optim.NAdam,
    "adamax": torch.optim.Adamax,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
    "adafactor": torch.optim.Adafactor,
    "a tensor as rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.1)),
}


@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("savers", SAVERS)
def test_torchs_optimisers_are_the_plain_steps_bit_for_bit(name, savers):
    check(plainly, savers, TORCHS[name])


def clip_by_hook(parameters):
    made = torch.optim.SGD(parameters, lr=0.1)

    def clip(optimizer, args, kwargs):
        every = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(every, 0.01)

    made.register_step_pre_hook(clip)
    return made


def test_a_hook_that_clips_is_refused_or_comes_first():
    check(plainly, "step_in_backward", clip_by_hook, "hook clip_by_hook.<locals>.clip before")
    check(plainly, "state_on_host", clip_by_hook)

    def registers_later(run, index):
        if index == 1:
            run.optimizer.register_step_pre_hook(doubles)
        plainly(run, index)

    def doubles(optimizer, args, kwargs):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad.mul_(2)

    check(registers_later, "state_on_host", lambda p: torch.optim.SGD(p, lr=0.1))


def by_closure(run, index):
    def closure():
        run.optimizer.zero_grad()
        run.learn()
        return torch.zeros(())

    run.optimizer.step(closure)


def test_a_closure_is_refused_where_it_would_come_too_late():
    check(by_closure, "step_in_backward")
    check(by_closure, "state_on_host", said=r"before optimizer.step\(closure\) calls its closure")


def learns_twice(run, index):
    run.learn()
    plainly(run, index)


def changes_rate(run, index):
    run.learn()
    run.optimizer.param_groups[0]["lr"] = 0.1 / (index + 1)
    run.step()


def adds_a_loss(run, index):
    run.learn()
    (run.net[0].weight.square().sum() * 0.1).backward()
    run.step()


def leaves_steps_out(run, index):
    run.learn()
    if index != 1:
        run.step()
    run.optimizer.zero_grad()


def schedules(run, index):
    plainly(run, index)
    run.optimizer.param_groups[0]["lr"] = 0.1 / (index + 2)


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        (schedules, None),
        (learns_twice, r"optimizer.step\(\) was not called since: call it once after each learn"),
        (leaves_steps_out, r"optimizer.step\(\) was not called since"),
        (changes_rate, r"change rates after optimizer.step\(\) and not before"),
        (adds_a_loss, "gradients that came after it"),
    ],
)
def test_what_differs_from_a_plain_step_is_noticed(loop, said):
    check(loop, "state_on_host")
    check(loop, "step_in_backward", said=said)


def test_what_is_frozen_in_mid_training_does_not_move_on():
    """By momentum and weight decay, on a gradient of zeros that was left."""

    def loop(run, index):
        if index == 1:
            run.savers = parse_savers("freeze=0")
            run.before = run.net[0].weight.detach().clone()
        run.learn()
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=False)

    run = Loop(loop, "", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1))
    assert torch.equal(run.net[0].weight, run.before)


@pytest.mark.parametrize("freeze", ["", "freeze=unused"])
def test_a_map_that_is_its_own_filter_is_kept(freeze):
    """The filter is not trained, yet its values are the input's."""

    class Correlates(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.unused = nn.Linear(4, 4), nn.Linear(1, 1)

        def forward(self, x):
            y = self.linear(x).view(4, 4, 1, 4)
            return nn.functional.conv2d(y, y.detach())

    torch.manual_seed(0)
    net, x = Correlates(), torch.randn(4, 4, 4)
    y = net.linear(x).detach().view(4, 4, 1, 4)
    learn(net, x, None, lambda output, _: output.sum(), parse_savers(freeze))
    # d sum(y * w) / dy = w, summed over the filters.
    expected = y.sum(0).expand(4, 4, 1, 4).sum((0, 1, 2))
    torch.testing.assert_close(net.linear.bias.grad, expected)
