"""The site builds without a warning, its links lead somewhere, and it loads nothing else."""

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from stdcf.memory.predict import predict_peak

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocs_jupyter", "linkcheck")
LOADED = re.compile(
    r'<(?:script|img|iframe)[^>]*\ssrc="(https?:[^"]+)"|<link[^>]*href="(https?:[^"]+)"'
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    """Not in pytest's own folder: linkchecker, started by root, reads as nobody."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        pytest.skip(f"no {', '.join(missing)}: pip install -e '.[docs]'")
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield Path(folder)


def test_links_lead_somewhere(site: Path) -> None:
    program = Path(sys.executable).with_name("linkchecker")
    command = [str(program), "--no-status", str(site / "index.html")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    checked = re.search(r"(\d+) links? in .* 0 errors found", done.stdout)
    assert checked is not None
    assert int(checked[1]) > 200


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    found = {url for page in pages for pair in LOADED.findall(page.read_text()) for url in pair}
    assert found <= {""}


def test_the_api_pages_come_from_the_docstrings(site: Path) -> None:
    page = html.unescape((site / "api" / "memory.html").read_text())
    assert str(predict_peak.__doc__).splitlines()[0] in page


def test_readme_is_a_page_of_it(site: Path) -> None:
    page = (site / "readme.html").read_text()
    assert 'href="memory.html"' in page
    assert "suites/engine/catalog.py" in page
