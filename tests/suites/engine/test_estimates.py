"""Estimates for plans and clusters: as what the rows will say, found once for all that share it."""

import pytest

from suites.engine import estimates as module
from suites.engine.estimates import ClipFacts, Estimates
from suites.engine.spec import RunSpec
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


def test_a_network_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    real = module.count

    def count(*words, **options):
        counted.append(words)
        return real(*words, **options)

    monkeypatch.setattr(module, "count", count)
    shared = Estimates(teraflops=1.0)
    seconds = [shared.seconds(spec, FACTS) for spec in runs("full", "full_same_compute")]
    assert len(counted) == 1
    # 3 × 2 × MACs × clips × epochs, and the test.
    # As the plan computes them: the composed filter, which costs more than the factors.
    macs = real(*counted[0]).executed_macs
    assert macs > real(*counted[0]).macs
    assert seconds[0] == pytest.approx(2 * macs * (3 * 24 * 5 + 6) / 1e12)
    assert seconds[1] > seconds[0]
