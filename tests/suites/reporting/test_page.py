"""What stands in the file of the page: it asks for nothing, runs nothing of others, is whole."""

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from suites import paths, report
from suites.engine.spec import parse_spec
from suites.engine.store import folder as store
from suites.reporting.page.data import runs_json
from tests.suites.reporting.hostile_page import make_page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The page and the results that it is of."""
    found: tuple[Path, Path] = make_page(tmp_path_factory.mktemp("page"))
    return found


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}", {}))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.texts.append((self.found[-1][0], data))


@pytest.fixture(scope="module")
def parsed(made: tuple[Path, Path]) -> Elements:
    elements = Elements()
    elements.feed(made[0].read_text(encoding="utf-8"))
    return elements


def test_the_file_asks_for_nothing(made: tuple[Path, Path], parsed: Elements) -> None:
    for tag, attributes in parsed.found:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        assert not attributes.keys() & {"src", "srcset", "action", "poster"}
        assert not any(name.startswith("on") for name in attributes)
        if "href" in attributes:
            assert str(attributes["href"]).startswith("#")
    style = next(text for tag, text in parsed.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_its_policy_lets_its_own_script_run_and_nothing_else(parsed: Elements) -> None:
    policy = next(a["content"] for _, a in parsed.found if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for wide in ("unsafe", "http", "*", "blob:"):
        assert wide not in policy
    scripts = [attributes for tag, attributes in parsed.found if tag == "script"]
    assert [a for a in scripts if "type" not in a] == [{}]
    for tag in ("script", "style"):
        text = [text for kind, text in parsed.texts if kind == tag][-1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_names_of_runs_are_text(made: tuple[Path, Path], parsed: Elements) -> None:
    text = made[0].read_text(encoding="utf-8")
    assert "<img src=https" not in text
    assert "document.title='owned'</script>" not in text
    assert "https://evil.example" in text  # it is shown
    images = [a for tag, a in parsed.found if tag == "img"]
    assert images
    assert all(set(a) == {"data-figure", "alt"} for a in images)


def test_tables_and_figures_are_there_without_the_script(parsed: Elements) -> None:
    tags = [tag for tag, _ in parsed.found]
    # Of each setting the suite's three and the tests; the runs, the failures and the published.
    assert tags.count("caption") == 4 * 4 + 2 + len(list(paths.PUBLISHED.glob("*.csv")))
    assert tags.count("img") == tags.count("figure") == 4 * 5
    carried = {a.get("id") for tag, a in parsed.found if tag == "script"}
    assert {a["data-figure"] for tag, a in parsed.found if tag == "img"} <= carried
    assert all(attributes.get("scope") == "col" for tag, attributes in parsed.found if tag == "th")


def test_a_page_without_figures_draws_none(
    call: Any, made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr("suites.reporting.page.page.draw_settings", pytest.fail)
    page = tmp_path / "page.html"
    words = ("--html", page, "--results", made[1], "--no-figures")
    assert call(report, *words) == (0, f"{page}\n", "")
    text = page.read_text(encoding="utf-8")
    assert "<img" not in text
    assert text.count("left out by --no-figures") == 4
    assert call(report, "--no-figures")[0] == 2


def test_the_same_results_give_the_same_page(
    made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from suites.reporting.page.page import write_page

    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "shipped")
    again = write_page(tmp_path / "new" / "again.html", None, made[1])
    assert again.read_bytes() == made[0].read_bytes()


def test_the_data_is_whole_and_equal_values_are_kept_once(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SHIPPED", made[1] / "none")
    rows = store.rows(made[1])
    # NaN is not JSON: a browser would refuse the whole.
    data = json.loads(runs_json(rows), parse_constant=lambda word: pytest.fail(word))
    texts = [json.dumps(value) for value in data["pool"]]
    assert len(texts) == len(set(texts))
    for index, row in enumerate(rows):
        for part, whole in (("rows", row), ("specs", spec_of(row))):
            found = {
                field: data["pool"][places[index]]
                for field, places in data[part].items()
                if places[index] >= 0
            }
            expected = json.dumps({k: v for k, v in whole.items() if k != "folder"})
            assert found == json.loads(expected, parse_constant=lambda _: "nan")
    # Where the runs lie is this machine's alone.
    assert str(made[1]) not in json.dumps(data)
    failed = {str(index) for index, row in enumerate(rows) if row["status"] != "ok"}
    assert data["logs"].keys() == failed
    assert {len(lines) for lines in data["logs"].values()} == {50}


def spec_of(row: dict[str, Any]) -> dict[str, Any]:
    text = (Path(row["folder"]) / "spec.json").read_text()
    parse_spec(text)
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_page_of_one_suite_and_a_wrong_place(
    call: Any, made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SHIPPED", tmp_path / "shipped")
    where = ("--results", made[1])
    code, _, err = call(report, "--html", tmp_path, *where)
    assert code == 2
    assert "is a folder; give a file" in err
    assert call(report, "synthetic_card", "--html", tmp_path / "a.html", *where)[0] == 2
    assert call(report, "--html", tmp_path / "a.html", "--results", tmp_path / "no")[0] == 2
    assert call(report, "--html", "a", "--diff", "b", "c")[2].count("\n") == 1
    assert call(report, "--check")[0] == 2
