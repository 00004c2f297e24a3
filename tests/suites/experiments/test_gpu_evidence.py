"""gpu_evidence's tasks where there is no GPU: the same code on a CPU, CUDA's calls pretended."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.experiments.gpu_evidence import kernel_task as gpu_kernel_task
from suites.experiments.gpu_evidence import memory_task as gpu_memory_task
from suites.experiments.gpu_evidence import throughput_task as gpu_throughput_task
from suites.experiments.gpu_evidence.cases import Case, case, every_saver, others, table2, table3
from suites.experiments.gpu_evidence.machine_task import measure as measure_machine
from suites.experiments.gpu_evidence.memory_tables import memory_tables
from suites.experiments.gpu_evidence.suite import FACTORS, SUITE, specs
from suites.experiments.gpu_evidence.tables import tables

GIB = 2**30


def small(stage: str = "full", **changes: Any) -> Case:
    return case("kth_cnn", "stdcf", stage, **changes) | {"batch": 1, "clip": [1, 16, 16, 16]}


def folder(tmp_path: Path, task: str, **options: Any) -> RunFolder:
    spec = RunSpec(suite="gpu_evidence", profile="t", task=task, mode=task, seed=0, options=options)
    return RunFolder.create(tmp_path, spec)


def do(task: Any, where: RunFolder, device: str = "cpu") -> dict[str, Any]:
    row: dict[str, Any] = task(Run(where, device))
    return row


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_memory_is_measured_case_by_case_and_a_case_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [small(), small("t1"), small(savers="checkpoint")]
    measured = gpu_memory_task.measure_peak

    def one_fails(*arguments: Any, **options: Any) -> Any:
        if options["savers"]:
            raise RuntimeError("CUDA error: no kernel image\nmore")
        return measured(*arguments, **options)

    monkeypatch.setattr(gpu_memory_task, "measure_peak", one_fails)
    row = do(gpu_memory_task.measure, folder(tmp_path, "gpu_memory", cases=cases, fit=True))
    assert (row["status"], row["measured_by"]) == ("ok", "tracker_cpu")
    full, stage, failed = row["cases"]
    assert full["peak_bytes"] > stage["peak_bytes"] > 0
    assert (failed["status"], failed["reason"]) == ("error", "CUDA error: no kernel image")
    assert row["failed"] == [f"{cases[2]['name']}: CUDA error: no kernel image"]
    assert "most_clips" not in full


def test_predictions_need_no_gpu_and_caps_do(tmp_path: Path) -> None:
    row = do(gpu_memory_task.predict, folder(tmp_path, "gpu_prediction", cases=[small()]))
    assert row["cases"][0]["peak_bytes"] > 0
    assert row["measured_by"] == "fake_tensors"
    with pytest.raises(gpu_memory_task.UserError, match="needs a GPU"):
        do(gpu_memory_task.hold, folder(tmp_path, "gpu_cap", case=small(), factors=FACTORS))


def test_caps_are_set_as_parts_of_the_card_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = {"reserved_bytes": 4 * GIB, "peak_bytes": 3 * GIB}
    fractions: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=8 * GIB)
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda f, _: fractions.append(f)
    )
    monkeypatch.setattr(gpu_memory_task, "_predicted", lambda *_: predicted)

    def measured(*_: Any) -> dict[str, Any]:
        if fractions[-1] * 8 * GIB < 3.5 * GIB:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return {"peak_bytes": 3 * GIB, "reserved_bytes": int(3.5 * GIB)}

    monkeypatch.setattr(gpu_memory_task, "_measured", measured)
    where = folder(tmp_path, "gpu_cap", case=small(), factors=(2.5, 1.0, 0.9, 0.5))
    row = do(gpu_memory_task.hold, where, "cuda:0")
    assert [one["status"] for one in row["cases"]] == ["ok", "ok", "ok", "oom"]
    assert fractions[::2] == [1.0, 0.5, pytest.approx(0.45), 0.25]
    assert set(fractions[1::2]) == {1.0}


def test_the_batch_that_fills_the_card_is_tried_before_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 1 GiB and half a GiB a clip; the card has 20 GiB free, of which 1.5 go elsewhere.
    tried: list[int] = []

    def measured(one: Case, _: str, batch: int) -> dict[str, Any]:
        tried.append(batch)
        peak_bytes = GIB + batch * GIB // 2
        if peak_bytes > 18.5 * GIB:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"peak_bytes": peak_bytes}

    monkeypatch.setattr(gpu_memory_task, "_measured", measured)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (20 * GIB, 24 * GIB))
    one = small() | {"batch": 8}
    found = gpu_memory_task._filled(one, 5 * GIB, torch.device("cuda"))
    assert tried == [16, 36, 32]
    assert found == {"most_clips": 32, "most_clips_peak_bytes": 17 * GIB}


def test_throughput_of_every_way_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [small(), small("s1", dtype="bfloat16"), small(savers="recompute")]
    where = folder(tmp_path, "gpu_throughput", cases=cases, seconds=0)
    row = do(gpu_throughput_task.measure, where)
    assert (row["status"], row["measured_by"]) == ("ok", "perf_counter")
    assert [one["name"] for one in row["throughput"]] == [one["name"] for one in cases]
    assert all(one["rounds"] >= 3 and one["clips_per_second"] > 0 for one in row["throughput"])
    assert row["errors"]["float32"] < 1e-5
    # The bound is there to be missed by something: half of the float64 network's weights are off.
    exact = gpu_throughput_task._in_float64

    def wrong(*arguments: Any) -> Any:
        network = exact(*arguments)
        for parameter in network.parameters():
            parameter.data.mul_(1.5)
        return network

    monkeypatch.setattr(gpu_throughput_task, "_in_float64", wrong)
    row = do(gpu_throughput_task.measure, where)
    assert row["status"] == "error"
    assert "from float64" in row["reason"]
    assert row["throughput"] == []


def test_compiled_stands_beside_the_same_way_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr(gpu_throughput_task, "compiler_missing", lambda: None)
    one = small(model_options={"dropout": 0.0})
    where = folder(tmp_path, "gpu_compiled", cases=[one], seconds=0)
    row = do(gpu_throughput_task.measure_compiled, where)
    assert [way["name"] for way in row["throughput"]] == [one["name"], f"{one['name']} compiled"]
    assert row["errors"]["compiled"] < 1e-5
    monkeypatch.setattr(gpu_throughput_task, "compiler_missing", lambda: "triton")
    row = do(gpu_throughput_task.measure_compiled, where)
    assert (row["status"], row["left_out"]) == ("ok", ["triton"])


def test_the_kernel_is_held_to_float64_shape_by_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU its place is taken by the CPU's kernel, or by torch's own convolutions."""
    monkeypatch.setattr(gpu_kernel_task, "problem", lambda: None)
    where = folder(tmp_path, "gpu_kernel", dtype="float32")
    row = do(gpu_kernel_task.measure, where)
    assert row["status"] == "ok"
    assert len(row["errors"]) == 2
    assert all(0 < e < 1e-5 for parts in row["errors"].values() for e in parts.values())
    monkeypatch.setitem(gpu_kernel_task.BOUNDS, "float32", 1e-12)
    assert "coefficients is off by" in do(gpu_kernel_task.measure, where)["reason"]
    monkeypatch.setattr(gpu_kernel_task, "problem", lambda: "Triton is not installed")
    row = do(gpu_kernel_task.measure, where)
    assert (row["status"], row["errors"]) == ("ok", {})
    assert row["left_out"] == ["the fused kernel: Triton is not installed"]


def test_the_machine_is_measured_after_its_products_were_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suites.experiments.gpu_evidence import machine_task as gpu_machine_task

    monkeypatch.setattr(gpu_machine_task, "_ROUNDS", 2)
    row = do(measure_machine, folder(tmp_path, "gpu_machine"))
    assert row["status"] == "ok"
    assert row["copy"]["bytes_per_second"] > 1e8
    assert set(row["matrix"]) == {"float32", "bfloat16"}
    monkeypatch.setattr(gpu_machine_task, "_error", lambda a, b: float("nan"))
    assert do(measure_machine, folder(tmp_path, "gpu_machine"))["status"] == "error"


def test_names_of_cases_are_unique_and_every_combination_is_there() -> None:
    for groups in (table2(), table3(), every_saver(), others()):
        names = [one["name"] for _, cases in groups for one in cases]
        assert len(set(names)) == len(names)
    assert len([one for _, cases in table2() for one in cases]) == 3 * 3 * 2
    assert len([one for _, cases in every_saver() for one in cases]) == 13 * 6 * 2


def row_of(spec: RunSpec, **fields: Any) -> dict[str, Any]:
    known = {name: getattr(spec, name) for name in ("mode", "dataset", "model", "layer", "seed")}
    own = {"status": "ok", "reason": None, "device": "cuda:0 pretended", "commit": "0" * 40}
    return {**known, **own, "dirty": False, **fields}


def test_tables_hold_measured_against_predicted_and_the_paper() -> None:
    request = Request(profile="paper", dataset="none", device="cuda:0")
    rows = []
    for spec in specs(request, "none"):
        if spec.task not in ("gpu_memory", "gpu_prediction"):
            continue
        # Measured are 110 MiB a step, predicted are tensors of 100 and libraries' 6.
        predicted = spec.task == "gpu_prediction"
        peak_bytes = (100 if predicted else 110) * 2**20
        found = [
            {"name": one["name"], "status": "ok", "peak_bytes": peak_bytes, "reserved_bytes": 2**27}
            | ({"allocated_bytes": 106 * 2**20} if predicted else {})
            for one in spec.options["cases"]
        ]
        found[-1] = {"name": found[-1]["name"], "status": "oom", "reason": "full"}
        rows.append(row_of(spec, cases=found))
    texts = {table.title: table for table in tables(rows)}
    table_2 = texts["Table 2: peak memory of a training step on CUDA, MiB"]
    line = next(r for r in table_2.rows if "rank1 relu_saves=input s1" in r[0])
    assert line[1:7] == ["110.0", "128.0", "106.0", "-3.6%", "100.0", "290.5"]  # the paper's ITSL
    verdict = texts["What it means for the predictor"]
    tensors, with_libraries, others, _ = verdict.rows
    assert tensors[2:4] == ["0", "-9.1%"]
    assert with_libraries[2:4] == [with_libraries[1], "-3.6%"]
    # Of each of 8 groups the last is out of memory.
    assert others[1:4] == ["12", "12", "-3.6%"]
    assert "an allowance of 10 MiB would cover every step here" in verdict.notes[0]
    savers = texts["Every network, saver and type: predicted peak against allocated, MiB"]
    assert sum(row[1] == "oom" for row in savers.rows) == 13


@pytest.mark.parametrize(
    ("limit_mib", "status", "said", "counted"),
    [
        (200, "ok", "yes", "failed: 0; said not to fit and ran: 0"),
        (120, "ok", "with flushes", "failed: 0; said not to fit and ran: 0"),
        (120, "oom", "with flushes", "failed: 1; said not to fit and ran: 0"),
        (101, "oom", "tight", "failed: 0; said not to fit and ran: 0"),
        (90, "ok", "no", "failed: 0; said not to fit and ran: 1"),
    ],
)
def test_what_ran_under_a_limit_is_held_to_what_is_said_of_it(
    limit_mib: int, status: str, said: str, counted: str
) -> None:
    of_step = {"name": "a step", "status": "ok", "peak_bytes": 90 * 2**20}
    of_step |= {"smallest_cap_bytes": 100 * 2**20, "reserved_bytes": 150 * 2**20}
    held = {"name": "1", "factor": 1.0, "cap_bytes": limit_mib * 2**20, "status": status}
    (table,) = memory_tables(
        {
            "predicted": [{"mode": "predicted-4-savers-x", "cases": [of_step]}],
            "5": [{"mode": "5-cap-x", "case": "a step", "cases": [held]}],
            **{item: [] for item in ("2", "3", "4", "9")},
        }
    )
    assert table.rows[0][-1] == said
    assert counted in table.notes[-1]


def test_without_a_gpu_the_tables_say_so() -> None:
    request = Request(profile="quick", dataset="none")
    (machine,) = [spec for spec in specs(request, "none") if spec.task == "gpu_machine"]
    failed = {"status": "error", "reason": "x", "device": "cpu"}
    (table,) = tables([row_of(machine, **failed)])
    assert any("NO GPU took part" in note for note in table.notes)
    assert [r[-1] for r in table.rows if r[0] in "2345"] == ["skipped: needs a GPU"] * 4
    assert SUITE.prefers_gpu
