"""The page about memory does what it says, and its numbers are those of the rows."""

import re
from pathlib import Path
from statistics import geometric_mean

import pytest
import torch

from suites.engine.store.folder import rows
from suites.experiments.memory_caps.suite import SUITE
from suites.tables.table import Table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "memory.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_block_of_the_page_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) == text.count("```python") == 8
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        for block in blocks:
            # The page's own line numbers stand in a traceback.
            lines = "\n" * text[: block.start(1)].count("\n") + block[1]
            exec(compile(lines, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "1799.8" in printed.replace(",", "")
    assert "over the cap of 2.0 MiB" in printed


def tables_of(setting: str, nowhere: Path) -> list[Table]:
    found = [row for row in rows(nowhere, "memory_caps") if row["setting"] == setting]
    assert found
    return list(SUITE.tables(found))


def lines_of(table: Table, layer: str) -> dict[str, list[str]]:
    """Way -> the other cells."""
    return {row[1]: row[2:] for row in table.rows if row[0].removesuffix(" †") == layer}


def on_the_page() -> dict[str, list[list[str]]]:
    """The first cell of every line of a table, as suites name the way, -> the other cells."""
    found: dict[str, list[list[str]]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            way, *others = (cell.strip() for cell in line.strip("| ").split("|"))
            way = re.sub(r"[`]|:.*|, β=γ=2", "", way).replace(" with ", "+").replace(",", "+")
            found.setdefault(way, []).append(others)
    return found


def test_what_each_way_costs_is_what_was_measured(tmp_path: Path) -> None:
    tables = tables_of("quick", tmp_path)
    (fits,) = (t for t in tables if t.title.startswith("resnet3d_50: clips"))
    (steps,) = (t for t in tables if t.title.startswith("resnet3d_50: steps"))
    planned, ran = lines_of(fits, "STDCF"), lines_of(steps, "STDCF")
    six = fits.columns.index("6 GiB") - 2
    checked = 0
    for way, (cells, *_) in on_the_page().items():
        if way in planned:
            peak, of_full, batch, multiplications, real, _ = [*cells, ""][:6]
            own = planned[way]
            assert [peak, of_full, multiplications, batch] == [own[0], own[1], own[3], own[six]], (
                way
            )
            assert real == (ran[way][-1] if way in ran else ""), way
            checked += 1
    assert checked == 11


def test_accuracies_under_the_cap_are_those_of_the_rows(tmp_path: Path) -> None:
    (table,) = tables_of("weizmann-quick-cap26214400", tmp_path)
    accuracy = {(row[1], row[2]): (row[3], row[6]) for row in table.rows}
    page = on_the_page()
    for technique, way in {
        "full": "full size",
        "recompute": "recompute",
        "checkpoint": "checkpoint",
        "bf16": "bf16",
        "int8": "int8",
        "accumulate": "accumulate",
    }.items():
        batch, equal, compute = page[way][-1]
        assert accuracy[technique, "equal epochs"] == (batch, equal)
        assert accuracy[technique, "ITSL's computation"] == (batch, compute)
    for technique, way in (("itsl", "ITSL"), ("itsl+bf16+checkpoint", "ITSL+bf16+checkpoint")):
        batch, _, compute = page[way][-1]
        assert accuracy[technique, "equal epochs"] == (batch, compute)


def shares_on_an_h200(nowhere: Path) -> dict[str, float]:
    """Savers, "bf16" among them, or a stage of ITSL -> the geometric mean of measured peaks against
    plain full size of the same network and layer."""
    peaks: dict[str, dict[str, int]] = {}
    for row in rows(nowhere, "gpu_evidence"):
        if "savers" not in row["mode"] and "table" not in row["mode"]:
            continue
        for case in row.get("cases") or ():
            words = case["name"].split()
            at = next(place for place, word in enumerate(words) if word in ("full", "t1", "s1"))
            *way, dtype = words[at:]
            way = [*(["bf16"] if dtype == "bfloat16" else []), *way]
            own = peaks.setdefault(" ".join(words[:at]), {})
            if case["status"] == "ok" and row["measured_by"] == "cuda_allocated":
                own[",".join(word for word in way if word != "full")] = case["peak_bytes"]
    found: dict[str, list[float]] = {}
    for own in peaks.values():
        for way, peak_bytes in own.items():
            if "" in own:
                found.setdefault(way, []).append(peak_bytes / own[""])
    assert {len(found[way]) for way in ("bf16", "bf16,checkpoint", "bf16,offload")} == {13}
    return {way: geometric_mean(shares) for way, shares in found.items()}


def test_the_order_of_ways_follows_from_the_measured_rows(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("So, in this order")[2].partition("\n## ")[0]
    items = re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]
    listed = [re.match(r"\*\*`?([^`*]+)`?\*\*", item)[1] for item in items]  # type: ignore[index]
    assert listed[-1] == "ITSL"
    share = shares_on_an_h200(tmp_path)
    share["ITSL"] = max(share["t1"], share["s1"])
    for name, item in zip(listed, items, strict=True):
        assert re.search(r"\b0\.\d\d\b", item)[0] == f"{share[name]:.2f}"  # type: ignore[index]
    # Of what keeps the learning as it is, each saves more than the one before.
    kept = [share[name] for name in listed[:-1]]
    assert kept == sorted(kept, reverse=True)
    # The most of all, and whatever would come before checkpoint saves less than it.
    alone = {way: value for way, value in share.items() if "accumulate" not in way}
    assert listed[-2] == min(alone, key=lambda way: alone[way])
    for beside in ("recompute", "int8"):
        assert share["bf16,checkpoint"] < share[f"bf16,{beside}"]
        assert f"`{beside}`" in items[1]
        assert f"{share[f'bf16,{beside}']:.2f}" in items[1]
    # The first costs no time: its steps of the large networks are the only ones that are faster.
    (steps,) = (t for t in tables_of("quick", tmp_path) if t.title.startswith("resnet3d_50: steps"))
    for layer in ("Reg. 3D", "Rank-1 3D", "STDCF"):
        time = {way: float(cells[-1].rstrip("×")) for way, cells in lines_of(steps, layer).items()}
        assert time["bf16"] < 0.75
        assert min(time[way] for way in ("checkpoint", "recompute", "int8", "offload")) > 0.95
