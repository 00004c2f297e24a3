"""How long a run would take on a GPU: an estimate from multiply-accumulates, not a measurement."""

from collections.abc import Callable, Sequence

from stdcf.stages.stage import Stage

# An A100's dense TF32 rate by its data sheet, and the share of it that 3D convolutions are taken to
# reach.
FLOPS_PER_SECOND = 156e12
UTILISATION = 0.25
# Of Kinetics-400 (§3.2.1), each tested in 30 views.
TRAIN_VIDEOS, TEST_VIDEOS, VIEWS = 240_000, 19_000, 30

Shape = tuple[int, ...]  # C, T, H, W

NOTE = (
    f"GPU-hours are an ESTIMATE: training takes 3 forward passes' multiply-accumulates, at "
    f"{UTILISATION:.0%} of an A100's {FLOPS_PER_SECOND / 1e12:.0f} TFLOP/s (TF32); "
    f"{TRAIN_VIDEOS:,} training videos, and after every stage {TEST_VIDEOS:,} test videos in "
    f"{VIEWS} views; decoding is not counted"
)


def gpu_hours(
    stages: Sequence[Stage], macs: Callable[[Shape], int], clip: Shape, test_clip: Shape
) -> float:
    """An estimate for a run on the whole of Kinetics-400.

    Args:
        macs: of one clip's forward pass, as it is executed.
        clip, test_clip: full-size ones.
    """
    per_test = TEST_VIDEOS * VIEWS * macs(test_clip)
    total_macs = sum(
        3 * stage.epochs * TRAIN_VIDEOS * macs(stage.clip_shape(clip)) + per_test
        for stage in stages
    )
    return 2 * total_macs / (FLOPS_PER_SECOND * UTILISATION) / 3600
