"""The commands on a small store: what they print, what they import, what they leave alone."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suites import doctor, report, run, status
from suites.engine.registry import SUITES
from suites.engine.store.folder import RunFolder, run_folders
from suites.engine.suite import Request
from suites.experiments.shared import kth
from suites.paths import REPOSITORY
from suites.reporting.figures.common import COMMON
from tests.suites.tables.read_back import from_csv, from_json

COMMANDS = ("run", "report", "plot", "results", "status", "doctor", "data", "plan")


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=REPOSITORY
    )


def contents(folder: Path) -> dict[str, int]:
    """Every path under a folder and when it was changed; claims leave an empty lock."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.name != "lock"
    }


@pytest.fixture
def store(undisturbed: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The results of the small suite, and nothing shipped beside them."""
    monkeypatch.setattr("suites.paths.SHIPPED", tmp_path / "shipped")
    return Path(undisturbed.results)


HELP = """
import runpy, sys
for name in sys.argv[1].split():
    sys.argv = [name, "--help"]
    try:
        runpy.run_module(f"suites.{name}", run_name="__main__")
    except SystemExit as ended:
        assert ended.code in (0, None), (name, ended.code)
assert "torch" not in sys.modules
"""


def test_help_of_every_command_comes_without_torch() -> None:
    done = python(HELP, " ".join(COMMANDS))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().count("usage: ") == len(COMMANDS)
    options = ("--profile", "--seeds", "--cap", "--budget-minutes", "--dry-run", "--format")
    for option in (*options, "--diff", "--html", "--docs"):
        assert option in done.stdout


WITHOUT_TORCH = """
import sys
from suites import plot, report, status
from suites.cli import run
commands = {"report": report, "plot": plot, "status": status}
for line in sys.argv[1:]:
    name, *sys.argv[1:] = line.split("|")
    try:
        run(commands[name].app)
    except SystemExit as ended:
        assert ended.code == 0, (line, ended.code)
assert not {"torch", "torchvision", "av", "timm"} & sys.modules.keys()
"""


def test_the_tables_of_all_suites_come_without_torch() -> None:
    done = python(WITHOUT_TORCH, "report")
    assert (done.returncode, done.stderr) == (0, "")
    assert "No runs yet: " in done.stdout


@pytest.mark.slow
def test_tables_and_figures_come_from_results_without_torch(store: Path, tmp_path: Path) -> None:
    where = f"kth_table2|--results|{store}"
    lines = (f"report|{where}", f"plot|{where}|--out|{tmp_path / 'out'}", f"status|{where}")
    done = python(WITHOUT_TORCH, *lines)
    assert (done.returncode, done.stderr) == (0, "")
    # Beside the figures of what is shipped.
    drawn = sorted(tmp_path.glob("out/kth_table2/video_folder-*/*.*g"))
    assert [path.name for path in drawn] == [
        f"{name}.{extension}"
        for name in sorted(["figure5", *COMMON])
        for extension in ("png", "svg")
    ]
    for path in drawn:
        assert f"{path}\n" in done.stdout
        if path.suffix == ".svg":
            assert "video_folder" in path.read_text(encoding="utf-8")


def test_list(call: Any) -> None:
    code, out, err = call(run, "--list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(SUITES)


@pytest.mark.parametrize("profile", list(kth.PROFILES))
def test_a_dry_run_touches_nothing(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    """Nor does it need the data, or make it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    options = ["--dry-run", "--profile", profile, "--results", "results"]
    code, out, err = call(run, "kth_table2", *options, "--seeds", 2)
    assert (code, err) == (0, "")
    assert "24 of 24 runs to do" in out
    assert out.count("to do") == 25
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_is_done(call: Any, small_suite_here: Any, undisturbed: Any) -> None:
    small_suite_here.results = undisturbed.results
    before = contents(undisturbed.results)
    code, out, _ = call(run, *small_suite_here.arguments(), "--dry-run")
    assert code == 0
    assert "0 of 2 runs to do" in out
    code, out, _ = call(run, *small_suite_here.arguments(), "--dry-run", "--seeds", "2")
    assert "2 of 4 runs to do" in out
    assert contents(undisturbed.results) == before


def test_the_plan_is_the_papers() -> None:
    """§3.1: 40 epochs and E=3 stages of 40; ITSL's computation is 2.25 times full size's."""
    request = Request(profile="paper", dataset="kth", options={"rates": "paper"})
    specs = kth.specs(request, "0" * 64)
    assert len(specs) == 3 * 4 * 3
    assert len({spec.run_id for spec in specs}) == len(specs)
    # The paper's rows first, seed by seed.
    assert [spec.seed for spec in specs[:18]] == [0] * 6 + [1] * 6 + [2] * 6
    assert {spec.mode for spec in specs[:18]} == {"full", "itsl"}
    for spec in specs:
        assert spec.batch_size == 16
        assert spec.dataset_options["size"] == [60, 80]
        assert all(stage.lr == 1e-3 for stage in spec.stages)
        epochs = [stage.epochs for stage in spec.stages]
        assert epochs == {"itsl": [40] * 6, "full_same_compute": [90]}.get(spec.mode, [40])
        assert [stage.milestones for stage in spec.stages] == [(e // 2,) for e in epochs]
        dilations = {stage.test_dilation for stage in spec.stages}
        assert dilations == {(2, 2) if spec.mode in ("itsl", "full_dilated") else (1, 1)}


def test_report_in_every_format(call: Any, store: Path) -> None:
    where = ("kth_table2", "--results", store)
    before = contents(store)
    code, text, err = call(report, *where)
    assert (code, err) == (0, "")
    assert text.count("Table 2: ") == 3
    tables = json.loads(call(report, *where, "--format", "json")[1])
    assert [set(table) for table in tables] == [{"title", "columns", "rows", "notes"}] * 3
    read = from_csv(call(report, *where, "--format", "csv")[1])
    assert [table.to_json() for table in read] == [
        table.to_json() for table in from_json(call(report, *where, "--format", "json")[1])
    ]
    accuracies = {(row["Layer"], row["Training"]): row["Clip acc., %"] for row in tables[0]["rows"]}
    for folder in run_folders(store):
        row = folder.result()
        assert row is not None
        names = {"regular": ("Reg. 3D", "full size"), "stdcf": ("STDCF", "ITSL, E=3")}
        assert accuracies[names[row["layer"]]] == f"{100 * row['accuracy']:.2f}"
    markdown = call(report, *where, "--format", "md")[1]
    assert markdown.count("### ") == 3
    lines = list(csv.reader(call(report, *where, "--format", "csv")[1].splitlines()))
    assert lines[0] == ["table", *tables[0]["columns"]]
    assert lines[1] == [tables[0]["title"], *tables[0]["rows"][0].values()]
    latex = call(report, *where, "--format", "latex")[1]
    assert latex.count(r"\begin{tabular}") == 3
    assert contents(store) == before


def test_the_suites_tables_are_the_reports(call: Any, store: Path, small_suite_here: Any) -> None:
    small_suite_here.results = store
    shown = call(run, *small_suite_here.arguments())[1]
    reported = call(report, "kth_table2", "--results", store)[1]
    assert shown.count(reported) == 1


def test_rows_of_other_clips_are_a_table_of_their_own(
    call: Any, store: Path, tmp_path: Path
) -> None:
    """As when a video was added between two calls: never one mean of both."""
    for manifest in ("a" * 64, "b" * 64):
        for folder in run_folders(store):
            spec = folder.spec().model_copy(update={"manifest": manifest})
            row = folder.result()
            assert row is not None
            copy = RunFolder.create(tmp_path / "results", spec)
            own = {"manifest": manifest, "base_manifest": manifest, "run_id": spec.run_id}
            copy.write_result(row | own)
    tables = json.loads(
        call(report, "kth_table2", "--results", tmp_path / "results", "--format", "json")[1]
    )
    assert len(tables) == 2 * 3
    counts = [[row["n"] for row in table["rows"]] for table in tables[::3]]
    assert counts == [["1", "0", "0", "0", "0", "1", *["0"] * 6]] * 2


def test_status_of_every_state(
    call: Any, undisturbed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = run_folders(undisturbed.results)[0].spec()
    folders = [
        RunFolder.create(tmp_path, spec.model_copy(update={"seed": seed})) for seed in range(7)
    ]
    where = {"stage": "full", "epoch": 2, "epochs": 3, "fraction": 0.25}
    running, stopped, ok, nan, error, again = folders[1:]
    running.write_state(status="running", **where)
    stopped.write_state(status="running", **where)
    ok.write_result({"status": "ok", "accuracy": 0.5})
    nan.write_result({"status": "nan", "reason": "loss is nan"})
    for folder in (error, again):
        folder.write_state(status="running", **where)
        folder.write_result({"status": "error", "reason": "killed [by a person]"})
    with running.claim(), again.claim():
        code, out, err = call(status, "kth_table2", "--results", tmp_path)
    assert (code, err) == (0, "")
    assert f"1 of 7 runs ok in {tmp_path}" in out.replace("\n", "")
    found = {line.split()[2]: line for line in out.splitlines() if "regular full" in line}
    expected = ("waiting", "running", "stopped", "ok", "nan", "error", "running")
    for seed, state in enumerate(expected):
        assert state in found[str(seed)].split(), found
    assert "25%, stage full, epoch 2 of 3" in found["1"]
    assert "resumes with suites.run" in found["2"]
    assert "killed [by a person]" in found["5"]


def test_doctor_says_what_is_there(call: Any) -> None:
    code, out, err = call(doctor)
    assert (code, err) == (0 if "missing  " not in out else 1, "")
    for what in ("python", "torch", "av", "scipy", "cpu", "slurm", "results", "cache"):
        assert any(line.split()[1] == what for line in out.splitlines())


def test_doctor_knows_disk_compiler_and_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from stdcf import memory
    from stdcf.layers.cpu import library
    from stdcf.models import create_model

    with torch.device("meta"):
        network = create_model("resnet3d_50", num_classes=400)
    assert sum(p.numel() for p in network.parameters()) == doctor._PARAMETERS
    usage = doctor.shutil.disk_usage("/")._replace(free=2**30)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    results, cache = doctor._folders()
    assert (results[0], cache[0]) == (False, True)
    assert "1.0 GiB free; a run of resnet3d_50 writes 2.1 GiB: give --results" in results[2]

    assert [ok for ok, *_ in doctor._torch()] == [True]
    monkeypatch.setattr(memory, "predict_peak", lambda *_, **__: [][0])
    ((ok, _, detail),) = doctor._torch()
    assert not ok
    assert "(IndexError: list index out of range); pip install 'torch==" in detail
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1"))
    ((ok, _, detail),) = doctor._torch()
    assert not ok
    assert "torch 2.9.1 is older than 2.10" in detail

    monkeypatch.setattr(library, "problem", lambda: "no C++ compiler (g++); install g++")
    ((ok, _, detail),) = doctor._kernel()
    assert not ok
    assert "install g++" in detail
    monkeypatch.setenv("STDCF_KERNEL", "0")
    assert [ok for ok, *_ in doctor._kernel()] == [True]


def test_doctor_names_remedies(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib import metadata

    def version(package: str) -> str:
        if package in ("av", "timm"):
            raise metadata.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    code, out, _ = call(doctor)
    assert code == 1
    missing = [line for line in out.splitlines() if line.startswith("missing")]
    assert len(missing) == 2
    assert "pip install -e ." in missing[0]
    assert "pip install av: decode video" in missing[1]
