"""The closed formulas of §2.4 against what the layers are and do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stdcf.complexity import count
from stdcf.layers import STDCFConv3d

small = st.integers(1, 6)
odd = st.sampled_from([1, 3, 5])
size = st.integers(3, 9)


@settings(deadline=None, max_examples=40)
@given(
    m=small,
    n=small,
    k=odd,
    t=odd,
    c_in=small,
    c_out=small,
    bias=st.booleans(),
    thw=st.tuples(size, size, size),
)
def test_parameters_and_macs_of_an_stdcf_layer(m, n, k, t, c_in, c_out, bias, thw):
    layer = STDCFConv3d(
        c_in,
        c_out,
        (t, k, k),
        padding=(t // 2, k // 2, k // 2),
        bias=bias,
        num_spatial_atoms=m,
        num_temporal_atoms=n,
    )
    cost = count(layer, (1, c_in, *thw))
    positions = thw[0] * thw[1] * thw[2]
    assert cost.params == m * n * c_in * c_out + m * k**2 + n * t + c_out * bias
    assert cost.macs == positions * (m * n * c_in * c_out + m * c_in * (k**2 + n * t))
    assert cost.fvcore_macs == cost.macs


@settings(deadline=None, max_examples=40)
@given(
    c_in=small,
    c_out=small,
    kernel=st.tuples(odd, odd, odd),
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    padding=st.tuples(*[st.integers(0, 2)] * 3),
    groups=st.sampled_from([1, 2]),
)
def test_both_counters_agree_on_dense_convolutions(c_in, c_out, kernel, stride, padding, groups):
    conv = nn.Conv3d(groups * c_in, groups * c_out, kernel, stride, padding, groups=groups)
    cost = count(conv, (1, groups * c_in, 6, 7, 8))
    positions = 1
    for extent, k, s, p in zip((6, 7, 8), kernel, stride, padding, strict=True):
        positions *= (extent + 2 * p - k) // s + 1
    expected = positions * groups * c_in * c_out * kernel[0] * kernel[1] * kernel[2]
    assert cost.macs == cost.executed_macs == cost.fvcore_macs == expected


def test_a_batch_counts_as_one_clip():
    conv = nn.Conv3d(2, 3, 3)
    assert count(conv, (16, 2, 5, 5, 5)) == count(conv, (1, 2, 5, 5, 5))
    assert count(conv, (1, 2, 5, 5, 5)).macs == pytest.approx(27 * 27 * 6)
