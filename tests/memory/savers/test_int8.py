import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stdcf.memory.savers.int8 import BLOCKS, MIN_VALUES, quantise


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([1e-20, 1e-3, 1.0, 1e6, 1e30]),
    relu=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last_3d]),
    frames=st.integers(1, 5),
)
def test_a_value_is_off_by_at_most_its_blocks_range_over_255(
    seed, scale, relu, dtype, layout, frames
):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 16, frames, 16, 32, generator=generator) * scale
    x = (x.relu() if relu else x).to(dtype).contiguous(memory_format=layout)
    packed = quantise(x)
    again = packed.unpack()
    assert (again.shape, again.dtype, again.stride()) == (x.shape, x.dtype, x.stride())
    block = packed.levels_NK.shape[1]
    flat, back = (t.as_strided((t.numel() // block, block), (block, 1)).float() for t in (x, again))
    span_N1 = flat.amax(1, keepdim=True) - flat.amin(1, keepdim=True)
    # A result in bfloat16 is rounded once more.
    largest_N1 = flat.abs().amax(1, keepdim=True)
    rounding = 2**-8 * largest_N1 if dtype == torch.bfloat16 else 1e-6 * span_N1
    assert ((flat - back).abs() <= span_N1 / 255 * 1.001 + rounding).all()
    if relu and dtype == torch.float32:
        # What ReLU's backward asks: which values are positive.
        assert torch.equal(again > 0, x > 0)


def test_a_quarter_of_float32_and_a_scale_pair_a_block():
    x = torch.randn(64, 256)
    packed = quantise(x)
    kept = sum(t.nbytes for t in (packed.levels_NK, packed.low_N1, packed.scale_N1))
    assert kept == x.nbytes / 4 + 64 * 8


def test_equal_values_come_back_exactly():
    x = torch.full((MIN_VALUES,), 0.3)
    assert torch.equal(quantise(x).unpack(), x)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(MIN_VALUES, dtype=torch.int64),
        torch.zeros(MIN_VALUES, dtype=torch.bool),
        torch.zeros(BLOCKS[-1]),
        torch.zeros(MIN_VALUES + 1),
        torch.zeros(2 * MIN_VALUES)[::2],
        torch.zeros(1).expand(MIN_VALUES),
    ],
    ids=["indices", "masks", "small", "odd", "strided", "expanded"],
)
def test_what_is_left_alone(tensor):
    assert quantise(tensor) is None
