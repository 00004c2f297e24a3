import pytest
import torch
from torch import nn

from baselines.layers import Rank1Conv3d
from stdcf.errors import UserError
from stdcf.layers import STDCFConv3d
from stdcf.memory import CapExceeded, StepMeter, measure_peak, predict_peak
from stdcf.models import create_model
from stdcf.stages.stage import itsl

LAYERS = {"regular": nn.Conv3d, "rank1": Rank1Conv3d, "stdcf": STDCFConv3d}
CLIP = (4, 1, 16, 30, 40)
STAGES = itsl(3, epochs=1, lr=1e-3)[:2]


def kth(layer):
    return lambda: create_model("kth_cnn", conv=LAYERS[layer])


@pytest.mark.parametrize("stage", [None, *STAGES], ids=["full", "t", "s"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("layer", LAYERS)
def test_real_tensors_live_as_predicted(layer, optimizer, stage):
    options = {"device": "cpu", "optimizer": optimizer, "stage": stage}
    predicted = predict_peak(kth(layer), CLIP, **options)
    measured = measure_peak(kth(layer), CLIP, **options)
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert measured.measured_by == "tracker_cpu"
    assert measured.moment.phase == predicted.moment.phase == "backward"
    assert sum(measured.breakdown.values()) == measured.peak_bytes


@pytest.mark.parametrize(
    "options", [{"autocast": "bfloat16"}, {"memory_format": "channels_last_3d"}]
)
def test_options_of_the_step(options):
    predicted = predict_peak(kth("stdcf"), CLIP, device="cpu", **options)
    measured = measure_peak(kth("stdcf"), CLIP, device="cpu", **options)
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)


def train(meter, model, optimizer, steps):
    for _ in range(steps):
        clip, labels = torch.rand(CLIP), torch.zeros(4, dtype=torch.long)
        with meter.step(clip, labels):
            nn.functional.cross_entropy(model(clip), labels).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def test_the_meter_measures_a_run_as_it_is():
    model = kth("regular")().train()
    optimizer = torch.optim.Adam(model.parameters())
    meter = StepMeter(model, optimizer)
    train(meter, model, optimizer, 1)
    assert meter.report is None
    train(meter, model, optimizer, 1)
    # measure_peak keeps the scores until the optimiser's step, as a trainer does.
    own = measure_peak(kth("regular"), CLIP, device="cpu")
    assert meter.report.peak_bytes == pytest.approx(own.peak_bytes, rel=1e-4)
    report = meter.report
    train(meter, model, optimizer, 1)
    assert meter.report is report


def test_the_meter_holds_the_cap():
    model = kth("regular")().train()
    optimizer = torch.optim.Adam(model.parameters())
    meter = StepMeter(model, optimizer, cap_bytes=2**20)
    with pytest.raises(CapExceeded, match=r"over the cap of 1\.0 MiB"):
        train(meter, model, optimizer, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_named():
    with pytest.raises(UserError, match="device='cpu'"):
        measure_peak(kth("regular"), CLIP, device="cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layer", LAYERS)
def test_cuda_allocates_what_was_predicted_and_its_workspaces(layer):
    clip = (16, 1, 16, 60, 80)
    predicted = predict_peak(kth(layer), clip)
    measured = measure_peak(kth(layer), clip, device="cuda:0")
    assert measured.reserved_bytes >= measured.peak_bytes
    assert sum(measured.breakdown.values()) == measured.peak_bytes
    assert measured.peak_bytes >= 0.99 * predicted.peak_bytes
