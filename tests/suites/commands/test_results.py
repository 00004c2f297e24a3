"""Runs carried between machines: what goes out comes in whole, and nothing else comes in."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites import paths, results
from suites.engine.spec import parse_spec
from suites.engine.store import archive, intake
from suites.engine.store.folder import RunFolder
from suites.engine.store.index import read_rows
from suites.engine.store.intake import verify
from tests.suites.reporting.many_runs import make_runs

COUNT = 12


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine's runs, and nothing shipped."""
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "shipped")
    make_runs(tmp_path / "theirs", COUNT)
    return tmp_path / "theirs"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("name", ["runs.tar", "runs.tar.gz", "runs.tgz"])
def test_what_is_exported_is_imported(call: Any, theirs: Path, tmp_path: Path, name: str) -> None:
    checkpoint = next(theirs.rglob("spec.json")).with_name("checkpoint.pt")
    checkpoint.write_bytes(pickle.dumps("not for others"))
    file, ours = tmp_path / name, tmp_path / "ours"
    code, out, err = call(results, "export", file, "--results", theirs)
    assert (code, err) == (0, "")
    assert out.startswith(f"{COUNT} runs in ")
    first = file.read_bytes()
    os.utime(checkpoint.with_name("spec.json"))
    call(results, "export", file, "--results", theirs)
    assert file.read_bytes() == first
    code, out, err = call(results, "import", file, "--results", ours)
    assert (code, err) == (0, "")
    assert out == f"{COUNT} new; in {ours}\n"
    checkpoint.unlink()
    assert contents(ours) == contents(theirs)
    code, out, _ = call(results, "import", file, "--results", ours)
    assert (code, out) == (0, f"{COUNT} there already; in {ours}\n")


def test_only_what_fits_is_exported(call: Any, theirs: Path, tmp_path: Path) -> None:
    file = tmp_path / "some.tar"
    where = ("--results", theirs)
    assert call(results, "export", file, *where, "--status", "oom")[0] == 2
    assert not file.exists()
    unfinished = next(theirs.rglob("result.json"))
    unfinished.unlink()
    assert call(results, "export", file, *where)[1].startswith(f"{COUNT - 1} runs")
    assert call(results, "export", tmp_path / "x.zip", *where)[2].startswith(
        "error: x.zip must end"
    )


def test_folders_are_merged(call: Any, theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    make_runs(ours, 4)
    (theirs / list(read_rows(theirs))[-1] / "result.json").unlink()
    code, out, err = call(results, "merge", theirs, "--results", ours)
    assert (code, err) == (0, "")
    assert out == f"{COUNT - 5} new, 4 there already, 1 not ended there; in {ours}\n"
    assert call(results, "merge", ours, "--results", ours)[0] == 2
    assert call(results, "merge", tmp_path / "none", "--results", ours)[0] == 2
    (tmp_path / "void").mkdir()
    assert "no runs there" in call(results, "merge", tmp_path / "void", "--results", ours)[2]


def change(folder: Path, **fields: Any) -> None:
    row = json.loads((folder / "result.json").read_text()) | fields
    (folder / "result.json").write_text(json.dumps(row))


@pytest.mark.parametrize(
    ("here", "there", "options", "outcome"),
    [
        ("ok", "ok", [], "kept"),
        ("ok", "nan", [], "kept"),
        ("ok", "nan", ["--replace"], "replaced"),
        # Their run would not be done again, ours would.
        ("timeout", "ok", [], "replaced"),
        ("error", "timeout", [], "kept"),
        ("ok", "timeout", [], "kept"),
    ],
)
def test_two_rows_of_one_run(
    call: Any, theirs: Path, tmp_path: Path, here: str, there: str, options: list, outcome: str
) -> None:
    ours = tmp_path / "ours"
    make_runs(ours, 1)
    name = next(iter(read_rows(ours)))
    change(ours / name, status=here, device="ours")
    change(theirs / name, status=there, device="theirs")
    code, out, _ = call(results, "merge", theirs, "--results", ours, *options)
    assert json.loads((ours / name / "result.json").read_text())["device"] == (
        "theirs" if outcome == "replaced" else "ours"
    )
    assert code == (0 if outcome == "replaced" else 1)
    assert ("1 replaced" in out) == (outcome == "replaced")
    assert (f"{name}: another row is here" in out) == (outcome == "kept")


def test_a_run_that_is_worked_on_is_left_alone(call: Any, theirs: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    make_runs(ours, 1)
    name = next(iter(read_rows(ours)))
    change(ours / name, status="timeout")
    with RunFolder(ours / name).claim():
        code, out, _ = call(results, "merge", theirs, "--results", ours, "--replace")
        assert code == 1
        assert "1 being worked on here" in out
        code, out, _ = call(results, "rm", "--suite", "kth_table2", "--results", ours, "--yes")
        assert (code, out.splitlines()[0]) == (1, f"removed {COUNT - 1} runs")
    assert list(read_rows(ours)) == [name]


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: change(f, run_id="0" * 12), "its row is of run"),
        (lambda f: change(f, seed=77), "its row has seed 77"),
        (lambda f: change(f, manifest="cd"), "its row has manifest 'cd'"),
        (lambda f: change(f, status=["ok"]), "no valid status"),
        (lambda f: change(f, finished=None), "no finished"),
        (lambda f: (f / "result.json").write_text("[]"), "result.json is not a JSON object"),
        (lambda f: (f / "result.json").write_text("[" * 100_000), "result.json is not JSON"),
        (lambda f: (f / "result.json").write_bytes(b"\xff"), "result.json is not UTF-8"),
        (lambda f: (f / "log.txt").write_bytes(b"\xff"), "log.txt is not UTF-8"),
        (lambda f: edit_spec(f, batch_size=8), "its spec is of run"),
        (lambda f: edit_spec(f, batch_size=-1), "batch_size"),
        (lambda f: edit_spec(f, surprise=1), "surprise"),
        (lambda f: edit_spec(f, schema_version=99), "written under schema 99"),
        (lambda f: edit_spec(f, schema_version="1"), "schema_version must be a number"),
        (lambda f: (f / "spec.json").write_text(""), "spec.json is not JSON"),
    ],
)
def test_a_run_that_does_not_fit_stops_everything(
    call: Any, theirs: Path, tmp_path: Path, damage: Change, words: str
) -> None:
    name = list(read_rows(theirs))[COUNT // 2]
    damage(theirs / name)
    ours = tmp_path / "ours"
    code, out, err = call(results, "merge", theirs, "--results", ours)
    assert (code, out) == (2, "")
    assert words in err
    assert name in err
    assert err.count("\n") == 1
    assert not ours.exists()


def edit_spec(folder: Path, **fields: Any) -> None:
    spec = json.loads((folder / "spec.json").read_text()) | fields
    (folder / "spec.json").write_text(json.dumps(spec))


def one_run(root: Path) -> tuple[str, dict[str, bytes]]:
    name = next(iter(read_rows(root)))
    return name, {f: (root / name / f).read_bytes() for f in archive.FILES}


@pytest.mark.parametrize("suite", ["../../up", "/root", ".hidden", "a/b", "a b"])
def test_a_spec_cannot_choose_a_folder_elsewhere(theirs: Path, suite: str) -> None:
    name, files = one_run(theirs)
    spec = parse_spec(files["spec.json"].decode()).model_copy(update={"suite": suite})
    row = json.loads(files["result.json"]) | {"suite": suite}
    content = spec.model_dump_json().encode()
    with pytest.raises(UserError, match="its spec asks for the folder"):
        verify(name, files | {"spec.json": content, "result.json": json.dumps(row).encode()})


def test_the_shipped_runs_verify() -> None:
    for name, files in intake.runs_in(paths.REPOSITORY / "results" / "runs"):
        verify(name, files)


def test_list_and_show(call: Any, theirs: Path) -> None:
    where = ("--results", theirs)
    rows = read_rows(theirs)
    code, out, err = call(results, "list", *where)
    assert (code, err) == (0, "")
    assert f"{COUNT} runs" in out
    found = json.loads(call(results, "list", *where, "--format", "json")[1])[0]["rows"]
    assert {row["Run"] for row in found} == {row["run_id"] for row in rows.values()}
    finished = [row["Finished"] for row in found]
    assert finished == sorted(finished, reverse=True)
    assert "8 more" in call(results, "list", *where, "--limit", 4)[1]
    assert call(results, "list", *where, "--format", "yaml")[0] == 2
    assert call(results, "list", "--results", theirs / "none")[0] == 2
    name, row = next(iter(rows.items()))
    shown = json.loads(call(results, "show", row["run_id"][:8], *where)[1])
    assert shown["row"] == row
    assert shown["spec"] == json.loads((theirs / name / "spec.json").read_text())
    assert shown["last_epochs"] == (theirs / name / "curves.csv").read_text().splitlines()[-3:]
    assert "no run 'zz'" in call(results, "show", "zz", *where)[2]
    assert "give more of the id" in call(results, "show", "", *where)[2]


def test_removing(call: Any, theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = ("--results", theirs)
    rows = read_rows(theirs)
    name, row = next(iter(rows.items()))
    # Nobody is there to be asked.
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "confirm with --yes" in call(results, "rm", row["run_id"], *where)[2]
    assert read_rows(theirs) == rows
    assert call(results, "rm", row["run_id"], *where, "--yes")[1] == "removed 1 runs\n"
    assert not (theirs / name).exists()
    assert len(read_rows(theirs)) == COUNT - 1
    assert call(results, "rm", *where, "--yes")[0] == 2
    assert call(results, "rm", "--status", "oom", *where, "--yes")[0] == 2
    assert call(results, "rm", "--suite", "kth_table2", *where, "-y")[0] == 0
    # Nor is an empty folder left.
    assert list(theirs.iterdir()) == []


def test_shipped_runs_are_not_removed(
    call: Any, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SHIPPED", theirs)
    (tmp_path / "ours").mkdir()
    row = next(iter(read_rows(theirs).values()))
    where = ("--results", tmp_path / "ours", "--yes")
    assert "git rm removes it" in call(results, "rm", row["run_id"], *where)[2]
    assert "no run matches" in call(results, "rm", "--suite", "kth_table2", *where)[2]
    assert len(read_rows(theirs)) == COUNT
    assert call(results, "list", "--results", tmp_path / "ours")[1].count(" † ") == COUNT + 1
