"""Options in a file, and suites from outside the project."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from suites import run
from suites.engine import own_suites
from suites.engine.registry import all_suites, get_suite, get_task
from suites.engine.store.folder import RunFolder
from suites.engine.store.provenance import header
from suites.engine.suite import Request
from suites.engine.task import Run
from suites.paths import REPOSITORY
from suites.reporting.drawing import Setting

EXAMPLES = REPOSITORY / "docs" / "examples"
WEIZMANN = EXAMPLES / "weizmann.toml"
WORDS = ["kth_table2", "--dataset", "weizmann", "--data-root", "data/weizmann"]
WORDS += ["--folds", "3", "--workers", "2"]
OWN = EXAMPLES / "own_suite.py"


def test_the_example_plans_what_the_options_plan(call: Any, tmp_path: Path) -> None:
    place = ("--dry-run", "--results", tmp_path)
    by_options = call(run, *WORDS, *place)
    assert by_options[0] == 0
    assert "36 of 36 runs" in by_options[1]
    assert call(run, "--config", WEIZMANN, *place) == by_options
    assert call(run, "--config", WEIZMANN, "--folds", 1, *place)[1] != by_options[1]


OPTIONS = {
    "suite": "kth_table2",
    "dataset": "weizmann",
    "epochs": 5,
    "budget-minutes": 2.5,
    "amp": True,
    "sync-batchnorm": False,
    "option": ["rates=paper"],
    "model-option": {"dropout": 0.25, "relu_saves": "input"},
    "layer-option": {"stdcf": {"num_spatial_atoms": 6}},
    "data-option": "clip_frames=8",
}


def test_what_is_printed_is_read_again(call: Any, tmp_path: Path) -> None:
    file = tmp_path / "first.toml"
    lines = [f"{k} = {_toml(v)}" for k, v in OPTIONS.items()]
    file.write_text("\n".join(lines))
    code, printed, err = call(run, "--config", file, "--print-config", "--seeds", 2)
    assert (code, err) == (0, "")
    found = tomllib.loads(printed)
    assert found == OPTIONS | {
        "seeds": 2,
        "model-option": ["dropout=0.25", 'relu_saves="input"'],
        "layer-option": ["stdcf.num_spatial_atoms=6"],
        "data-option": ["clip_frames=8"],
    }
    second = tmp_path / "second.toml"
    second.write_text(printed)
    assert call(run, "--config", second, "--print-config") == (0, printed, "")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suite = 'kth_table2'\nepoch = 3", "no option 'epoch'; did you mean epochs?"),
        ("epochs = 2.5", "valid integer"),
        ("epochs = [1]", "epochs is one word or number, not [1]"),
        ("amp = 'yes'", "amp is true or false, not 'yes'"),
        ("dataset = true", "dataset is one word or number, not True"),
        ("seeds = ", "is not TOML"),
        ("dry-run = true", "no option 'dry-run'"),
        (None, "cannot read"),
    ],
)
def test_a_wrong_file_is_one_line(call: Any, tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "own.toml"
    if text is not None:
        file.write_text(text)
    code, out, err = call(run, "--config", file)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_run_keeps_its_options(call: Any, small_suite_here: Any) -> None:
    suite = small_suite_here
    assert call(run, *suite.arguments())[0] == 0
    kept = (suite.folder("stdcf").path / "config.toml").read_text()
    assert call(run, *suite.arguments(), "--print-config") == (0, kept, "")
    assert tomllib.loads(kept)["results"] == str(suite.results)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(own_suites.VARIABLE, "")


@pytest.mark.usefixtures("own")
def test_a_suite_of_a_file_is_known_by_its_name_afterwards(tmp_path: Path) -> None:
    suite = get_suite(str(OWN))
    assert get_suite("atom_cost") is suite
    assert next(iter(all_suites())) == "atom_cost"
    rows = []
    for spec in suite.specs(Request("quick", "none"), "none"):
        folder = RunFolder.create(tmp_path, spec)
        rows.append(header(spec, "cpu") | get_task(spec.task)(Run(folder)))
    (table,) = suite.tables(rows)
    # conv1..: C_out·C_in·M·N coefficients, M·9 + N·3 atoms a layer; linear in M.
    one, three, six = (row["params"] for row in rows)
    assert 5 * (three - one) == 2 * (six - one)
    assert [line[:2] for line in table.rows] == [
        [str(atoms), f"{params:,}"] for atoms, params in ((1, one), (3, three), (6, six))
    ]


@pytest.mark.usefixtures("own")
def test_what_a_suite_of_a_file_draws_depends_on_the_file(tmp_path: Path) -> None:
    digests = []
    for comment in ("# one\n", "# two\n"):
        folder = tmp_path / comment[2:].strip()
        folder.mkdir()
        name = comment[2:].strip()
        text = OWN.read_text().replace('"atom_cost"', f'"{name}"')
        (folder / "own.py").write_text(text + comment)
        get_suite(str(folder / "own.py"))
        digests.append(Setting(name, "quick", []).digest)
    assert digests[0] != digests[1]


@pytest.mark.usefixtures("own")
def test_wrong_files_are_refused(tmp_path: Path) -> None:
    from stdcf.errors import UserError

    file = tmp_path / "own.py"
    with pytest.raises(UserError, match="no file"):
        get_suite(str(file))
    file.write_text("SUITES = 3")
    with pytest.raises(UserError, match="has no SUITE"):
        get_suite(str(file))
    taken = tmp_path / "taken.py"
    taken.write_text(OWN.read_text().replace('name="atom_cost"', 'name="reduction"'))
    with pytest.raises(UserError, match="reduction is a suite of this project"):
        get_suite(str(taken))


@pytest.mark.usefixtures("own")
def test_a_package_names_its_suites_by_entry_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "someones_package.py").write_text(OWN.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    points = {
        "stdcf.suites": [EntryPoint("atom_cost", "someones_package:SUITE", "stdcf.suites")],
        "stdcf.tasks": [EntryPoint("atom_cost", "someones_package:measure", "stdcf.tasks")],
    }
    monkeypatch.setattr(own_suites, "entry_points", lambda group: points[group])
    assert get_suite("atom_cost").title == all_suites()["atom_cost"]
    assert get_task("atom_cost").__module__ == "someones_package"
    points["stdcf.suites"] = [EntryPoint("atom_cost", "someones_package:none", "stdcf.suites")]
    from stdcf.errors import UserError

    with pytest.raises(UserError, match="entry point atom_cost = someones_package:none"):
        get_suite("atom_cost")
