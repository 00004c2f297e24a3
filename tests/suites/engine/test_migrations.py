"""Runs of older schemas, brought to the present one."""

import json
from pathlib import Path
from typing import Any

import pytest

from stdcf.errors import UserError
from suites import paths, results
from suites.engine.store import archive
from suites.engine.store import intake as migrations
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


def first_schema(spec: dict[str, Any], row: dict[str, Any] | None) -> tuple[dict, dict | None]:
    """As if schema 0 had called the seed "random_seed", and rows had no dtype."""
    spec = dict(spec)
    spec["seed"] = spec.pop("random_seed")
    return spec, None if row is None else {**row, "seed": spec["seed"], "dtype": "float32"}


def test_a_run_of_an_older_schema_is_migrated(
    call: Any, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(iter(read_rows(theirs)))
    folder = theirs / name
    new_id = name.rpartition("-")[2]
    spec = json.loads((folder / "spec.json").read_text())
    spec |= {"schema_version": 0, "random_seed": spec.pop("seed")}
    (folder / "spec.json").write_text(json.dumps(spec))
    row = json.loads((folder / "result.json").read_text())
    row |= {"run_id": "0" * 12}
    del row["dtype"], row["seed"]
    (folder / "result.json").write_text(json.dumps(row))
    old = folder.rename(folder.with_name("regular-full-s0-" + "0" * 12))
    ours = tmp_path / "ours"
    code, _, err = call(results, "merge", theirs, "--results", ours)
    assert code == 2
    assert "written under schema 0, which this code cannot read" in err
    monkeypatch.setitem(migrations.MIGRATIONS, 0, first_schema)
    code, out, err = call(results, "merge", theirs, "--results", ours)
    assert (code, out, err) == (0, f"{COUNT} new; in {ours}\n", "")
    # Its spec is now the one whose id its folder bears, and the row says where it came from.
    found = read_rows(ours)[name]
    assert RunFolder(ours / name).spec().run_id == new_id == found["run_id"]
    assert found["migrated_from"] == "0" * 12
    assert (found["dtype"], found["seed"]) == ("float32", 0)
    assert (ours / name / "curves.csv").read_bytes() == (old / "curves.csv").read_bytes()
    assert len(read_rows(ours)) == COUNT


def test_migrations_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(word: str) -> migrations.Migration:
        return lambda spec, row: ({**spec, "path": spec["path"] + word}, row)

    monkeypatch.setattr(migrations, "CURRENT", 4)
    for version, word in ((1, "a"), (2, "b"), (3, "c")):
        monkeypatch.setitem(migrations.MIGRATIONS, version, step(word))
    assert migrations.migrate({"path": ""}, None) == ({"path": "abc", "schema_version": 4}, None)
    spec = {"path": "", "schema_version": 3}
    assert migrations.migrate(spec, None)[0]["path"] == "c"
    with pytest.raises(UserError, match="schema 5, and this code knows 4"):
        migrations.migrate({"schema_version": 5}, None)


def test_the_schema_of_today_needs_no_migration(theirs: Path) -> None:
    """A new version comes with its migration: the chain from 1 has no gap."""
    assert set(migrations.MIGRATIONS) == set(range(1, migrations.CURRENT))
    for name in read_rows(theirs):
        files = {f: (theirs / name / f).read_bytes() for f in archive.FILES}
        run = verify(name, files)
        assert run is not None
        assert run.files == files
