"""A capped run's row is the uncapped one's where real steps are kept, and then it would be so."""

from pathlib import Path
from typing import Any

import pytest

from suites.engine import cap_probe, runner, worker
from suites.engine.cap_probe import _Tried
from suites.engine.read_off import cap_verdict, source_of
from tests.suites.engine.schedules import Lab, spec

MIB = 2**20


def test_a_capped_row_is_what_it_would_be_if_it_were_trained(
    manifest: str, video_root: Path, tmp_path: Path
) -> None:
    free, capped = spec(manifest, 1), spec(manifest, 1, cap_bytes=64 * MIB)
    tight = spec(manifest, 1, cap_bytes=MIB // 2)
    half = free.changed(stages=free.stages[:1]), capped.changed(stages=capped.stages[:1])
    alone, shared = Lab(tmp_path / "alone", video_root), Lab(tmp_path / "shared", video_root)
    for one in (capped, tight):
        assert alone.train(one) == 0
    runs = [*half, free, capped, tight]
    own, read_off, _ = runner.make_jobs(runs, shared.results)
    assert [job.spec for job in own] == [free, capped, tight]
    assert [job.spec for job in read_off] == [*half]
    # The cap is tried before the uncapped run is there, or after it.
    assert shared.train(capped) == worker.EXIT_SAME
    verdict = cap_verdict(shared.folder(capped))
    assert verdict is not None
    assert (verdict.same, verdict.exceeded, set(verdict.stages)) == ("bits", False, {"t1", "s1"})
    assert shared.folder(capped).result() is None
    assert shared.train(free) == 0
    assert shared.train(tight) == 0
    expected, found = alone.measured(capped), shared.measured(capped)
    assert found.pop("cap_decided_by") == "real steps, equal to the bit"
    assert found == expected
    row = shared.folder(capped).result() or {}
    assert row["read_off"] == free.folder_name
    assert shared.measured(half[1])["stages"] == expected["stages"][:1]
    # What a step does not fit under is over at once, and says so as a run does.
    expected, found = (lab.folder(tight).result() or {} for lab in (alone, shared))
    assert found["status"] == "cap_exceeded"
    for name in ("status", "reason", "measured_peak_bytes", "peak_place", "cap_bytes"):
        assert found[name] == expected[name]
    assert not list(shared.folder(tight).path.glob("*.pt"))
    assert runner.make_jobs(runs, shared.results) == ([], [], 5)


def test_where_results_differ_the_run_is_trained(
    manifest: str, video_root: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    free, capped = spec(manifest, 1), spec(manifest, 1, cap_bytes=64 * MIB)
    short = capped.changed(stages=capped.stages[:1])
    tried = cap_probe._try

    def with_another_kernel(run: Any, data: Any, stage: Any, cap_bytes: int | None) -> _Tried:
        found = tried(run, data, stage, cap_bytes)
        return (
            found if cap_bytes is None else _Tried([t + 1e-6 for t in found.tensors], found.facts)
        )

    monkeypatch.setattr(cap_probe, "_try", with_another_kernel)
    lab = Lab(tmp_path / "results", video_root)
    runner.make_jobs([free, capped, short], lab.results)
    assert lab.train(capped) == 0
    row = lab.folder(capped).result() or {}
    assert row["status"] == "ok"
    assert "read_off" not in row
    assert (lab.folder(short).result() or {})["read_off"] == capped.folder_name


@pytest.mark.parametrize(("repetition", "same"), [(1e-6, "repetition"), (1e-9, "no"), (0.0, "no")])
def test_a_device_that_does_not_repeat_itself(
    repetition: float, same: str, tmp_path: Path, monkeypatch: Any
) -> None:
    import torch

    count = 0

    def tried(run: Any, data: Any, stage: Any, cap_bytes: int | None) -> _Tried:
        nonlocal count
        count += 1
        gap = {1: 0.0, 2: 1e-6, 3: repetition}[(count - 1) % 3 + 1]
        return _Tried([torch.ones(3, dtype=torch.float64) * (1 + gap)], {"peak_bytes": 1})

    monkeypatch.setattr(cap_probe, "_try", tried)
    one = spec("ab" * 32, 1, cap_bytes=MIB)
    lab = Lab(tmp_path, tmp_path)
    run: Any = type("Run", (), {"spec": one, "folder": lab.folder(one)})()
    assert cap_probe._verdict(run, None).same == same  # type: ignore[arg-type]


def test_who_tries_a_cap_and_who_does_not(tmp_path: Path) -> None:
    cap = {"cap_bytes": MIB}
    e1, e2 = spec("ab" * 32, 1), spec("ab" * 32, 2)
    runner.make_jobs([e1, e2, e1.changed(**cap), e2.changed(**cap)], tmp_path)
    lab = Lab(tmp_path, tmp_path)
    longest = e2.changed(**cap).folder_name
    for one in (e1, e2):
        source = source_of(lab.folder(one.changed(**cap)))
        assert source is not None
        assert (source.training, source.cap) == (e2.folder_name, longest)
    for change in (
        {"ranks": 2},
        {"savers": ("budget=0.5",)},
        {"stages": tuple(stage.changed(recalibrate=True) for stage in e1.stages)},
        {"stages": (e1.stages[0], e1.stages[1].changed(fresh_optimizer=False))},
        {"task": "train_and_test", "options": {"conditions": []}},
    ):
        one = e1.changed(**change)
        runner.make_jobs([one, one.changed(**cap)], tmp_path)
        assert source_of(lab.folder(one.changed(**cap))) is None
