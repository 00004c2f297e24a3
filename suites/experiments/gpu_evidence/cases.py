"""Training steps whose memory gpu_evidence predicts and measures; rows hold them as plain dicts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Clips of a step at Table 3; the paper does not state its number.
VIDEO_BATCH = 8
KTH_CLIP, VIDEO_CLIP, SLOWFAST_CLIP = [1, 16, 60, 80], [3, 8, 224, 224], [3, 32, 224, 224]
# §3.1 and §3.2.1; composing the filter is the plan whose memory is the paper's.
ATOMS = {
    "kth_cnn": {"num_spatial_atoms": 3, "num_temporal_atoms": 2, "plan": "composed"},
    "resnet3d_50": {"num_spatial_atoms": 6, "num_temporal_atoms": 2, "plan": "composed"},
}
LAYERS = ("regular", "rank1", "stdcf")
PEERS = ("r2plus1d_34", "slowfast_r50_8x8", "tsm_r50", "tin_r50")
STAGES = ("full", "t1", "s1")
SAVERS = ("", "recompute", "checkpoint", "accumulate=4", "int8", "offload")
DTYPES = ("float32", "bfloat16")

Case = dict[str, Any]


def case(
    model: str,
    layer: str = "",
    stage: str = "full",
    savers: str = "",
    dtype: str = "float32",
    model_options: Mapping[str, Any] | None = None,
    clip: Sequence[int] | None = None,
    memory_format: str | None = None,
    plan: str | None = None,
) -> Case:
    """One training step, under a name that is unique in the suite.

    plan: of STDCF's layers, in the place of the one in `ATOMS`.

    The batch is the paper's 16 clips for kth_cnn with Adam, and 8 with SGD for the others.
    """
    is_kth = model == "kth_cnn"
    options = dict(model_options or {})
    words = [model, layer, *(f"{k}={v}" for k, v in options.items()), stage, savers, dtype]
    words += [memory_format or "", plan or ""]
    return {
        "name": " ".join(word for word in words if word),
        "model": model,
        "model_options": options,
        "layer": layer,
        "layer_options": _atoms(model, plan) if layer == "stdcf" else {},
        "batch": 16 if is_kth else VIDEO_BATCH,
        "clip": list(clip or _clip_of(model)),
        "classes": 6 if is_kth else 400,
        "optimizer": "adam" if is_kth else "sgd",
        "stage": stage,
        "savers": savers,
        "dtype": dtype,
        **({} if memory_format is None else {"memory_format": memory_format}),
    }


def _atoms(model: str, plan: str | None) -> dict[str, Any]:
    return {**ATOMS.get(model, {}), **({} if plan is None else {"plan": plan})}


def _clip_of(model: str) -> list[int]:
    return KTH_CLIP if model == "kth_cnn" else SLOWFAST_CLIP if "slowfast" in model else VIDEO_CLIP


def table2() -> Iterator[tuple[str, list[Case]]]:
    """Layer -> full size and both stages, with 2021's ReLU, which kept its input, and today's."""
    for layer in LAYERS:
        yield (
            layer,
            [
                case("kth_cnn", layer, stage, model_options={"relu_saves": kept})
                for kept in ("input", "output")
                for stage in STAGES
            ],
        )


def table3() -> Iterator[tuple[str, list[Case]]]:
    """Network -> full size and both stages of resnet3d_50, full size of the others."""
    for layer in ("stdcf", "regular", "rank1"):
        yield f"resnet3d_50-{layer}", [case("resnet3d_50", layer, stage) for stage in STAGES]
    for model in PEERS:
        yield model, [case(model)]


def every_saver() -> Iterator[tuple[str, list[Case]]]:
    """Network -> every saver in both types."""
    networks = [("kth_cnn", layer) for layer in LAYERS] + [("resnet3d_50", x) for x in LAYERS]
    networks += [(model, "") for model in (*PEERS, "tsn_r50", "trn_r50", "i3d_r50")]
    for model, layer in networks:
        yield (
            "-".join(word for word in (model, layer) if word),
            [
                case(model, layer, savers=savers, dtype=dtype)
                for dtype in DTYPES
                for savers in SAVERS
            ],
        )


# torchvision's networks, by which no prediction was made to fit, and their clips.
OTHERS = {
    "r3d_18": [3, 16, 112, 112],
    "mc3_18": [3, 16, 112, 112],
    "r2plus1d_18": [3, 16, 112, 112],
    "s3d": [3, 16, 224, 224],
    "mvit_v2_s": [3, 16, 224, 224],
    "swin3d_t": [3, 16, 224, 224],
}


def others() -> Iterator[tuple[str, list[Case]]]:
    """Networks and a memory layout that the predictor's rules were not read off."""
    for name, clip in OTHERS.items():
        yield name, [case(f"torchvision:{name}", dtype=dtype, clip=clip) for dtype in DTYPES]
    for model in ("kth_cnn", "resnet3d_50"):
        yield (
            f"{model}-channels_last_3d",
            [
                case(model, layer, dtype=dtype, memory_format="channels_last_3d")
                for layer in ("regular", "stdcf")
                for dtype in DTYPES
            ],
        )


def fused(memory: bool) -> Iterator[tuple[str, list[Case]]]:
    """Network -> steps with the GPU's kernel in every STDCF layer, of kth_cnn and resnet3d_50.

    memory: the steps whose memory is measured; else those that are timed.
    """
    for model in ("kth_cnn", "resnet3d_50"):
        stages = STAGES if memory else STAGES[:1]
        yield (
            model,
            [
                case(model, "stdcf", stage, dtype=dtype, plan="factored")
                for stage in stages
                for dtype in DTYPES
            ],
        )
