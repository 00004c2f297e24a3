import csv
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.layers import Rank1Conv3d
from stdcf.errors import UserError
from stdcf.layers import STDCFConv3d
from stdcf.memory import predict_peak, predict_stages
from stdcf.models import create_model
from stdcf.stages.stage import itsl

LAYERS = {"regular": nn.Conv3d, "rank1": Rank1Conv3d, "stdcf": STDCFConv3d}
CLIP = (16, 1, 16, 60, 80)
TABLE_2 = Path(__file__).parents[2] / "results/published/table2_kth.csv"
MIB = 2**20


def published():
    with TABLE_2.open() as file:
        for row in csv.DictReader(file):
            yield pytest.param(row, id=f"{row['layer']}-{row['mode']}")


def stages():
    return itsl(3, epochs=1, lr=1e-3)


def kth(layer, relu_saves="output"):
    return lambda: create_model("kth_cnn", conv=LAYERS[layer], relu_saves=relu_saves)


def peak_of(model_fn, mode, **options):
    if mode == "full":
        return predict_peak(model_fn, CLIP, **options)
    reports = predict_stages(model_fn, CLIP, stages(), **options)
    return max(reports.values(), key=lambda report: report.peak_bytes)


@pytest.mark.parametrize("row", list(published()))
def test_table_2_with_the_relu_of_2021(row):
    report = peak_of(kth(row["layer"], "input"), row["mode"], num_classes=6)
    assert report.peak_mib == pytest.approx(float(row["peak_memory_mib"]), rel=0.01)
    assert sum(report.breakdown.values()) == report.peak_bytes
    assert report.measured_by == "fake_tensors"
    assert report.input_shape == (CLIP if row["mode"] == "full" else (16, 1, 8, 60, 80))


@pytest.mark.parametrize(
    ("layer", "full_mib", "itsl_mib"),
    [("regular", 366.7, 183.9), ("rank1", 478.8, 239.7), ("stdcf", 366.0, 183.2)],
)
def test_todays_relu_needs_less(layer, full_mib, itsl_mib):
    """Against an independent simulation of the same tensors' lives."""
    assert peak_of(kth(layer), "full").peak_mib == pytest.approx(full_mib, rel=0.002)
    assert peak_of(kth(layer), "itsl").peak_mib == pytest.approx(itsl_mib, rel=0.002)


def test_the_peak_of_itsl_is_its_spatial_stage():
    reports = predict_stages(kth("stdcf"), CLIP, stages())
    assert list(reports) == [stage.name for stage in stages()]
    by_shape = {report.input_shape: report.peak_bytes for report in reports.values()}
    assert by_shape[16, 1, 8, 60, 80] > 1.5 * by_shape[16, 1, 16, 30, 40]


def test_a_prediction_takes_under_a_second_and_no_randomness():
    predict_peak(kth("regular"), (1, 1, 4, 8, 8))  # torch's own first imports
    state = torch.get_rng_state()
    start = time.process_time()  # a busy machine is not a slow prediction
    predict_peak(kth("stdcf"), CLIP)
    assert time.process_time() - start < 1
    assert torch.equal(torch.get_rng_state(), state)


class Flat(nn.Module):
    """Layers of equal size, so that a step's peak is a whole number of layers."""

    def __init__(self, count, width=2000):
        super().__init__()
        layers = [nn.Linear(width, width, bias=False) for _ in range(count)]
        self.body = nn.Sequential(*layers)

    def forward(self, clip_BCTHW):
        return self.body(clip_BCTHW.flatten(1))


@pytest.mark.parametrize(
    ("optimizer", "device", "layers"),
    [
        # Parameters, gradients and two moments of 4 layers; then Adam's loop has one layer's root
        # of the second moment, its quotient, and the layer before's; foreach all layers' roots.
        ("adam", "cpu", 4 + 4 + 8 + 3),
        ("adam", "cuda", 4 + 4 + 8 + 4),
        ("adamw", "cuda", 4 + 4 + 8 + 4),
        ("sgd", "cpu", 4 + 4 + 4),
        ("sgd", "cuda", 4 + 4 + 4),
        (torch.optim.Adam, "cuda", 4 + 4 + 8 + 4),
        (lambda params: torch.optim.Adam(params, foreach=False), "cuda", 4 + 4 + 8 + 3),
        (lambda params: torch.optim.Adam(params, fused=True), "cuda", 4 + 4 + 8),
        (torch.optim.RMSprop, "cpu", 4 + 4 + 4 + 2),
    ],
)
def test_the_optimisers_temporaries(optimizer, device, layers):
    report = predict_peak(lambda: Flat(4), (1, 1, 1, 1, 2000), optimizer=optimizer, device=device)
    assert report.peak_bytes == pytest.approx(layers * 2000**2 * 4, rel=0.01)


class Dropped(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(1, 2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, clip_BCTHW):
        return self.head(self.dropout(clip_BCTHW * self.scale).mean((1, 2, 3, 4)).unsqueeze(1))


def test_dropout_keeps_bytes_on_cuda_and_floats_on_cpu():
    kept_bytes = {
        device: predict_peak(Dropped, (4, 1, 8, 50, 50), device=device).breakdown["activations"]
        for device in ("cuda", "cpu")
    }
    values = 4 * 8 * 50 * 50
    assert kept_bytes["cuda"] == pytest.approx(1 * values, rel=0.01)
    assert kept_bytes["cpu"] == pytest.approx(4 * values, rel=0.01)


def test_autocast_halves_the_maps():
    low = predict_peak(kth("regular"), CLIP, autocast="bfloat16")
    high = predict_peak(kth("regular"), CLIP)
    indices_and_masks = 0.2
    assert 0.5 < low.peak_bytes / high.peak_bytes < 0.5 + indices_and_masks
    assert predict_peak(kth("regular"), CLIP, autocast=torch.bfloat16) == low
    # CPU's autocast pools in float32.
    assert predict_peak(kth("regular"), CLIP, autocast="bfloat16", device="cpu").peak_bytes > (
        1.3 * low.peak_bytes
    )


def test_channels_last_changes_no_sizes():
    assert (
        predict_peak(kth("rank1"), CLIP, memory_format="channels_last_3d").peak_bytes
        == predict_peak(kth("rank1"), CLIP).peak_bytes
    )


class Reads(nn.Module):
    """Its constructor reads a tensor's values, which fake tensors do not have."""

    def __init__(self):
        super().__init__()
        self.rates = [r.item() for r in torch.linspace(0, 0.1, 3)]
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))

    def forward(self, clip_BCTHW):
        return self.body(clip_BCTHW)


def test_models_that_read_values_and_models_made_before():
    made = Reads()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    state = torch.get_rng_state()
    assert (
        predict_peak(Reads, (2, 1, 2, 2, 2)).peak_bytes
        == predict_peak(lambda: made, (2, 1, 2, 2, 2)).peak_bytes
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert all(parameter.grad is None for parameter in made.parameters())


class Clip(nn.Module):
    """Gives a clip, as an autoencoder does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, clip_BCTHW):
        return self.conv(clip_BCTHW)


def test_reconstruction_and_a_loss_of_ones_own():
    named = predict_peak(Clip, (2, 1, 4, 8, 8), loss="mse")
    own = predict_peak(
        Clip, (2, 1, 4, 8, 8), loss=lambda output, target: nn.MSELoss()(output, target)
    )
    assert named.peak_bytes == own.peak_bytes
    assert named.breakdown["batch"] == 2 * 4 * 8 * 8 * 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"optimizer": "adagrad"}, "adam, adamw, sgd"),
        ({"loss": "hinge"}, "cross_entropy, mse"),
        ({"device": "tpu"}, "cpu or cuda"),
        ({"autocast": "float8"}, "bfloat16, float16"),
        ({"memory_format": "nhwc"}, "channels_last_3d"),
        ({"savers": ("checkpont",)}, "unknown saver 'checkpont'; there are bf16"),
        ({"num_classes": 7}, "the model gives 6"),
        ({"input_shape": (16, 1, 16, 60)}, "B C T H W"),
    ],
)
def test_mistakes_are_named(options, named):
    with pytest.raises(UserError, match=named):
        predict_peak(kth("regular"), **{"input_shape": (1, 1, 4, 8, 8)} | options)


def test_the_report_reads_in_mib():
    text = str(predict_peak(kth("stdcf", "input"), CLIP))
    assert text.startswith("peak 459.")
    assert "clip 16×1×16×60×80" in text
    assert "activations" in text
