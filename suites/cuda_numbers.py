"""Float32 on a GPU: as it is, or with TF32's ten bits in products."""

import torch


def number_type(name: str) -> torch.dtype:
    """The type "float32", "bfloat16" or "tf32"; where there is a GPU, its products follow suit.

    Torch's own default is TF32 in cuDNN and none in matrix products, which a comparison of the two
    must not hang on.
    """
    if torch.cuda.is_available():
        precision = "tf32" if name == "tf32" else "ieee"
        torch.backends.cuda.matmul.fp32_precision = precision
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    dtype: torch.dtype = torch.float32 if name == "tf32" else getattr(torch, name)
    return dtype
