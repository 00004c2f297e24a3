"""The build function may do anything; what cannot be predicted is refused in one sentence."""

import copy

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.memory import measure_peak, predict_peak

SHAPE = (2, 3, 2, 4, 4)


def plain():
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.Flatten(), nn.Linear(128, 2))


class Attributes(nn.Module):
    """A list of tensors that are neither parameters nor buffers: 40,000 bytes."""

    def __init__(self):
        super().__init__()
        self.body, self.tables = plain(), [torch.ones(96), torch.ones(9904)]

    def forward(self, clip_BCTHW):
        return self.body(clip_BCTHW + self.tables[0].view(3, 2, 4, 4))


def lazy():
    model = nn.Sequential(nn.LazyConv3d(4, 1), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(1, *SHAPE[1:]))
    return model


def from_numpy():
    model = plain()
    weight = model[0].weight.detach().numpy() * 2
    model[0].weight.data = torch.from_numpy(weight)
    return model


def normed():
    model = plain()
    torch.nn.utils.parametrizations.weight_norm(model[0])
    torch.nn.utils.parametrizations.spectral_norm(model[2])
    return model


def old_weight_norm():
    """Its weight is an attribute with a graph, which cannot be copied by itself."""
    model = plain().to("cpu")
    return nn.Sequential(nn.utils.weight_norm(model[0]), *model[1:])


def tied():
    model = nn.Sequential(nn.Flatten(), nn.Linear(96, 96), nn.Linear(96, 96))
    model[2].weight = model[1].weight
    return model.to("cpu")


BUILDS = {
    "to": lambda: plain().to("cpu"),
    "to_layout": lambda: plain().to(memory_format=torch.channels_last_3d),
    "bfloat16": lambda: plain().bfloat16(),
    "double": lambda: plain().double(),
    "deepcopy": lambda: copy.deepcopy(plain()),
    "share": lambda: plain().share_memory(),
    "attributes": Attributes,
    "lazy": lazy,
    "numpy": from_numpy,
    "normed": normed,
    "old_weight_norm": old_weight_norm,
    "tied": tied,
    "scripted": lambda: torch.jit.script(plain()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BUILDS)
def test_any_build_is_predicted_as_it_is_measured(name):
    predicted = predict_peak(BUILDS[name], SHAPE, device="cpu")
    measured = measure_peak(BUILDS[name], SHAPE, device="cpu")
    assert predicted.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)


def test_saved_weights_are_loaded(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = plain().state_dict()
    safetensors.save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")

    def build(load):
        model = plain()
        model.load_state_dict(load())
        return model

    expected = predict_peak(plain, SHAPE).peak_bytes
    for load in (
        lambda: safetensors.load_file(tmp_path / "a.safetensors"),
        lambda: torch.load(tmp_path / "a.pt", weights_only=True),
    ):
        assert predict_peak(lambda load=load: build(load), SHAPE).peak_bytes == expected


def test_attributes_count():
    values = 96 + 9904
    with_them, without = (predict_peak(f, SHAPE).breakdown for f in (Attributes, plain))
    assert with_them["buffers"] - without["buffers"] == 4 * values


class Reads(nn.Module):
    def __init__(self, read):
        super().__init__()
        self.body, self.read = plain(), read

    def forward(self, clip_BCTHW):
        out = self.body(clip_BCTHW)
        self.read(out)
        return out


def compiled_inside():
    model = plain()
    model[0].compile()
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Reads(lambda x: x.sum().item()), "reads a tensor's values.*measure_peak"),
        (lambda: Reads(lambda x: x[x > 0]), "reads a tensor's values.*measure_peak"),
        (lambda: Reads(lambda x: x.detach().numpy()), "reads a tensor's values.*measure_peak"),
        (lambda: torch.compile(plain()), "the model is compiled.*measure_peak"),
        (compiled_inside, "module 0 is compiled.*measure_peak"),
        (lambda: torch.jit.trace(plain(), torch.zeros(SHAPE)), "scripted or traced"),
        (lambda: nn.Sequential(nn.LazyLinear(2)), "parameter 0.weight has no size yet"),
        (lambda: None, "gives a NoneType"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_a_sentence(build, words):
    with pytest.raises(UserError, match=words) as caught:
        predict_peak(build, SHAPE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"loss": lambda x, y: x.sum() if x.sum() > 0 else x.mean()}, "test_building.py, line"),
        ({"optimizer": torch.optim.ASGD}, "torch/optim/.*, line"),
    ],
    ids=["loss", "optimizer"],
)
def test_where_values_are_read_is_said(options, place):
    """Not only in the model's forward pass."""
    with pytest.raises(UserError, match=rf"reads a tensor's values \(aten\..* at {place}"):
        predict_peak(plain, SHAPE, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    "build",
    [
        lambda: plain().cuda(),
        lambda: plain().to("cuda"),
        lambda: nn.Sequential(nn.Conv3d(3, 4, 1, device="cuda")),
    ],
)
def test_a_gpu_that_is_not_there_is_named(build):
    with pytest.raises(UserError, match="asks for a GPU, and there is none"):
        predict_peak(build, SHAPE)


def test_an_error_of_the_build_function_stays_what_it_is():
    with pytest.raises(ZeroDivisionError):
        predict_peak(lambda: 1 / 0, SHAPE)
