"""The version is the same everywhere, and a tagged commit has the tag's."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_citation_has_the_version() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", text, re.MULTILINE) == [VERSION]


def test_changes_are_noted() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Not released yet" or headings[0].startswith(VERSION)


def test_a_tag_is_the_version() -> None:
    command = ["git", "-C", str(ROOT), "tag", "--points-at", "HEAD", "v*"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() in ([], [f"v{VERSION}"])
