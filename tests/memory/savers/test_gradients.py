"""Every saver's gradients against the plain step's."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf.memory.savers import learn, parse_savers

EXACT = (
    "checkpoint",
    "recompute",
    "offload",
    "checkpoint,recompute",
    "checkpoint,offload",
    "recompute,offload",
    "checkpoint,recompute,offload",
)


@pytest.mark.parametrize("savers", EXACT)
@pytest.mark.parametrize("network", ["kth_cnn", "residual", "plain"])
def test_exact_savers_change_no_bit(network, savers, made, batch, learnt):
    """Gradients, running statistics and the generator's state (kth_cnn has dropout)."""
    model, (clip, label) = made(network), batch()
    assert learnt(model, savers, clip, label).same(learnt(model, "", clip, label))


@pytest.mark.parametrize("network", ["kth_cnn", "residual"])
def test_bf16_is_torchs_own_autocast(network, made, batch, learnt):
    model, (clip, label) = made(network), batch()
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(clip), label)
    loss.backward()
    found = learnt(made(network), "bf16", clip, label)
    assert all(torch.equal(p.grad, found.gradients[n]) for n, p in model.named_parameters())


def test_bf16_is_within_its_rounding(made, batch, learnt):
    """Without normalisation, whose small batches magnify it: a few roundings of 2^-8 a layer."""
    model, (clip, label) = made("plain"), batch()
    error = learnt(model, "bf16", clip, label).error(learnt(model, "", clip, label))
    assert 0 < error < 4 * 2**-8


@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_accumulation_without_batch_statistics_is_the_whole_batch(parts, made, batch, learnt):
    """In any number of parts, also of unequal size or more than there are clips.

    In float64: rounding depends on the number of clips, and in float32 it may turn a ReLU over.
    """
    for model in (made("plain").double(), made("kth_cnn").eval().double()):
        clip, label = batch()
        plain = learnt(model, "", clip.double(), label)
        found = learnt(model, f"accumulate={parts}", clip.double(), label)
        assert found.error(plain) < 1e-12


def test_accumulation_with_batch_statistics_is_the_mean_of_the_micro_batches(made, batch, learnt):
    model, (clip, label) = made("residual"), batch()
    found = learnt(model, "accumulate=2", clip, label)
    halves = [learnt(model, "", clip[part], label[part]) for part in (slice(0, 2), slice(2, 4))]
    for name, gradient in found.gradients.items():
        mean = sum(half.gradients[name] for half in halves) / 2
        torch.testing.assert_close(gradient, mean, rtol=1e-4, atol=1e-6)
    assert learnt(model, "", clip, label).error(found) > 1e-3
    # Running statistics move once a micro-batch: two steps of 0.1 from 0 to the halves' means.
    assert found.buffers["stem.1.num_batches_tracked"] == 2
    first, second = (half.buffers["stem.1.running_mean"] for half in halves)
    torch.testing.assert_close(found.buffers["stem.1.running_mean"], 0.9 * first + second)


@pytest.mark.parametrize(("network", "bound"), [("kth_cnn", 0.01), ("residual", 0.01)])
def test_int8_gradients_are_near(network, bound, made, batch, learnt):
    model, (clip, label) = made(network), batch()
    found = learnt(model, "int8", clip, label)
    assert 0 < found.error(learnt(model, "", clip, label)) < bound


def test_int8_of_a_linear_layer_is_within_its_bound():
    """|dW| error <= sum over rows of |output gradient| * block range / 255, element by element."""
    torch.manual_seed(0)
    layer, x_NK = nn.Linear(256, 16, bias=False), torch.randn(128, 256)
    weights = torch.randn(128, 16)
    gradients = []
    for savers in ("", "int8"):
        layer.weight.grad = None
        # The batch itself is never packed, so something has to stand between it and the layer.
        learn(
            nn.Sequential(_Twice(), layer),
            x_NK,
            weights,
            lambda out, target: (out * target).sum(),
            parse_savers(savers),
        )
        gradients.append(layer.weight.grad)
    exact, found = gradients
    step_N = (2 * x_NK).amax(1) - (2 * x_NK).amin(1)
    bound = (weights.abs() * step_N[:, None] / 255).sum(0)[:, None]
    assert (exact - found).abs().max() > 0
    assert ((exact - found).abs() <= bound + 1e-4).all()


class _Twice(nn.Module):
    def forward(self, x):
        return 2 * x


def test_int8_leaves_what_others_start_again_from(made, batch, learnt):
    """Errors do not grow through recomputed blocks: with checkpoint no bit differs here."""
    model, (clip, label) = made("kth_cnn"), batch()
    plain = learnt(model, "", clip, label)
    assert learnt(model, "checkpoint,int8", clip, label).same(plain)
    assert learnt(model, "recompute,int8", clip, label).error(plain) < 0.01


def test_the_loss_and_the_scores_are_the_plain_ones(made, batch):
    model, (clip, label) = made("plain"), batch()
    seen = []
    learn(
        model,
        clip,
        label,
        F.cross_entropy,
        parse_savers("accumulate=4,checkpoint"),
        learnt=lambda *part: seen.append(part),
    )
    assert [len(target) for _, target, _ in seen] == [1, 1, 1, 1]
    scores = torch.cat([output for output, _, _ in seen])
    torch.testing.assert_close(scores, model(clip).detach())
    mean = sum(float(loss) for _, _, loss in seen) / 4
    assert mean == pytest.approx(float(F.cross_entropy(model(clip), label).detach()), rel=1e-5)
    assert not any(tensor.requires_grad for part in seen for tensor in part)


def test_what_a_user_loss_weighs_is_weighed(made, batch):
    model, (clip, label) = made("plain"), batch()
    learn(model, clip, label, F.cross_entropy, weigh=lambda loss: 3 * loss)
    three = model.head.bias.grad.clone()
    model.head.bias.grad = None
    learn(model, clip, label, F.cross_entropy, parse_savers("accumulate=2"))
    torch.testing.assert_close(three, 3 * model.head.bias.grad)
