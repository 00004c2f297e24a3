"""The page of all results in a real browser: sorted, filtered, opened, printed, in both themes."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suites.engine.store.index import read_rows
from tests.suites.reporting.browser import WHY_NOT, browser
from tests.suites.reporting.hostile_page import IMAGE, REASON, SCRIPT, make_page

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=str(WHY_NOT))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The page and the results that it is of."""
    found: tuple[Path, Path] = make_page(tmp_path_factory.mktemp("page"))
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def page(chromium: Any, made: tuple[Path, Path]) -> Iterator[Any]:
    """The page, opened; at the end its console is empty and nothing was asked for."""
    chromium.emulate()
    chromium.run("try { localStorage.clear() } catch {}")
    chromium.console()
    chromium.requests()
    chromium.open(made[0])
    yield chromium
    assert chromium.console() == []
    assert {url.partition("#")[0] for url in chromium.requests()} <= {made[0].as_uri()}
    assert chromium.run("return document.title") != "owned"


ROWS = "document.querySelectorAll('#run-table tbody tr')"


def column(page: Any, key: str) -> list[str]:
    return page.run(
        "const at = [...document.querySelectorAll('#run-table th')]"
        ".findIndex((cell) => cell.dataset.key === arguments[0]);"
        f"return [...{ROWS}].map((row) => row.cells[at].textContent)",
        key,
    )


def press(page: Any, *keys: str) -> None:
    """Real keys, to whatever has the focus."""
    from selenium.webdriver import ActionChains

    chain = ActionChains(page.driver)
    for key in keys:
        chain.send_keys(key)
    chain.perform()


def count(page: Any) -> str:
    found: str = page.run("return document.getElementById('count').textContent")
    return found


def test_every_header_sorts(page: Any, made: tuple[Path, Path]) -> None:
    rows = list(read_rows(made[1]).values())
    accuracies = sorted((row["accuracy"] for row in rows if row["status"] == "ok"), reverse=True)
    button = "document.querySelector('th[data-key={}] button').click()"
    page.run(button.format("accuracy"))
    shown = [text.split()[0] for text in column(page, "accuracy")]
    assert shown[:50] == [f"{100 * value:.2f}" for value in accuracies[:50]]
    page.run(button.format("accuracy"))
    shown = [text.split()[0] for text in column(page, "accuracy")]
    assert shown[:50] == [f"{100 * value:.2f}" for value in accuracies[::-1][:50]]
    # What has no number is last in both directions.
    page.run("document.querySelector('[data-go=last]').click()")
    assert column(page, "accuracy")[-1] in ("–", "NaN")
    sorts = page.run(
        "return [...document.querySelectorAll('th[aria-sort]')].map((c) => c.ariaSort)"
    )
    assert sorts == ["ascending"]
    for key in ("finished", "mode"):
        page.run(button.format(key))
        shown = column(page, key)
        assert shown == sorted(shown)


def test_filters_and_pages(page: Any, made: tuple[Path, Path]) -> None:
    rows = list(read_rows(made[1]).values())
    total = len(rows)
    assert count(page) == f"{total} runs"
    assert page.run(f"return {ROWS}.length") == 100
    page.run("document.querySelector('[data-go=next]').click()")
    assert page.run(f"return {ROWS}.length") == total - 100
    assert page.run("return document.querySelector('[data-go=next]').disabled")
    page.run("document.getElementById('terms').focus()")
    press(page, "STDCF itsl")
    wanted = [r for r in rows if r["layer"] == "stdcf" and r["mode"] == "itsl"]
    assert count(page) == f"{len(wanted)} of {total} runs"
    assert set(column(page, "layer")) == {"stdcf"}
    press(page, " -synthetic_actions")
    left = [row for row in wanted if row["dataset"] != "synthetic_actions"]
    assert count(page) == f"{len(left)} of {total} runs"
    page.run(
        "const find = (id) => document.getElementById(id);"
        "const [terms, status] = ['terms', 'choose-status'].map(find);"
        "terms.value = ''; terms.dispatchEvent(new Event('input'));"
        "status.value = 'nan'; status.dispatchEvent(new Event('change'))"
    )
    failed = sum(row["status"] == "nan" for row in rows)
    assert count(page) == f"{failed} of {total} runs"
    assert set(column(page, "status")) == {"nan"}


def test_a_run_opens_by_keyboard_and_closes(page: Any, made: tuple[Path, Path]) -> None:
    rows = {row["run_id"]: row for row in read_rows(made[1]).values()}
    first = column(page, "run_id")[0]
    page.run("document.querySelector('#run-table .open').focus()")
    press(page, "\ue007")  # Enter
    page.wait("document.getElementById('run').open")
    text = page.run("return document.getElementById('run').textContent")
    for expected in (first, rows[first]["commit"], rows[first]["device"], "torch 2.14.1"):
        assert expected in text
    assert page.run("return document.activeElement.id") == "close"
    charts = page.run(
        "return [...document.querySelectorAll('#run-body .chart')].map((c) => c.ariaLabel)"
    )
    assert [label.split(":")[0] for label in charts] == ["train_loss", "train_accuracy"]
    spec = page.run("return [...document.querySelectorAll('#run-body pre')].at(-2).textContent")
    folder = next(name for name in read_rows(made[1]) if name.endswith(first))
    assert json.loads(spec) == json.loads((made[1] / folder / "spec.json").read_text())
    assert page.run("return location.hash") == f"#run-kth_table2.{first}"
    press(page, "\ue00c")  # Escape
    page.wait("!document.getElementById('run').open")
    assert page.run("return document.activeElement.textContent") == first
    page.run("history.back()")


def test_code_in_names_is_shown_and_not_run(page: Any, made: tuple[Path, Path]) -> None:
    row = next(r for r in read_rows(made[1]).values() if r["status"] == "error")
    page.open(made[0], f"#run-kth_table2.{row['run_id']}")
    assert page.run("return document.getElementById('run').open")
    text = page.run("return document.getElementById('run').textContent")
    for words in (SCRIPT, IMAGE, REASON):
        assert words in text
    assert f"line 79 {SCRIPT}" in text
    assert "line 29 " not in text
    assert "line 30 " in text
    assert page.run("return document.querySelectorAll('#run img, #run script').length") == 0
    assert page.run("return document.querySelectorAll('#failures img').length") == 0
    failures = page.run("return document.getElementById('failures').textContent")
    assert REASON in failures


def test_a_failure_leads_to_its_run(page: Any) -> None:
    link = "document.querySelector('#failures a')"
    run_id = page.run(f"return {link}.textContent")
    page.run(f"{link}.click()")
    page.wait("document.getElementById('run').open")
    assert run_id in page.run("return document.getElementById('run-title').textContent")
    page.run("history.back()")
    page.wait("!document.getElementById('run').open")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_both_themes_at_both_widths(page: Any, dark: bool, width: int) -> None:
    page.emulate(width=width, dark=dark)
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    back, text = page.run(
        "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    )
    levels = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (back, text)]
    assert (levels[0] < levels[1]) == dark
    # The page's own choice goes before the system's.
    page.run("document.getElementById('theme').click()")
    assert page.run("return document.documentElement.dataset.theme") == "light"
    assert (
        page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    shown = page.run(
        "return [...document.querySelectorAll('details[open] img')]"
        ".map((i) => i.complete && i.naturalWidth)"
    )
    assert len(shown) >= 5
    assert all(shown)


def test_charts_show_their_values_and_hide_layers(page: Any) -> None:
    marks = "document.querySelectorAll('#charts .mark')"
    page.run(f"{marks}[0].focus()")
    said = page.run(f"return {marks}[0].getAttribute('aria-label')")
    assert re.search(r"\d+\.\d% at [\d,]+ MiB, n=\d", said)
    tip = "const t = document.getElementById('tip'); return [t.hidden, t.textContent]"
    assert page.run(tip) == [False, said]
    page.run(f"{marks}[0].blur()")
    assert page.run(tip)[0]
    page.run(f"{marks}[1].dispatchEvent(new PointerEvent('pointerenter'))")
    assert page.run(tip)[0] is False
    page.run(f"{marks}[1].dispatchEvent(new PointerEvent('pointerleave'))")

    seen = f"return [...{marks}].filter((m) => m.getClientRects().length).length"
    boxes = "[...document.querySelectorAll('#layers input')]"
    before = page.run(seen)
    assert page.run(f"return {boxes}.length") >= 3
    page.run(f"{boxes}[0].click()")
    assert 0 < page.run(seen) < before
    page.run(f"{boxes}.slice(1).forEach((box) => box.click())")
    assert page.run(seen) == 0
    page.run(f"{boxes}.forEach((box) => box.click())")
    assert page.run(seen) == before


def test_everything_has_a_name_and_can_be_reached(page: Any) -> None:
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    for role in ("button", "textbox", "searchbox", "combobox", "link", "image", "table", "region"):
        for node in tree:
            if node.get("role", {}).get("value") == role and not node.get("ignored"):
                assert node.get("name", {}).get("value"), node
    roles = {node.get("role", {}).get("value") for node in tree}
    assert {"main", "banner", "navigation", "search", "status", "heading", "table"} <= roles
    # The first stop of the keyboard leads past everything to the runs.
    press(page, "\ue004")  # Tab
    assert page.run("return document.activeElement.textContent") == "Skip to all runs"


def test_it_prints(page: Any) -> None:
    page.run("window.dispatchEvent(new Event('beforeprint'))")
    assert page.run("return document.querySelectorAll('main details:not([open])').length") == 0
    page.run("window.dispatchEvent(new Event('afterprint'))")
    assert page.run("return document.querySelectorAll('main details:not([open])').length") > 0
    pdf = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4


def test_it_works_without_a_network(page: Any, made: tuple[Path, Path]) -> None:
    page.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    try:
        page.open(made[0])
        assert page.run(f"return {ROWS}.length") == 100
    finally:
        offline |= {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
