"""The index of a store: the same rows as the folders give, read again only where they changed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stdcf.errors import UserError
from suites import paths
from suites.engine.store import folder as store
from suites.engine.store import index
from suites.engine.store.index import INDEX_NAME, read_rows
from tests.suites.reporting.many_runs import make_runs


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 runs, which are enough for an index."""
    monkeypatch.setattr(index, "SMALLEST", 10)
    make_runs(tmp_path / "results", 24)
    return tmp_path / "results"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Every result.json that is read."""
    read_text, found = Path.read_text, []

    def read(path: Path, *args: Any, **kwargs: Any) -> str:
        if path.name == "result.json":
            found.append(path)
        return read_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read)
    return found


def plainly(results: Path) -> dict[str, Any]:
    """What the folders say, by another way."""
    paths = sorted(results.glob("*/*/*/result.json"), key=lambda path: path.parts)
    return {str(path.parent.relative_to(results)): json.loads(path.read_bytes()) for path in paths}


def test_the_rows_are_the_folders_with_and_without_an_index(
    results: Path, opened: list[Path]
) -> None:
    assert list(read_rows(results).items()) == list(plainly(results).items())
    assert (results / INDEX_NAME).exists()
    assert len(opened) == 24
    opened.clear()
    assert list(read_rows(results).items()) == list(plainly(results).items())
    assert opened == []


def test_what_changed_is_read_again(results: Path, opened: list[Path]) -> None:
    before = read_rows(results)
    changed, replaced, gone, other = (results / name for name in list(before)[:4])
    row = before[str(changed.relative_to(results))]
    (changed / "result.json").write_text(json.dumps(row | {"accuracy": 0.125}))
    # Another file with the same size and time, as a tool that keeps times may leave one.
    old = (replaced / "result.json").stat()
    text = (replaced / "result.json").read_bytes().replace(b'"weizmann"', b'"waizmann"')
    (replaced / "new").write_bytes(text)
    os.utime(replaced / "new", ns=(old.st_atime_ns, old.st_mtime_ns))
    (replaced / "new").replace(replaced / "result.json")
    assert (replaced / "result.json").stat().st_mtime_ns == old.st_mtime_ns
    (gone / "result.json").unlink()
    (other / "spec.json").unlink()
    (other / "result.json").touch()
    opened.clear()
    found = read_rows(results)
    assert found[str(changed.relative_to(results))]["accuracy"] == 0.125
    assert found[str(replaced.relative_to(results))]["dataset"] == "waizmann"
    # Without its spec a folder is not a run.
    assert found.keys() == before.keys() - {str(p.relative_to(results)) for p in (gone, other)}
    assert {path.parent for path in opened} == {changed, replaced, other}
    opened.clear()
    assert read_rows(results) == found
    assert {path.parent for path in opened} == {other}
    (changed / "result.json").unlink()
    read_rows(results)
    assert str(changed.relative_to(results)) not in set(
        pd.read_parquet(results / INDEX_NAME)["path"]
    )


def test_one_suite_leaves_the_others_in_the_index(results: Path, opened: list[Path]) -> None:
    make_runs(results / "spare", 2)
    (results / "spare" / "kth_table2").rename(results / "synthetic_card")
    (results / "spare").rmdir()
    both = read_rows(results)
    assert len(both) == 26
    first = next(iter(read_rows(results, "synthetic_card")))
    (results / first / "result.json").unlink()
    assert len(read_rows(results, "synthetic_card")) == 1
    opened.clear()
    assert len(read_rows(results)) == 25
    assert read_rows(results, "kth_table2") == {
        name: row for name, row in both.items() if name.startswith("kth_table2/")
    }
    assert opened == []


@pytest.mark.parametrize("damage", ["empty", "noise", "other columns", "other format", "truncated"])
def test_a_damaged_index_is_made_anew(results: Path, damage: str) -> None:
    expected = read_rows(results)
    path = results / INDEX_NAME
    whole = path.read_bytes()
    if damage == "other columns":
        pd.DataFrame({"a": [1]}).to_parquet(path)
    elif damage == "other format":
        frame = pd.read_parquet(path)
        frame.assign(status="wrong").to_parquet(path)
    else:
        path.write_bytes({"empty": b"", "noise": b"PAR1" * 9, "truncated": whole[:-9]}[damage])
    assert read_rows(results) == expected
    assert path.read_bytes() == whole


def test_the_index_is_a_table_for_pandas(results: Path) -> None:
    rows = read_rows(results)
    frame = pd.read_parquet(results / INDEX_NAME)
    assert list(frame["path"]) == list(rows)
    assert list(frame["run_id"]) == [row["run_id"] for row in rows.values()]
    assert frame["accuracy"].mean() == pytest.approx(
        sum(row["accuracy"] for row in rows.values() if row["status"] == "ok")
        / sum(row["status"] == "ok" for row in rows.values())
    )


def test_a_small_store_has_no_index(tmp_path: Path) -> None:
    make_runs(tmp_path, 3)
    assert len(read_rows(tmp_path)) == 3
    assert not (tmp_path / INDEX_NAME).exists()


def test_rows_need_neither_pyarrow_nor_a_folder_to_write(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(index, "write_atomically", refuse)
        expected = read_rows(results)
    with monkeypatch.context() as patch:
        patch.setitem(__import__("sys").modules, "pyarrow", None)
        assert read_rows(results) == expected
    assert not (results / INDEX_NAME).exists()
    assert expected == plainly(results)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"status": "ok"}'])
def test_a_row_that_is_none_is_named(results: Path, text: str) -> None:
    name = next(iter(read_rows(results)))
    (results / name / "result.json").write_text(text)
    with pytest.raises(
        UserError, match=r"result\.json is not a row \(.*\); delete its folder"
    ) as e:
        read_rows(results)
    assert name in str(e.value)


def test_a_row_says_where_it_lies(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "SHIPPED", results.parent / "none")
    for row in store.rows(results):
        assert json.loads((Path(row["folder"]) / "result.json").read_text()) == {
            k: v for k, v in row.items() if k not in ("folder", "setting", "shipped")
        }
