"""Estimates for plans and clusters: as what the rows will say, found once for all that share it."""

from statistics import median

import pytest

from stdcf.complexity import count
from suites import paths
from suites.engine import estimates as module
from suites.engine.catalog import build_model
from suites.engine.clip_facts import ClipFacts, assumed_facts
from suites.engine.estimates import BASES, Estimates
from suites.engine.spec import RunSpec
from suites.engine.speeds import Speeds
from suites.engine.store import folder as store
from suites.engine.suite import Request
from suites.engine.train import predicted_peak
from suites.experiments.shared import kth

FACTS = ClipFacts((1, 8, 30, 40), classes=6, train_clips=24, test_passes=6)


def runs(*modes: str) -> list[RunSpec]:
    found = kth.specs(Request(profile="quick", dataset="synthetic_actions"), "ab" * 32)
    return [s for s in found if s.layer == "stdcf" and s.mode in modes]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_that_of_the_row(device: str) -> None:
    shared = Estimates()
    for spec in runs("full", "itsl", "full_dilated"):
        expected = predicted_peak(spec, (spec.batch_size, *FACTS.clip_shape), 6, device)
        assert shared.peak_bytes(spec, FACTS, device) == expected


def test_savers_and_ranks_count() -> None:
    (spec,) = runs("full")
    shared = Estimates()
    whole = shared.peak_bytes(spec, FACTS, "cpu")
    assert whole is not None
    for change in ({"savers": ("checkpoint",)}, {"ranks": 2}):
        found = shared.peak_bytes(spec.model_copy(update=change), FACTS, "cpu")
        assert found is not None
        assert found < whole


def test_a_network_is_built_once_and_its_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    real = module.Predictor

    def predictor(*words, **options):
        built.append(real(*words, **options))
        return built[-1]

    monkeypatch.setattr(module, "Predictor", predictor)
    shared = Estimates(teraflops=1.0)
    full, longer = runs("full", "full_same_compute")
    seconds = [shared.seconds(spec, FACTS) for spec in (full, longer)]
    assert len(built) == 1
    shape = (full.batch_size, *FACTS.clip_shape)
    # The multiplications of a step, by the plan that runs: 3 passes, but for the stem's gradient.
    step = real(lambda: build_model(full, 6, 1), "cpu").peak(
        shape, stage=full.stages[0], memory_format="channels_last_3d"
    )
    macs = count(build_model(full, 6, 1), (1, *FACTS.clip_shape), fvcore=False)
    assert step.macs is not None
    assert 0.9 * 3 * macs.executed_macs < step.macs / full.batch_size < 3 * macs.executed_macs
    # Five epochs of 24 clips, and a test of six, which is a forward pass.
    steps = 5 * 24 / full.batch_size + 6 / (3 * full.batch_size)
    assert seconds[0] == pytest.approx(2 * step.macs * steps / 1e12)
    assert seconds[1] is not None
    assert seconds[1] > seconds[0]
    assert not shared.is_measured(full, FACTS)


def test_ranks_share_a_batch() -> None:
    (full,) = runs("full")
    alone, both = (
        Estimates(teraflops=1.0).seconds(full.changed(ranks=ranks), FACTS) for ranks in (1, 2)
    )
    assert alone is not None
    assert both == pytest.approx(alone / 2, rel=0.02)


LAYERS = {"regular": 2e-3, "rank1": 1e-3, "stdcf 3,2 composed": 3e-3}


def layer_row(shape: str, batch: int, slower: float = 1.0) -> dict:
    """As layer_speed's are, of an H200."""
    c_in, c_out = 16, 32
    weights = {"regular": 27 * c_in * c_out, "rank1": 9 * c_in * c_out + 3 * c_out * c_out}
    return {
        "device": "cuda:0 NVIDIA H200",
        "status": "ok",
        "mode": f"{shape}-tf32",
        "batch": batch,
        "measurements": [
            {"name": name, "layout": layout, "step_seconds": slower * seconds}
            | {"params": weights.get(name, 1)}
            for name, seconds in LAYERS.items()
            for layout in ("contiguous", "channels_last_3d")
        ],
    }


COPY = {"device": "cuda:0 NVIDIA H200", "status": "ok", "mode": "1-machine"}
COPY |= {"copy": {"bytes_per_second": 4e12}}


def test_layers_and_copies_of_the_device_tell_a_steps_time() -> None:
    rows = [layer_row("16to32_16x30x40", 4, slower=9.0), layer_row("16to32_16x30x40", 32), COPY]
    rows += [layer_row("512to512_8x7x7", 32, slower=5.0)]
    speeds = Speeds(rows, "cuda")
    own = {"channels": {(16, 32), (1, 16)}, "amp": False}
    positions = 32 * 16 * 30 * 40
    # Of the whole batch and the network's own channels; a composed filter counts as the dense one.
    dense = 6 * 27 * 16 * 32 * positions
    separable = 6 * (9 * 16 * 32 + 3 * 32 * 32) * positions
    for layer, operations in (
        ("regular", dense / 2e-3),
        ("rank1", separable / 1e-3),
        ("stdcf 3,2 composed", dense / 3e-3),
    ):
        seconds = speeds.step_seconds(10**12, 8 * 10**9, layer=layer, **own)
        assert seconds == pytest.approx(2e12 / operations + 2e-3)
        assert speeds.knows(layer, **own)
    # Without its channels, or how fast memory is, a speed is assumed.
    assert not speeds.knows("regular", {(3, 3)}, amp=False)
    assert not Speeds(rows[:2], "cuda").knows("regular", **own)
    assumed = Speeds([], "cuda", teraflops=2.0)
    assert assumed.step_seconds(10**12, 10**12, layer="regular", **own) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def shipped() -> Estimates:
    """By the rows of the repository."""
    return Estimates(store.rows(paths.SHIPPED))


def test_shipped_rows_would_have_been_estimated(shipped: Estimates) -> None:
    """Each from the others; a shared machine's times are apart by as much as this."""
    assert shipped.device("cuda") == "NVIDIA H200"
    errors = shipped.errors("cuda")
    assert set(errors) >= {BASES[0], BASES[2], BASES[4]}
    for ratios in errors.values():
        assert 0.6 < median(ratios) < 1.6
        assert all(0.4 < ratio < 2.5 for ratio in ratios)


def test_the_closest_rows_are_taken(shipped: Estimates) -> None:
    facts = ClipFacts((1, 16, 60, 80), 10, 720, 0.0)
    request = Request(profile="paper", dataset="kth", options={"rates": "paper"})
    found = [s for s in kth.specs(request, "ab" * 32) if s.mode == "full"]
    by_layer = {s.layer: s.changed(device="cuda") for s in found}
    bases = {layer: shipped.basis(by_layer[layer], facts) for layer in ("stdcf", "regular")}
    # ITSL of STDCF was trained on an H200, and steps of the regular layer were timed there.
    assert bases == {"stdcf": BASES[0], "regular": BASES[1]}
    other = ClipFacts((1, 16, 120, 160), 10, 720, 0.0)
    assert shipped.basis(by_layer["regular"], other) == BASES[2]
    on_cpu = {layer: one.changed(device="cpu") for layer, one in by_layer.items()}
    assert {shipped.basis(one, other) for one in on_cpu.values()} == {BASES[5]}
    video = specs_of_grid()
    assert {shipped.basis(spec, assumed_facts(spec)) for spec in video} == {BASES[4]}
    # The composed filter takes what the dense one does, and its composition.
    hours = {
        s.layer: shipped.seconds(s, assumed_facts(s)) for s in video if s.mode.endswith("full")
    }
    assert hours["stdcf"] > hours["regular"]


def specs_of_grid() -> list[RunSpec]:
    from suites.experiments.kinetics_grid.suite import specs

    request = Request(profile="paper", dataset="kinetics400", seeds=1)
    wanted = ("m6n2_full", "full")
    return [s.changed(device="cuda") for s in specs(request, "ab" * 32) if s.mode in wanted][:2]


def test_another_device_has_its_own_rows() -> None:
    rows = [
        COPY,
        {**COPY, "device": "cuda:3 NVIDIA A100"},
        {**COPY, "device": "cuda:3 NVIDIA A100"},
    ]
    assert Estimates(rows).device("cuda") == "NVIDIA A100"
    assert Estimates(rows, device="h200").device("cuda") == "NVIDIA H200"
    assert Estimates(rows, device="NVIDIA L4").device("cuda") is None
