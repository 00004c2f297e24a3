"""Table 2: regular, rank-1 and STDCF layers under full-size learning and ITSL (§3.1).

Beside the paper's six rows stand two controls a layer. ITSL at E=3 takes 2.25 times the computation
of full-size learning, and it is tested at dilation 2: "full_same_compute" trains at full size for
as much computation, "full_dilated" trains and tests at full size with both dilations 2.
"""

from suites.engine.spec import RunSpec
from suites.engine.suite import TRAINS, Request, Suite, drawn_by
from suites.experiments.kth_table2.tables import tables
from suites.experiments.shared import kth
from suites.experiments.shared.kth import DATASETS, PROFILES, dataset_options


def specs(request: Request, manifest: str) -> list[RunSpec]:
    """Every row of the table; on Weizmann, profiles but the quick one leave out one person each."""
    return kth.specs(request, manifest, persons=kth.folds(request))


GUIDE = """\
The first table says how accurate each layer became on these clips, beside the paper's figures \
for KTH; between single seeds of a small network a few points are chance. The tables of memory \
hold for any clips of their sizes: look there for what a training step takes under ITSL and at \
full size. Next, ask what fits your GPU, do the same with your own videos, or put all results on \
one page:
    python -m suites.plan --cap 6GiB --model resnet3d_50 --clip 8x224x224
    python -m suites.run kth_table2 --dataset video_folder --data-root FOLDER
    python -m suites.report --html results.html"""

SUITE = Suite(
    name="kth_table2",
    title="Table 2 and Figure 5: three layers, full size against ITSL",
    profiles=tuple(PROFILES),
    datasets=DATASETS,
    dataset_options=dataset_options,
    specs=specs,
    tables=tables,
    figures=drawn_by("kth_table2.figure5:draw"),
    options=("rates",),
    takes=(*TRAINS, "folds", "ranks"),
    guide=GUIDE,
)
