"""Recipes on Kinetics-400 (Table 3), by network."""

from baselines.recipes.recipe import (
    MULTI_SCALE,
    PYSLOWFAST,
    PYSLOWFAST_RATES,
    TSM_GROUPS,
    Recipe,
    sgd,
)

_PRECISE = "Precise statistics are taken once, after the last epoch."

KINETICS400 = {
    "resnet3d_50": Recipe(
        source="§3.2.1; where it is silent, facebookresearch/SlowFast 287ec00 "
        "configs/Kinetics/SLOW_8x8_R50.yaml, whose settings it follows",
        differs=(
            "Stated are 256 epochs, 0.03, momentum 0.9 and decay 1e-4; batch 64, warm-up, cosine, "
            "Nesterov, dropout, what is not decayed and precise statistics are PySlowFast's.",
            _PRECISE,
            "Clips are of 64 consecutive frames as in the text; PySlowFast brings videos to 30 "
            "frames a second.",
        ),
        stage=sgd(
            epochs=256,
            lr=0.03,
            weight_decay=1e-4,
            warmup_epochs=34,
            **PYSLOWFAST,
            **PYSLOWFAST_RATES,
        ),
        batch_size=64,
        dropout=0.5,
    ),
    "r2plus1d_34": Recipe(
        source="facebookresearch/VMZ 4cc542d pt/vmz/func/opts.py; a GPU's rate and batch, 0.01 and "
        "32 clips, from c2/scripts/train_r2plus1d_kinetics.sh, on two GPUs",
        differs=(
            "Clips are 8×224² as in the published row; VMZ's are 112² of frames of 128×171.",
            "An epoch has one clip of each video, VMZ's five: 225 epochs are its 45.",
            "The last BatchNorm of a block starts at 0 as in all networks here; VMZ's at 1.",
            "VMZ's PyTorch code gives a batch's statistics the weight 0.9, here 0.1.",
        ),
        stage=sgd(
            epochs=225,
            lr=0.02,
            weight_decay=1e-4,
            milestones=(100, 150, 200),
            warmup_epochs=50,
            per_step=True,
            warmup_start=1e-5,
        ),
        batch_size=64,
        dropout=0.0,
    ),
    "slowfast_r50_8x8": Recipe(
        source="facebookresearch/SlowFast 287ec00 configs/Kinetics/SLOWFAST_8x8_R50.yaml",
        differs=(
            "The slow pathway's frames are 0, 4, …, 28; PySlowFast's 0, 4, 8, 13, 17, 22, 26, 31.",
            _PRECISE,
        ),
        stage=sgd(
            epochs=196,
            lr=0.1,
            weight_decay=1e-4,
            warmup_epochs=34,
            **PYSLOWFAST,
            **PYSLOWFAST_RATES,
        ),
        batch_size=64,
        dropout=0.5,
        data={"fps": 30},
    ),
    "tsm_r50": Recipe(
        source="mit-han-lab/temporal-shift-module 1f6a834 scripts/train_tsm_kinetics_rgb_8f.sh, "
        "sampled densely (--dense_sample) as the published row",
        differs=(
            "The published 74.1 is of a checkpoint named e100_dense; no command of 100 epochs is "
            "public.",
            "A clip past a video's end repeats its last frame; theirs begins again.",
            "The last batch of an epoch is kept though it be smaller; theirs is dropped.",
        ),
        stage=sgd(epochs=50, lr=0.02, weight_decay=1e-4, milestones=(20, 40), **TSM_GROUPS),
        batch_size=128,
        dropout=0.5,
        data={"multi_scale": MULTI_SCALE},
        starts_from="imagenet",
    ),
    "tin_r50": Recipe(
        source="open-mmlab/mmaction2 0da17ff configs/recognition/tin/"
        "tin_tsm_finetune_r50_1x1x8_50e_kinetics400_rgb.py; TIN's authors publish none",
        differs=(
            "TSM's weights are this table's, trained on dense clips; MMAction2's on segments.",
            "The test has 10 clips of 3 crops of 256² as all rows; MMAction2's one of 224².",
        ),
        stage=sgd(epochs=50, lr=0.01, weight_decay=1e-4, milestones=(20, 40), **TSM_GROUPS),
        batch_size=48,
        dropout=0.5,
        data={"sampling": "segments", "multi_scale": MULTI_SCALE},
        starts_from="kinetics400-tsm_r50",
    ),
}
