"""estimators: each number by another way to the same, and scores worked by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stdcf.memory import predict_peak
from stdcf.models import create_model
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.task import Run
from suites.experiments.estimators import task
from suites.experiments.estimators.suite import groups
from suites.experiments.estimators.tables import TITLES, tables
from suites.experiments.estimators.ways import ESTIMATORS, Estimator, formula, tracked
from suites.experiments.gpu_evidence.cases import Case, case
from suites.experiments.gpu_evidence.shipped import measured_steps

MIB = 2**20


def small(dtype: str = "float32") -> Case:
    return case("kth_cnn", "regular", dtype=dtype) | {"batch": 2, "clip": [1, 8, 16, 16]}


def test_every_step_of_the_suite_was_measured_on_a_gpu() -> None:
    measured = measured_steps()
    steps = [one for group in groups().values() for one in group]
    assert len(steps) == 2 * len(groups()) == 38
    assert all(measured[one["name"]]["device"].startswith("cuda") for one in steps)


def test_the_trackers_peak_is_that_of_the_tensors_on_cpu() -> None:
    def build() -> torch.nn.Module:
        return create_model("kth_cnn", num_classes=6, in_channels=1)

    here = predict_peak(build, (2, 1, 8, 16, 16), device="cpu", num_classes=6)
    assert tracked(small())["peak"] == pytest.approx(here.peak_bytes, rel=0.05)


def test_the_formula_by_hand() -> None:
    # Per block the convolution's, norm's and ReLU's outputs, the pool's and the dropout's; then
    # the head's.
    parameters = (27 * 16 + 3 * 16) + (27 * 16 * 32 + 3 * 32) + (27 * 32 * 64 + 3 * 64) + 65 * 6
    clip, first, second, third = 8 * 16 * 16, 16 * 2048, 32 * 8 * 64, 64 * 4 * 16
    pools = 16 * 8 * 64, 32 * 4 * 16, 64 * 2 * 4
    outputs = 3 * (first + second + third) + 2 * sum(pools) + 6
    assert formula(small())["peak"] == 4 * (4 * parameters + 2 * (clip + outputs))


def test_a_missing_package_and_a_failure_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = task.estimated(Estimator("no-such-package-stdcf", formula), small())
    assert missing == {
        "status": "missing",
        "reason": "pip install --no-deps no-such-package-stdcf",
    }

    def fails(one: Case) -> dict[str, int]:
        raise TypeError("not this network\nmore")

    failed = task.estimated(Estimator("", fails), small())
    assert (failed["status"], failed["reason"]) == ("failed", "TypeError: not this network")


@pytest.mark.parametrize("name", ["kitsune", "vram_check"])
def test_optional_packages_give_bytes(name: str) -> None:
    pytest.importorskip({"kitsune": "kitsune", "vram_check": "vram_check"}[name])
    assert ESTIMATORS[name].estimate(small())["peak"] > 0


def test_the_task_asks_every_estimator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        task, "ESTIMATORS", {"formula": ESTIMATORS["formula"], "x": Estimator("x-stdcf", formula)}
    )
    one = small() | {"name": "kth_cnn regular full float32"}
    spec = RunSpec(
        suite="estimators", profile="t", task="t", mode="t", seed=0, options={"cases": [one]}
    )
    row = task.measure(Run(RunFolder.create(tmp_path, spec), "cpu"))
    (step,) = row["cases"]
    assert step["estimates"]["formula"]["bytes"] == formula(one)
    assert step["estimates"]["x"]["status"] == "missing"
    assert step["measured"]["peak_bytes"] == measured_steps()[one["name"]]["peak_bytes"]
    assert row["summary"] == "1 of 2 estimates"


def made_up() -> list[dict[str, Any]]:
    """Two steps of 100 MiB, 120 reserved; estimates of 96 and 110, missing and failed ones."""

    def estimate(**n_mib: int) -> dict[str, Any]:
        n_bytes = {key: n * MIB for key, n in n_mib.items()}
        return {"status": "ok", "bytes": n_bytes, "seconds": 2.0, "version": ""}

    steps = []
    for name, n_mib in (("a", 96), ("b", 110)):
        estimates = {key: estimate(peak=n_mib) for key in TITLES}
        estimates["predict_peak"] = estimate(allocated=101, cap=130)
        estimates["kitsune"] = {"status": "missing", "reason": "pip install --no-deps x"}
        if name == "b":
            estimates["mem_tracker"] = {"status": "failed", "reason": "TypeError: y", "version": ""}
        known = {"device": "cuda:0 X", "finished": "2026-11-26T00:00:00Z"}
        known |= {"peak_bytes": 100 * MIB, "reserved_bytes": 120 * MIB}
        steps.append({"name": name, "measured": known, "estimates": estimates})
    of_row = {"status": "ok", "shipped": False, "commit": "c" * 40, "dirty": False, "device": "cpu"}
    return [{"cases": steps, "finished": "2026-11-29T00:00:00Z", **of_row}]


def test_scores_by_hand() -> None:
    scores, every = tables(made_up())
    lines = {row[0]: list(row[1:]) for row in scores.rows}
    share = ["1.0%", "100%", "+1.0%", "+1.0%", "0%", "100%", "2.0"]
    assert lines["predict_peak, allocated"] == ["2", "0", "0", *share]
    assert lines["predict_peak, smallest cap and 5%"][-3:] == ["0%", "0%", "2.0"]
    assert lines["torch's MemTracker"][:4] == ["1", "1", "0", "4.0%"]
    assert lines["torch-kitsune"] == ["0", "0", "2", *["–"] * 7]
    # 4% short and 10% too much: the first is out of memory.
    assert lines["vram-check"][3:9] == ["7.0%", "50%", "-4.0%", "+10.0%", "50%", "100%"]
    assert "torch-kitsune is not installed: pip install --no-deps x" in scores.notes
    assert "torch's MemTracker failed on b: TypeError: y" in scores.notes
    assert every.rows[1] == [
        "b",
        "100.0",
        "+1.0%",
        "+30.0%",
        "failed",
        "missing",
        "+10.0%",
        "+10.0%",
    ]


def test_titles_are_the_estimators() -> None:
    assert list(TITLES) == list(ESTIMATORS)
