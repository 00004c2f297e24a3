"""Models of any arguments and outputs: predicted as measured, and learnt as by autograd itself."""

from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stdcf import itsl
from stdcf.errors import UserError
from stdcf.memory import CapExceeded, StepMeter, measure_peak, predict_peak, predict_stages
from stdcf.memory.savers import learn, parse_savers

SIZES = {"C": 3, "T": 4, "H": 16, "W": 16}


class Two(NamedTuple):
    scores: torch.Tensor
    features: torch.Tensor


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None
    states: tuple[torch.Tensor, ...] = ()


class Held(UserDict):
    """A mapping with its keys as attributes, as transformers' outputs are."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, 16, 3, padding=1), nn.Linear(16, 5)

    def pooled(self, clip_BCTHW):
        return F.relu(self.conv(clip_BCTHW)).mean((2, 3, 4))


class SeveralInputs(Body):
    def forward(self, clip_BCTHW, weight_B, *, scale):
        return self.head(self.pooled(clip_BCTHW) * weight_B[:, None] * scale["of"][:, None])


class Pathways(Body):
    def forward(self, pathways):
        slow, fast = pathways
        return Two(self.head(self.pooled(slow) + self.pooled(fast)), self.pooled(fast))


class FramesFirst(Body):
    def forward(self, pixel_values, labels=None):
        states = self.pooled(pixel_values.transpose(1, 2))
        logits = self.head(states)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return Output(logits, loss, (states,))


class InDict(Body):
    def forward(self, clip_BCTHW):
        states = self.pooled(clip_BCTHW)
        return Held(scores=self.head(states), features=states)


class EachClip(Body):
    def forward(self, clips_CTHW, targets):
        scores = self.head(torch.cat([self.pooled(clip[None]) for clip in clips_CTHW]))
        labels = torch.stack([target["label"] for target in targets])
        return {"label": F.cross_entropy(scores, labels), "size": scores.square().mean()}


def clip(batch, t=4, channels=3):
    return torch.rand(batch, channels, t, 16, 16)


def several_inputs(batch):
    return (clip(batch), torch.rand(batch)), {"scale": {"of": torch.rand(batch)}}


def pathways(batch):
    return ([clip(batch), clip(batch, t=8)],), {}


def frames_first(batch):
    labels = torch.arange(batch) % 5
    return (), {"pixel_values": clip(batch).transpose(1, 2), "labels": labels}


def in_dict(batch):
    return (clip(batch),), {}


def each_clip(batch):
    return ([clip(1, t=4 + n)[0] for n in range(batch)],), {
        "targets": [{"label": torch.tensor(n % 5)} for n in range(batch)]
    }


CASES = {
    "several": (SeveralInputs, several_inputs, lambda out, batch: out.square().mean()),
    "pathways": (
        Pathways,
        pathways,
        lambda out, batch: (out.scores.logsumexp(1).mean(), out[1].square().mean()),
    ),
    "frames_first": (FramesFirst, frames_first, lambda out, batch: out.loss),
    "against_batch": (
        FramesFirst,
        frames_first,
        lambda out, batch: F.cross_entropy(out.logits, batch[1]["labels"]),
    ),
    "dict": (
        InDict,
        in_dict,
        lambda out, batch: {"a": out.scores.mean(), "b": out["features"].square().mean()},
    ),
    "each_clip": (EachClip, each_clip, lambda out, batch: out),
}


@pytest.mark.parametrize("name", CASES)
def test_any_model_is_predicted_as_it_is_measured(name):
    model_fn, inputs, loss = CASES[name]
    options = {"inputs": inputs, "loss": loss, "device": "cpu"}
    predicted = predict_peak(model_fn, 7, **options)
    measured = measure_peak(model_fn, 7, **options)
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    # By hand: clips of 3 channels, 16×16, in float32, and what goes with them.
    frames = {"pathways": 4 + 8, "each_clip": sum(range(4, 11)) / 7}.get(name, 4)
    beside = {"several": 2 * 4, "frames_first": 8, "against_batch": 8, "each_clip": 8}.get(name, 0)
    assert predicted.breakdown["batch"] == 7 * (frames * 3 * 16 * 16 * 4 + beside)


@pytest.mark.parametrize("savers", ["", "accumulate=3", "recompute,offload", "int8"])
@pytest.mark.parametrize("name", CASES)
def test_any_model_learns_what_autograd_learns(name, savers):
    model_fn, inputs, loss = CASES[name]
    torch.manual_seed(0)
    plain = model_fn()
    batch = inputs(7)
    out = loss(plain(*batch[0], **batch[1]), batch)
    values = out.values() if isinstance(out, dict) else out if isinstance(out, tuple) else [out]
    sum(values).backward()
    torch.manual_seed(0)
    again = model_fn()
    learn(again, 7, None, loss, parse_savers(savers), inputs=lambda size: batch)
    # Means of parts weighted by their sizes are the whole's mean.
    rel = 0.05 if "int8" in savers else 1e-4
    for one, two in zip(plain.parameters(), again.parameters(), strict=True):
        assert (one.grad - two.grad).norm() <= rel * one.grad.norm() + 1e-8


def loaders_batch():
    torch.manual_seed(1)
    return {"video": clip(6).transpose(1, 2), "label": torch.arange(6) % 5, "path": ["a"] * 6}


@pytest.mark.parametrize("savers", ["", "accumulate=4"])
def test_a_loaders_batch_is_cut_before_inputs_see_it(savers):
    seen = []

    def inputs(batch):
        seen.append((len(batch["video"]), len(batch["path"])))
        return (), {"pixel_values": batch["video"]}

    def loss(output, batch):
        return F.cross_entropy(output.logits, batch["label"])

    batch, learnt = loaders_batch(), []
    torch.manual_seed(0)
    plain = FramesFirst()
    F.cross_entropy(plain(batch["video"]).logits, batch["label"]).backward()
    torch.manual_seed(0)
    model = FramesFirst()
    learn(
        model,
        batch,
        None,
        loss,
        parse_savers(savers),
        inputs=inputs,
        learnt=lambda output, batch, value: learnt.append((type(output), len(batch["label"]))),
    )
    sizes = [2, 2, 1, 1] if savers else [6]
    assert seen == [(n, n) for n in sizes]
    assert learnt == [(Output, n) for n in sizes]
    torch.testing.assert_close(model.conv.weight.grad, plain.conv.weight.grad)


def test_the_meter_takes_any_batch():
    def inputs(batch):
        return (), {"pixel_values": batch["video"], "labels": batch["label"]}

    def train(use_run, cap_bytes=None):
        torch.manual_seed(0)
        model = FramesFirst()
        optimizer = torch.optim.Adam(model.parameters())
        meter = StepMeter(
            model, optimizer, cap_bytes, inputs=inputs, loss=lambda out, batch: out.loss
        )
        for _ in range(2):
            if use_run:
                meter.run(loaders_batch())
                continue
            with meter.step(loaders_batch()) as (args, kwargs):
                model(*args, **kwargs).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        return meter.report.peak_bytes, model

    by_hand, model = train(False)
    by_run, same = train(True)
    assert by_run == pytest.approx(by_hand, rel=0.001)
    assert torch.equal(model.conv.weight, same.conv.weight)
    own = measure_peak(
        FramesFirst, 6, inputs=frames_first, loss=lambda out, batch: out.loss, device="cpu"
    )
    assert by_hand == pytest.approx(own.peak_bytes, rel=0.001)
    with pytest.raises(CapExceeded):
        train(True, cap_bytes=2**19)


def test_named_losses_go_by_the_logits():
    predicted = predict_peak(FramesFirst, 4, inputs=frames_first, device="cpu", num_classes=5)
    measured = measure_peak(FramesFirst, 4, inputs=frames_first, device="cpu", num_classes=5)
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    with pytest.raises(UserError, match="num_classes is 6, but the model gives 5"):
        predict_peak(FramesFirst, 4, inputs=frames_first, device="cpu", num_classes=6)


def test_inputs_may_read_values_files_and_numpy():
    def inputs(batch):
        values = torch.rand(batch, 4, 3, 16, 16).numpy()
        return (torch.from_numpy(values),), {
            "labels": torch.tensor(values[:, 0, 0, 0, 0].tolist()).long()
        }

    state = torch.get_rng_state()
    plain = predict_peak(FramesFirst, 4, inputs=frames_first, loss=lambda out, batch: out.loss)
    odd = predict_peak(FramesFirst, 4, inputs=inputs, loss=lambda out, batch: out.loss)
    assert odd.peak_bytes == plain.peak_bytes
    assert torch.equal(torch.get_rng_state(), state)


def test_views_of_one_clip_count_once():
    def inputs(batch):
        fast = clip(batch, t=8)
        return ([fast[:, :, ::2], fast],), {}

    loss = CASES["pathways"][2]
    report = predict_peak(Pathways, 4, inputs=inputs, loss=loss, device="cpu")
    assert report.breakdown["batch"] == 4 * 3 * 8 * 16 * 16 * 4
    real = measure_peak(Pathways, 4, inputs=inputs, loss=loss, device="cpu")
    assert report.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)


def test_a_stage_gives_inputs_its_clip():
    def inputs(batch, clip_shape):
        assert batch == clip_shape[0]
        return (torch.rand(clip_shape).transpose(1, 2),), {}

    stages = itsl(1, epochs=1, lr=1e-3)
    reports = predict_stages(FramesFirst, (4, 3, 8, 16, 16), stages, inputs=inputs)
    batches = [report.breakdown["batch"] for report in reports.values()]
    labels = 4 * 8
    assert batches == [4 * 3 * 8 * 8 * 8 * 4 + labels, 4 * 3 * 4 * 16 * 16 * 4 + labels]
    with pytest.raises(UserError, match="parameter clip_shape"):
        predict_stages(FramesFirst, (4, 3, 8, 16, 16), stages, inputs=frames_first)
    with pytest.raises(UserError, match="B C T H W"):
        predict_peak(FramesFirst, 4, inputs=inputs)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_float16_takes_a_scaler(device):
    options = {"inputs": frames_first, "loss": lambda out, batch: out.loss}
    half = predict_peak(FramesFirst, 8, autocast="float16", device=device, **options)
    single = predict_peak(FramesFirst, 8, device=device, **options)
    brain = predict_peak(FramesFirst, 8, autocast="bfloat16", device=device, **options)
    assert half.peak_bytes == pytest.approx(brain.peak_bytes, rel=0.01)
    assert half.peak_bytes < 0.75 * single.peak_bytes
    if device == "cpu":
        real = measure_peak(FramesFirst, 8, autocast="float16", device=device, **options)
        assert half.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"inputs": lambda n: clip(n)}, r"not a Tensor: let inputs= give it"),
        ({"inputs": lambda n: (clip(n), clip(n))}, r"not \(Tensor, Tensor\): let inputs= give it"),
        ({"inputs": lambda n: ((3,), {})}, "holds no tensor"),
        (
            {"inputs": pathways, "loss": lambda o, b: o.scores},
            r"one number, to be summed; one is \[2, 5\]",
        ),
        ({"inputs": pathways, "loss": lambda o, b: {"a": 1.0}}, "one is float"),
        ({"inputs": pathways, "loss": lambda o, b: None}, "not NoneType"),
        ({"inputs": pathways}, "the model gives a Two; a named loss takes one tensor"),
        ({"inputs": pathways, "input_shape": 0}, "at least 1, not 0"),
        ({"input_shape": 2}, "inputs= takes a number"),
    ],
)
def test_mistakes_are_named(options, named):
    with pytest.raises(UserError, match=named):
        predict_peak(Pathways, **{"input_shape": 2, "device": "cpu"} | options)


def test_batches_that_could_be_cut_in_two_ways_are_refused():
    accumulate = parse_savers("accumulate=2")

    def loss(output, batch):
        return output.scores.mean()

    with pytest.raises(UserError, match="take another batch size"):
        learn(Pathways(), 2, None, loss, accumulate, inputs=pathways)
    learn(Pathways(), 3, None, loss, accumulate, inputs=pathways)
    with pytest.raises(UserError, match="has 3 as its first dimension"):
        learn(nn.Flatten(), 3, None, loss, accumulate, inputs=lambda n: ((torch.rand(2, 2),), {}))
    with pytest.raises(UserError, match="make it a tensor if it is, a tuple if not"):
        learn(Pathways(), ((clip(3), [1, 2, 3]), {}), None, loss, accumulate)
    with pytest.raises(UserError, match="unknown size"):
        learn(EachClip(), each_clip(3), None, lambda out, batch: out, accumulate)
    with pytest.raises(UserError, match="a batch's size takes inputs="):
        learn(Pathways(), 3, None, loss)
