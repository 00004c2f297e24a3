"""Which type a convolution gives in a prediction for CUDA, however its autocast came about."""

import warnings

import pytest
import torch
from torch import nn

from stdcf.errors import UserError
from stdcf.memory import predict_peak

SHAPE = (2, 3, 4, 8, 8)
LOW, FULL = torch.bfloat16, torch.float32


class Net(nn.Module):
    def __init__(self, around):
        super().__init__()
        self.conv, self.head, self.around = nn.Conv3d(3, 4, 1), nn.Linear(4, 2), around
        self.held = torch.autocast("cuda", LOW, enabled=around == "held")

    def forward(self, clip_BCTHW):
        if callable(self.around):
            x = self.around(self.conv, clip_BCTHW)
        else:
            with self.held:
                x = self.conv(clip_BCTHW)
        seen.append(x.dtype)
        return self.head(x.float().mean((2, 3, 4)))


seen = []


def by_the_tensors_device(conv, x):
    with torch.autocast(x.device.type, LOW):
        return conv(x)


def by_a_device_or_cpu(conv, x):
    kind = x.device.type if x.device.type != "mps" else "cpu"
    with torch.autocast(device_type=kind, dtype=LOW):
        return conv(x)


def by_the_name_of_cpu(conv, x):
    with torch.autocast("cpu", LOW):
        return conv(x)


with warnings.catch_warnings():
    # That there is no GPU.
    warnings.simplefilter("ignore")

    @torch.autocast("cuda", LOW, False)
    def off_by_position(conv, x):
        return conv(x)

    @torch.autocast(device_type="cuda", dtype=LOW)
    def on(conv, x):
        return conv(x)


class InFull(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=FULL)
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, grad):
        return 2 * grad


def custom_forward(conv, x):
    with torch.autocast("cuda", LOW):
        assert conv(x).dtype == LOW
        return InFull.apply(conv(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("around", "dtype"),
    [
        (by_the_tensors_device, LOW),
        (by_a_device_or_cpu, LOW),
        (by_the_name_of_cpu, FULL),
        (off_by_position, FULL),
        (on, LOW),
        (custom_forward, FULL),
        ("held", LOW),
        ("held, off", FULL),
    ],
)
def test_types_are_those_on_cuda(around, dtype):
    seen.clear()
    predict_peak(lambda: Net(around), SHAPE)
    assert seen == [dtype]


def decorated(**options):
    @torch.autocast("cuda", LOW, **options)
    def around(conv, x):
        return conv(x)

    return around


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU torch knows it")
@pytest.mark.filterwarnings("ignore")
def test_a_decorator_that_does_not_say_it_is_refused():
    around = decorated(enabled=False)
    with pytest.raises(UserError, match=r"cannot be seen whether @torch.autocast.* is enabled"):
        predict_peak(lambda: Net(around), SHAPE)
