"""Recipes on Something-Something v1 (Table 4), by network."""

from baselines.recipes.recipe import (
    MULTI_SCALE,
    PYSLOWFAST,
    TSM_GROUPS,
    TSN_GROUPS,
    Recipe,
    sgd,
)

_2D = {"multi_scale": MULTI_SCALE}
_TSM = "mit-han-lab/temporal-shift-module 1f6a834 README.md, its command for Something-Something"
_DROPPED = "The last batch of an epoch is kept though it be smaller; theirs is dropped."

_FROM_KINETICS = Recipe(
    source="facebookresearch/video-nonlocal-net c253ed5 "
    "configs/DBG_kinetics_resnet_8gpu_c2d_nonlocal_400k.yaml, which by its README fine-tuning "
    "follows too",
    differs=(
        "It has 400,000 steps with falls at 3/8 and 6/8 of them, on Kinetics; 40 epochs with the "
        "same falls are chosen here. The paper (Wang and Gupta, 2018) has no public code.",
        "One frame of each of 32 segments of a video; theirs are consecutive.",
        "Precise statistics are taken once, after the last epoch.",
    ),
    stage=sgd(epochs=40, lr=0.01, weight_decay=1e-4, milestones=(15, 30), **PYSLOWFAST),
    batch_size=64,
    dropout=0.5,
    starts_from="kinetics400",
)

SOMETHING_V1 = {
    "resnet3d_50": Recipe(
        source="§3.3; where it is silent, facebookresearch/SlowFast 287ec00 "
        "configs/Kinetics/SLOW_8x8_R50.yaml",
        differs=(
            "Stated are 50 epochs, batch 64, 1e-3 and its fall at 30; momentum 0.9 and decay 1e-4 "
            "are those of §3.2.1, Nesterov, dropout, what is not decayed and precise statistics "
            "PySlowFast's.",
            "One frame of each of 8 segments, as in TSM's protocol, and no mirroring; §3.3 does "
            "not say.",
        ),
        stage=sgd(epochs=50, lr=1e-3, weight_decay=1e-4, milestones=(30,), **PYSLOWFAST),
        batch_size=64,
        dropout=0.5,
        starts_from="kinetics400",
    ),
    "tsn_r50": Recipe(
        source=f"{_TSM}, without the shift",
        differs=(
            "Where Table 4's two rows of it come from is not stated there; TSM's paper has the "
            "second in its comparison.",
            _DROPPED,
        ),
        stage=sgd(epochs=50, lr=0.01, weight_decay=5e-4, milestones=(20, 40), **TSM_GROUPS),
        batch_size=64,
        dropout=0.5,
        data=_2D,
        starts_from="imagenet",
    ),
    "trn_r50": Recipe(
        source="zhoubolei/TRN-pytorch 060509c README.md, its command for multi-scale TRN, and "
        "opts.py",
        differs=(
            "ResNet-50 in place of BN-Inception.",
            "No mirroring, for labels have directions; theirs mirrors half of the clips.",
            "In tests the relations are fixed and spread; theirs are drawn.",
        ),
        stage=sgd(
            epochs=120,
            lr=1e-3,
            weight_decay=5e-4,
            milestones=(50, 100),
            frozen_norm="but_first",
            **TSN_GROUPS,
        ),
        batch_size=64,
        dropout=0.8,
        data=_2D,
        starts_from="imagenet",
    ),
    "i3d_r50": _FROM_KINETICS,
    "i3d_gcn_r50": _FROM_KINETICS.changed(
        differs=(
            *_FROM_KINETICS.differs,
            "The tiles of a grid in place of object proposals: the row is not the paper's I3D+GCN.",
            "Trained in one go; the paper trains I3D first and then both.",
        )
    ),
    "tsm_r50": Recipe(
        source=_TSM,
        differs=(_DROPPED,),
        stage=sgd(epochs=50, lr=0.01, weight_decay=5e-4, milestones=(20, 40), **TSM_GROUPS),
        batch_size=64,
        dropout=0.5,
        data=_2D,
        starts_from="imagenet",
    ),
    "tin_r50": Recipe(
        source="deepcs233/TIN 801494a README.md, its command from a pretrained model, which lacks "
        "--npb and so freezes all BatchNorms but the first",
        differs=(
            "Kinetics' weights are Table 3's; theirs X-Temporal's.",
            "The offset nets start from Kinetics whole; theirs lose their first linear layer with "
            "the classifier, since its name has fc in it.",
            _DROPPED,
        ),
        stage=sgd(
            epochs=40,
            lr=0.008,
            weight_decay=5e-4,
            milestones=(10, 20, 30),
            warmup_epochs=1,
            per_step=True,
            warmup_start=0.1,
            frozen_norm="but_first",
            **TSM_GROUPS,
        ),
        batch_size=48,
        dropout=0.8,
        data=_2D,
        starts_from="kinetics400",
    ),
}
