"""CUDA's autocast for tensors that are on no GPU: its lists of operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

# By torch's documentation of autocast ("CUDA Ops that can autocast to …"), as its dispatcher names
# them; a test holds them to what the dispatcher has for CUDA.
TO_LOW = frozenset(
    [
        "_convolution",
        "_convolution.deprecated",
        "_cudnn_rnn",
        "_scaled_dot_product_flash_attention",
        "_thnn_fused_gru_cell",
        "_thnn_fused_lstm_cell",
        "addbmm",
        "addmm",
        "addmv",
        "addr",
        "baddbmm",
        "bmm",
        "chain_matmul",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_tbc",
        "conv_transpose1d",
        "conv_transpose2d.input",
        "conv_transpose3d.input",
        "convolution",
        "cudnn_convolution",
        "cudnn_convolution_transpose",
        "einsum",
        "gru_cell",
        "linalg_multi_dot",
        "linalg_vecdot",
        "linear",
        "lstm_cell",
        "matmul",
        "mm",
        "mv",
        "prelu",
        "rnn_relu_cell",
        "rnn_tanh_cell",
        "scaled_dot_product_attention",
    ]
)
TO_FLOAT32 = frozenset(
    [
        "_upsample_bicubic2d_aa",
        "_upsample_bilinear2d_aa",
        "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d",
        "_upsample_nearest_exact3d",
        "acos",
        "asin",
        "binary_cross_entropy_with_logits",
        "cdist",
        "cosh",
        "cosine_embedding_loss",
        "cosine_similarity",
        "dist",
        "erfinv",
        "exp",
        "expm1",
        "frobenius_norm.dim",
        "group_norm",
        "hinge_embedding_loss",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "layer_norm",
        "linalg_matrix_sqrth",
        "log",
        "log10",
        "log1p",
        "log2",
        "logsumexp",
        "margin_ranking_loss",
        "mse_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "native_layer_norm",
        "nll_loss",
        "nll_loss2d",
        "norm.Scalar",
        "norm.ScalarOpt_dim",
        "nuclear_norm",
        "nuclear_norm.dim",
        "pdist",
        "poisson_nll_loss",
        "pow.Scalar",
        "pow.Tensor_Scalar",
        "pow.Tensor_Tensor",
        "reciprocal",
        "renorm",
        "rms_norm",
        "rsqrt",
        "sinh",
        "smooth_l1_loss",
        "soft_margin_loss",
        "softplus",
        "tan",
        "triplet_margin_loss",
        "upsample_bicubic2d",
        "upsample_bilinear2d",
        "upsample_linear1d",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "upsample_trilinear3d",
    ]
)
# These are told to give float32, which takes no copy of their input.
GIVE_FLOAT32 = frozenset(
    [
        "cumprod",
        "cumsum",
        "linalg_matrix_norm",
        "linalg_matrix_norm.str_ord",
        "linalg_vector_norm",
        "log_softmax.int",
        "prod",
        "prod.dim_int",
        "softmax.int",
        "sum",
        "sum.dim_IntList",
    ]
)
TO_WIDEST = frozenset(
    [
        "addcdiv",
        "addcmul",
        "atan2",
        "bilinear",
        "cross",
        "dot",
        "grid_sampler",
        "index_put",
        "scatter_add",
        "tensordot",
        "vdot",
    ]
)
REFUSED = frozenset({"binary_cross_entropy"})
LISTED = TO_LOW | TO_FLOAT32 | GIVE_FLOAT32 | TO_WIDEST | REFUSED


def registered(key: str) -> set[str]:
    """The operators of torch's own that autocast changes, by the dispatcher ("AutocastCUDA" …)."""
    names = torch._C._dispatch_get_all_op_names()
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    return {name[6:] for name in names if name.startswith("aten::") and has(name, key)}


def register(library: torch.library.Library) -> None:
    """Puts CUDA's lists in the place of CPU's, for as long as the library lives.

    What both cast down stays: torch's own kernel caches the weights that it casts.
    """
    on_cpu = registered("AutocastCPU")
    for name in sorted((LISTED | on_cpu) - (TO_LOW & on_cpu)):
        if name not in LISTED:
            kernel: Callable[..., Any] = torch.library.fallthrough_kernel
        else:
            kernel = _kernel(name)
        library.impl(name, kernel, "AutocastCPU", allow_override=True)


def _kernel(name: str) -> Callable[..., Any]:
    packet, _, overload = name.partition(".")
    function = getattr(getattr(torch.ops.aten, packet), overload or "default")

    names = [argument.name for argument in function._schema.arguments]

    def run(*args: Any, **kwargs: Any) -> Any:
        if name in REFUSED:
            raise RuntimeError(f"{name} is unsafe to autocast on CUDA; use it with logits")
        if name in GIVE_FLOAT32:
            low = isinstance(args[0], Tensor) and args[0].dtype in (torch.bfloat16, torch.float16)
            if low:
                bound = dict(zip(names, args, strict=False)) | kwargs
                bound["dtype"] = bound.get("dtype") or torch.float32
                args, kwargs = (bound.pop(names[0]),), bound
        else:
            args, kwargs = _cast((args, kwargs), _type_for(name, (args, kwargs)))
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            return function(*args, **kwargs)

    return run


_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)


def _type_for(name: str, tree: Any) -> torch.dtype:
    if name in TO_LOW:
        return torch.get_autocast_dtype("cpu")
    if name in TO_FLOAT32:
        return torch.float32
    wide = any(isinstance(x, Tensor) and x.dtype == torch.float32 for x in tree_leaves(tree))
    return torch.float32 if wide else torch.get_autocast_dtype("cpu")


def _cast(tree: Any, dtype: torch.dtype) -> Any:
    def cast(x: Any) -> Any:
        floating = isinstance(x, Tensor) and x.is_floating_point() and x.dtype != torch.float64
        return x.to(dtype) if floating else x

    return tree_map(cast, tree)
