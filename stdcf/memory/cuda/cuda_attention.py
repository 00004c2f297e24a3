"""Which attention kernel CUDA takes, and what it keeps.

The conditions are torch's own (aten/src/ATen/native/transformers/cuda/sdp_utils.cpp), for a GPU of
compute capability 8.0 or 9.0. cuDNN's kernel, which Hopper may prefer, keeps what flash keeps.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_aten = torch.ops.aten
_LOW = (torch.float16, torch.bfloat16)
_FLASH_HEAD = 256


def attention_kernel(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool
) -> str:
    """ "flash", "efficient" or "math".

    Args:
        query, key, value: [B, heads, length, size].
        mask: broadcast to [B, heads, query's length, key's length].
    """
    tensors = (query, key, value)
    same_type = len({t.dtype for t in tensors}) == 1
    if not same_type or any(t.ndim != 4 or 0 in t.shape for t in tensors):
        return "math"
    heads, sizes = query.shape[1], {t.shape[-1] for t in tensors}
    if key.shape[1] != value.shape[1] or heads % key.shape[1]:
        return "math"
    if len({t.shape[0] for t in tensors}) > 1 or key.shape[2] != value.shape[2]:
        return "math"
    low = query.dtype in _LOW
    square = not causal or query.shape[2] == key.shape[2]
    dense = all(t.stride(-1) == 1 for t in tensors)
    flash = torch.backends.cuda.flash_sdp_enabled() and low and dense and square and mask is None
    if flash and len(sizes) == 1 and query.shape[-1] <= _FLASH_HEAD:
        return "flash"
    aligned = all(size % (8 if low else 4) == 0 for size in sizes)
    offsets = all(t.storage_offset() * t.element_size() % 16 == 0 for t in tensors)
    typed = low or query.dtype == torch.float32
    efficient = torch.backends.cuda.mem_efficient_sdp_enabled() and typed and dense
    if efficient and aligned and offsets and query.shape[-1] == key.shape[-1]:
        return "efficient"
    return "math"


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """torch's scaled_dot_product_attention by the kernel that CUDA would take."""
    kernel = attention_kernel(query, key, value, attn_mask, is_causal)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(~attn_mask, -1e4)
    if kernel != "math" and key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    if kernel == "flash":
        size = query.shape[-1]
        scale = size**-0.5 if scale is None else scale
        if size % 8:
            query, key, value = (F.pad(t, (0, -size % 8)) for t in (query, key, value))
        out = _aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
        return out[..., :size]
    if kernel == "efficient":
        if attn_mask is not None:
            attn_mask = _aligned(attn_mask).expand(
                query.shape[0], query.shape[1], query.shape[2], key.shape[2]
            )
        needs_sums = any(t.requires_grad for t in (query, key, value))
        return _aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, needs_sums, dropout_p, is_causal, scale=scale
        )[0]
    return _aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def _aligned(mask: Tensor) -> Tensor:
    """Rows of a multiple of 16, as the kernel wants them; a copy where they are not."""
    length = mask.shape[-1]
    return mask if length % 16 == 0 else F.pad(mask, (0, -length % 16))[..., :length]
