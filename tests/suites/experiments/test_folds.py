"""Folds: what is averaged and paired, the tests of docs/protocol.md, and how rates are chosen."""

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from stdcf.errors import UserError
from suites.engine.dry_run import plan_table
from suites.engine.progress import label
from suites.engine.suite import Request
from suites.experiments.kth_table2 import settled
from suites.experiments.kth_table2.fold_tests import fold_tests
from suites.experiments.kth_table2.suite import SUITE
from suites.experiments.rate_sweep.suite import SUITE as SWEEP
from suites.experiments.rate_sweep.tables import accuracy, chosen
from suites.experiments.shared.rates import (
    FOUND,
    GROUPS,
    PAPER,
    PERSONS,
    Rate,
    trials,
    validations,
)
from suites.reporting import cells
from suites.reporting.stats import paired

FULL = {"fold-eli": 0.8, "fold-ira": 0.6, "fold-ido": 0.7, "fold-lena": 0.9}
ITSL = {"fold-eli": 0.7, "fold-ira": 0.6, "fold-ido": 0.5, "fold-lena": 0.8}


def row(layer: str, mode: str, fold: str | None, value: float, seed: int = 0) -> dict[str, Any]:
    return {
        **{"layer": layer, "mode": mode, "fold": fold, "seed": seed, "status": "ok"},
        **{"accuracy": value, "recalibrated_accuracy": value},
    }


def test_seeds_of_a_fold_are_averaged_before_folds_are() -> None:
    rows = [row("stdcf", "full", "fold-eli", value, seed) for seed, value in enumerate((0.2, 0.4))]
    rows.append(row("stdcf", "full", "fold-ira", 0.9))
    assert cells.by_unit(rows) == pytest.approx({"fold-eli": 0.3, "fold-ira": 0.9})
    half = stats.t.ppf(0.975, 1) * 30  # two values 60 points apart: standard error 30
    assert cells.percent(rows) == f"60.00 ± {half:.2f}"


def test_the_protocols_tests_are_students_over_folds() -> None:
    groups = {
        (layer, mode): [row(layer, mode, fold, value) for fold, value in values.items()]
        for layer in ("regular", "rank1", "stdcf")
        for mode, values in (("full", FULL), ("itsl", ITSL), ("full_same_compute", FULL))
    }
    table = fold_tests(groups, ("regular", "rank1", "stdcf"), "made up")
    assert table is not None
    assert len(table.rows) == 9
    differences = [100 * (ITSL[fold] - FULL[fold]) for fold in FULL]
    expected = stats.ttest_1samp(differences, 0)
    name, difference, n, p, corrected, decision, _ = table.rows[0]
    low, high = expected.confidence_interval(0.95)
    assert (name, n) == ("Reg. 3D: ITSL − full size", "4")
    assert difference == f"-10.00 ± {(high - low) / 2:.2f}"
    assert p == f"{expected.pvalue:.3f}"
    # Six tests with this p, three that compare like with like.
    assert corrected == f"{min(1, 9 * expected.pvalue):.3f}"
    assert decision == "undecided"
    assert table.rows[-1][0] == "Loss by ITSL: STDCF − Reg. 3D"


def test_what_has_no_rows_yet_counts_in_the_correction() -> None:
    """Else p of an unfinished run would be smaller than the same p of the whole one."""
    one = {
        ("stdcf", mode): [row("stdcf", mode, fold, value) for fold, value in values.items()]
        for mode, values in (("full", FULL), ("itsl", ITSL))
    }
    table = fold_tests(one, ("regular", "rank1", "stdcf"), "made up")
    assert table is not None
    ((*_, p, corrected, _, _),) = table.rows
    differences = [100 * (ITSL[fold] - FULL[fold]) for fold in FULL]
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert (p, corrected) == (f"{expected:.3f}", f"{min(1, 9 * expected):.3f}")
    assert "Holm over 9 tests, 8 of which have no rows yet" in table.notes[0]


def test_one_fold_is_not_tested() -> None:
    one = {("stdcf", mode): [row("stdcf", mode, "fold-eli", 0.5)] for mode in ("full", "itsl")}
    assert fold_tests(one, ("regular", "rank1", "stdcf"), "") is None


def test_folds_take_turns_with_the_papers_rows_first() -> None:
    specs = SUITE.specs(Request("half", "weizmann", folds=2), "ab" * 32)
    assert [spec.dataset_options["test_persons"] for spec in specs] == (
        (["fold-daria"] * 6 + ["fold-denis"] * 6) + (["fold-daria"] * 3 + ["fold-denis"] * 3) * 2
    )
    assert {spec.mode for spec in specs[:12]} == {"full", "itsl"}
    assert {spec.mode for spec in specs[12:18]} == {"full_same_compute"}
    assert len({spec.folder_name for spec in specs}) == len(specs) == 24
    assert "fold-daria" in specs[0].folder_name
    assert all(stage.recalibrate for spec in specs for stage in spec.stages)
    whole = SUITE.specs(Request("half", "weizmann"), "ab" * 32)
    assert {spec.fold for spec in whole} == {f"fold-{person}" for person in PERSONS}


def test_each_fold_is_named_in_a_dry_run_and_while_it_runs(tmp_path: Path) -> None:
    specs = SUITE.specs(Request("half", "weizmann", folds=2), "ab" * 32)
    table = plan_table(SUITE, specs, tmp_path)
    assert [row[table.columns.index("Tested on")] for row in table.rows[5:7]] == ["daria", "denis"]
    assert label(specs[0]) == "regular full fold-daria seed 0"
    quick = SUITE.specs(Request("quick", "weizmann"), "ab" * 32)
    assert "Tested on" not in plan_table(SUITE, quick, tmp_path).columns


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51", "jhmdb"])
def test_official_splits_are_folds(dataset: str) -> None:
    specs = SUITE.specs(Request("quick", dataset, folds=3), "ab" * 32)
    assert {spec.fold for spec in specs} == {"split1", "split2", "split3"}
    assert {spec.dataset_options["split"] for spec in specs} == {1, 2, 3}
    assert len({spec.folder_name for spec in specs}) == len(specs) == 36
    assert all(f"-{spec.fold}-" in spec.folder_name for spec in specs)
    assert SUITE.specs(Request("paper", dataset), "ab" * 32)[0].fold is None
    own = Request("quick", dataset, data_options={"split": 2})
    assert "split2" not in SUITE.specs(own, "ab" * 32)[0].folder_name
    for request, words in (
        (Request("quick", dataset, folds=4), "--folds must be at most 3, a split each"),
        (
            Request("quick", dataset, folds=1, data_options={"split": 2}),
            "leave out --data-option s",
        ),
    ):
        with pytest.raises(UserError, match=words):
            SUITE.specs(request, "ab" * 32)


def test_rates_by_word_and_folds_that_there_are_not() -> None:
    paper = Request("half", "weizmann", folds=1, options={"rates": "paper"})
    assert {s.lr for spec in SUITE.specs(paper, "") for s in spec.stages} == {1e-3}
    for request, words in (
        (Request("half", "weizmann", folds=10), "--folds must be at most 9"),
        (Request("quick", "synthetic_actions", folds=1), "--folds is for weizmann's persons"),
        (Request("half", "weizmann", options={"rates": "best"}), "must be found or paper"),
        (
            Request("half", "weizmann", folds=1, data_options={"test_persons": "eli"}),
            "--folds chooses the test persons",
        ),
    ):
        with pytest.raises(UserError, match=words):
            SUITE.specs(request, "")


def test_no_test_person_chooses_its_own_rates() -> None:
    assert sorted(p for group in GROUPS.values() for p in group) == sorted(PERSONS)
    for spec in SWEEP.specs(Request("half", "weizmann"), ""):
        group = GROUPS[spec.options["group"]]
        assert tuple(spec.dataset_options["without"]) == group
        assert not set(spec.dataset_options["test_persons"]) & set(group)
    for group in GROUPS:
        first, second = validations(group)
        assert not set(first) & set(second)


def test_layers_and_modes_have_as_many_trials() -> None:
    specs = SWEEP.specs(Request("half", "weizmann"), "")
    counts: dict[tuple[str, str], int] = {}
    for spec in specs:
        key = (spec.layer, spec.options["trains_by"])
        counts[key] = counts.get(key, 0) + 1
    assert set(counts.values()) == {36}
    assert len({spec.run_id for spec in specs}) == len(specs) == 216


def test_the_best_mean_is_chosen_on_a_tie_the_lower_rate() -> None:
    means = dict(zip(trials("regular"), (0.2, 0.5, 0.7, 0.7, 0.1, 0.3), strict=True))
    rows = [
        {
            **row("regular", "full-…", None, 0.0),
            **{"recalibrated_accuracy": mean + change, "lr": rate.lr, "atom_lr": rate.atom_lr},
            "options": {"group": "A", "trains_by": "full"},
        }
        for rate, mean in means.items()
        for change in (-0.05, 0.05)
    ]
    assert accuracy(rows, "A", "regular", "full", Rate(2e-3)) == pytest.approx(0.7)
    assert chosen(rows, "A", "regular", "full") == Rate(2e-3)
    assert chosen(rows, "B", "regular", "full") is None
    assert chosen(rows[:-1], "A", "regular", "full") is None
    # A run whose loss became NaN has no accuracy and counts as 0.
    lost = [{k: v for k, v in r.items() if k != "recalibrated_accuracy"} for r in rows[4:6]]
    assert chosen([*rows[:4], *lost, *rows[6:]], "A", "regular", "full") == Rate(3e-3)


@pytest.fixture(scope="module")
def sweep() -> Any:
    """The shipped runs of rate_sweep, as a DataFrame."""
    import suites

    rows = suites.runs()
    rows = rows[(rows.suite == "rate_sweep") & (rows.status == "ok")]
    return rows.assign(
        group=[options["group"] for options in rows.options],
        trains_by=[options["trains_by"] for options in rows.options],
        split=[
            str(options["test_persons"]) + str(options["without"])
            for options in rows.dataset_options
        ],
    )


def test_the_rates_are_what_the_shipped_sweep_chooses(sweep: Any) -> None:
    """Those of Table 2 are the best trials of the committed rows, for each group and for all."""
    assert len(sweep) == 216
    for group, found in FOUND.items():
        seen = sweep if group == "all" else sweep[sweep.group == group]
        for (layer, trains_by), own in seen.groupby(["layer", "trains_by"]):
            means = own.groupby(["lr", "atom_lr"]).recalibrated_accuracy.mean()
            assert found[layer][trains_by] == Rate(*means.idxmax()), (group, layer, trains_by)


def test_what_is_written_of_the_sweep_is_in_its_rows(sweep: Any) -> None:
    written = (Path(__file__).parents[3] / "docs/experiments.md").read_text(encoding="utf-8")
    section = " ".join(written.split("## rate_sweep")[1].split("\n## ")[0].split())

    def of(layer: str, mode: str, rate: Rate) -> Any:
        own = sweep[(sweep.layer == layer) & (sweep.trains_by == mode)]
        own = own[(own.lr == rate.lr) & (own.atom_lr == rate.atom_lr)].set_index("split")
        assert len(own) == 6
        return 100 * own.recalibrated_accuracy.sort_index()

    def difference(a: Any, b: Any) -> str:
        found = paired(list(a), list(b)).difference
        return f"{found.mean:.1f} ± {found.half_width:.1f}"

    names = {"regular": "regular", "rank1": "rank-1", "stdcf": "STDCF"}
    for mode, word in (("full", "full"), ("itsl", "ITSL")):
        best = {layer: of(layer, mode, FOUND["all"][layer][mode]) for layer in names}
        papers = {layer: of(layer, mode, PAPER) for layer in names}
        for layer, name in names.items():
            line = next(x for x in written.splitlines() if x.startswith(f"| {name} | {word} |"))
            assert f"| {papers[layer].mean():.1f} |" in line
            assert line.endswith(f"| {best[layer].mean():.1f} |")
        assert difference(best["stdcf"], papers["stdcf"]) in section
        for other in ("regular", "rank1"):
            assert difference(best["stdcf"], best[other]) in section


def test_training_is_done_where_every_stage_rested(tmp_path: Path) -> None:
    rising = [0.03 * epoch for epoch in range(20)]
    resting = [*rising[:16], 0.46, 0.465, 0.46, 0.47]
    for name, *stages in (("rests", resting, resting), ("moves", resting, rising), ("none",)):
        folder = tmp_path / name
        folder.mkdir()
        lines = ["stage,epoch,train_accuracy"]
        for stage, accuracies in enumerate(stages):
            lines += [f"s{stage},{e},{value}" for e, value in enumerate(accuracies, 1)]
        (folder / "curves.csv").write_text("\n".join(lines))
    rows = [{"folder": str(tmp_path / name)} for name in ("rests", "moves", "none", "missing")]
    assert [settled.has_settled(row) for row in rows] == [True, False, None, None]
    assert "in 1 of 2 runs" in settled.note(rows)
    assert settled.note(rows[2:]) == ""
