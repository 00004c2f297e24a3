"""Rows read off longer schedules are those of runs of their own, whoever was there first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stdcf.stages.stage import full_size, itsl
from stdcf.training.checkpoint import load_checkpoint
from suites import run
from suites.engine import runner, worker
from suites.engine.read_off import to_try
from suites.engine.sources import find_sources, prepare
from suites.engine.store.folder import RunFolder
from tests.suites.engine.schedules import Lab, spec


def test_a_shorter_schedule_is_read_off_and_a_longer_one_goes_on(
    manifest: str, video_root: Path, tmp_path: Path
) -> None:
    e1, e2 = spec(manifest, 1), spec(manifest, 2)
    alone, shared = Lab(tmp_path / "alone", video_root), Lab(tmp_path / "shared", video_root)
    # The shorter one for itself, then the longer one from where it ended.
    assert alone.train(e1) == 0
    assert alone.train(e2) == 0
    # Both at once; the longer one is stopped when it has passed the other's end.
    own, read_off, done = runner.make_jobs([e1, e2], shared.results)
    assert ([job.spec for job in own], [job.spec for job in read_off], done) == ([e2], [e1], 0)
    ended = shared.folder(e2).path / "stage-s1.json"
    assert shared.train(e2, ended.exists) == worker.EXIT_STOPPED
    assert shared.measured(e1) == alone.measured(e1)
    row = shared.folder(e1).result()
    assert row is not None
    assert row["read_off"] == e2.folder_name
    assert "read_off" not in (alone.folder(e1).result() or {})
    assert shared.train(e2) == 0
    assert shared.measured(e2) == alone.measured(e2)
    assert (alone.folder(e2).result() or {})["begun_by"] == e1.folder_name
    assert "begun_by" not in (shared.folder(e2).result() or {})
    assert runner.make_jobs([e1, e2], shared.results) == ([], [], 2)
    # Asked for later, in another suite.
    later = e1.changed(suite="single", mode="later", options={"of": "another"})
    assert runner.make_jobs([later], shared.results) == ([], [], 1)
    found = shared.folder(later).result()
    assert found is not None
    assert (found["suite"], found["mode"], found["read_off"]) == ("single", "later", e2.folder_name)


def test_what_is_partly_done_serves_whoever_is_asked_for_next(
    manifest: str, video_root: Path, tmp_path: Path
) -> None:
    """The longer run is stopped at each place in turn, and then a shorter one is asked for."""
    e1, e2, e3 = (
        one.changed(stages=tuple(stage.changed(epochs=2) for stage in one.stages))
        for one in (spec(manifest, n) for n in (1, 2, 3))
    )
    alone, shared = Lab(tmp_path / "alone", video_root), Lab(tmp_path / "shared", video_root)
    for one in (e1, e2, e3):
        assert alone.train(one) == 0

    def curves_have(lines: int) -> Callable[[], bool]:
        """The checkpoint is of so many whole epochs."""

        def reached() -> bool:
            file = shared.folder(e3).path / "checkpoint.pt"
            state = load_checkpoint(file) if file.exists() else None
            return state is not None and len(state["history"]["epochs"]) >= lines

        return reached

    # Within the first stage: the shorter one is asked for alone, and goes on from there.
    assert shared.train(e3, curves_have(1)) == worker.EXIT_STOPPED
    own, read_off, done = runner.make_jobs([e1], shared.results)
    assert ([job.spec for job in own], read_off, done) == ([e1], [], 0)
    assert shared.train(e1) == 0
    assert (shared.folder(e1).result() or {})["begun_by"] == e3.folder_name
    # Past the first one's end, which has its row already, and before the second one's.
    assert shared.train(e3, curves_have(5)) == worker.EXIT_STOPPED
    assert runner.make_jobs([e1], shared.results) == ([], [], 1)
    own, read_off, _ = runner.make_jobs([e2, e3], shared.results)
    assert ([job.spec for job in own], [job.spec for job in read_off]) == ([e3], [e2])
    assert shared.folder(e2).result() is None
    assert shared.train(e2) == 0
    assert (shared.folder(e2).result() or {})["begun_by"] == e3.folder_name
    assert shared.train(e3) == 0
    for one in (e1, e2, e3):
        assert shared.measured(one) == alone.measured(one)


def test_schedules_that_part_later_train_their_common_stages_once(
    manifest: str, video_root: Path, tmp_path: Path
) -> None:
    """Undilated stage-t is the same whatever γ: the second goes on from the end of the first's."""
    first = spec(manifest, 1)
    plain = [stage.changed(dilation=(1, 1), test_dilation=(1, 1)) for stage in first.stages]
    first = first.changed(stages=plain, mode="g2")
    last = plain[1].changed(temporal_stride=1)
    other = first.changed(stages=(plain[0], last), mode="g3")
    alone, shared = Lab(tmp_path / "alone", video_root), Lab(tmp_path / "shared", video_root)
    assert alone.train(other) == 0
    assert shared.train(first) == 0
    assert shared.train(other) == 0
    assert shared.measured(other) == alone.measured(other)
    row = shared.folder(other).result() or {}
    assert row["begun_by"] == first.folder_name
    seconds = [
        (lab.folder(one).path / "curves.csv").read_text().splitlines()[1].split(",")[-2]
        for lab, one in ((shared, first), (shared, other), (alone, other))
    ]
    # The first epoch was trained once.
    assert seconds[0] == seconds[1] != seconds[2]


def test_what_goes_wrong_before_a_shorter_schedules_end_is_its_end(
    manifest: str, video_root: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    lab = Lab(tmp_path / "results", video_root)
    rates = {"lr": 1e30}
    e1, e2 = (
        one.changed(stages=tuple(stage.changed(**rates) for stage in one.stages))
        for one in (spec(manifest, 1), spec(manifest, 2))
    )
    runner.make_jobs([e1, e2], lab.results)
    assert lab.train(e2) == 0
    row = lab.folder(e1).result()
    assert row is not None
    assert (row["status"], row["read_off"]) == ("nan", e2.folder_name)


def test_nothing_else_is_read_off(tmp_path: Path) -> None:
    base = spec("ab" * 32, 2)
    for other in (
        base.changed(seed=1),
        base.changed(batch_size=4),
        base.changed(layer="regular", layer_options={}),
        base.changed(manifest="cd" * 32),
        base.changed(stages=itsl(2, epochs=1, lr=1e-2)),
        base.changed(stages=itsl(2, epochs=2, lr=1e-3)),
        base.changed(savers=("checkpoint",)),
        base.changed(amp=True),
        base.changed(threads=2),
        base.changed(ranks=2),
        base.changed(starts_from="kinetics400"),
        base.changed(dataset_options={**base.dataset_options, "clip_frames": 4}),
        base.changed(stages=itsl(2, epochs=1, lr=1e-3, beta=4)),
        base.changed(stages=full_size(epochs=1, lr=1e-3)),
        # Its table needs what the longer run's row does not hold.
        base.changed(
            published={"input_shape": (1, 1, 8, 16, 16), "num_classes": 2},
        ),
        base.changed(task="train_and_test", options={"conditions": []}),
    ):
        short = other.changed(stages=other.stages[:1])
        assert find_sources([short, base], tmp_path) == [None, None]
    short = base.changed(stages=base.stages[:1], mode="t1", epochs_override=3)
    (source, none) = find_sources([short, base], tmp_path)
    assert none is None
    assert source is not None
    assert source.training == base.folder_name
    # One that has a job of its own is left to it.
    assert find_sources([short, base], tmp_path, [short.folder_name]) == [None, None]


def test_the_longest_serves_all_and_comes_as_early_as_the_first(tmp_path: Path) -> None:
    runs = [spec("ab" * 32, n) for n in (3, 1, 5, 2, 4)]
    other = spec("ab" * 32, 1, seed=1)
    own, read_off, _ = runner.make_jobs([runs[0], other, *runs[1:]], tmp_path)
    assert [job.spec for job in own] == [runs[2], other]
    assert [job.spec for job in read_off] == [runs[0], runs[1], *runs[3:]]
    # Until it has ended without what they need: then the next one is trained.
    row = {"status": "ok", "manifest": "", "finished": ""}
    RunFolder(tmp_path / runs[2].folder_name).write_result(row)
    folders = [RunFolder(tmp_path / one.folder_name) for one in runs]
    assert set(prepare(folders, runs, tmp_path).values()) == {tmp_path / runs[4].folder_name}


def test_a_job_that_waits_to_try_its_cap_keeps_its_link(tmp_path: Path) -> None:
    free, capped = spec("ab" * 32, 2), spec("ab" * 32, 2, cap_bytes=2**26)
    folders = [RunFolder.create(tmp_path, one) for one in (free, capped)]
    assert set(prepare(folders, [free, capped], tmp_path)) == {folders[1].path}
    assert to_try(folders[1])
    # The same command again, while both are in the queue.
    busy = [free.folder_name, capped.folder_name]
    assert prepare(folders, [free, capped], tmp_path, busy) == {}
    assert to_try(folders[1])


def test_a_dry_run_says_what_is_read_off_and_a_budget_what_it_buys(
    call: Any, tmp_path: Path
) -> None:
    options = ["itsl_ablation", "--dry-run", "--seeds", 1, "--results", tmp_path]
    code, out, err = call(run, *options)
    assert (code, err) == (0, "")
    assert "16 of 16 runs to do" in out
    assert "12 of them are trained; 0 try their cap by real steps, and 4 are read off others" in out
    assert out.count("read off e5") == 4
    code, out, err = call(run, *options, "--budget-gpu-hours", 1e6)
    assert (code, err) == (0, "")
    assert "1e+06 GPU-hours: 12 of 12 trainings" in out
    assert "itsl_ablation: 16 points, 12 trainings" in out
    assert "NVIDIA H200" in out
    code, _, err = call(run, *options, "--budget-gpu-hours", 1e-9)
    assert code == 2
    assert "is less than the shortest training" in err
    assert list(tmp_path.iterdir()) == []
