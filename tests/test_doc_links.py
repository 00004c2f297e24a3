"""Every relative link, and every path of a file of ours, in README and docs leads to a file."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# `suites/engine/catalog.py`, tests/data/sets/test_kth.py; none with a placeholder in it.
PATH = re.compile(
    r"(?<![\w/.<-])((?:stdcf|suites|baselines|slurm|tests)/[\w/]+\.(?:py|toml|cpp|js)\b)"
)
# Pages of the site that stand elsewhere in the checkout; see docs/site.py.
SITE_ONLY = {"readme.md", "contributing.md", "changelog.md"}
# Files that a page tells its reader to write.
WRITTEN_BY_THE_READER = {
    "baselines/layers/temporal_first.py",
    "stdcf/data/sets/gestures.py",
    "tests/test_memory.py",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = set(PATH.findall(text)) - WRITTEN_BY_THE_READER
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_pages_have_links() -> None:
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 30


def test_the_site_has_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    docs = ROOT / "docs"
    pages = [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]
    named = {str(page.relative_to(docs)) for page in pages}
    assert named == set(re.findall(r"(\S+\.(?:md|ipynb))$", nav, re.MULTILINE)) - SITE_ONLY
