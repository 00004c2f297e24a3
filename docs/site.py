"""What mkdocs needs beside mkdocs.yml: pages from outside docs/, and links that lead outside it.

README.md and its neighbours become pages. A link to a source file or a folder, which the site does
not have, becomes its text and its path.
"""

import re
from os.path import normpath, relpath
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# File of the checkout -> page of the site.
PAGES = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
IN_NOTEBOOKS = re.compile(r'href="((?!\w+:)[^"#]+)\.md(["#])')
PICTURE = re.compile(r"(!\[[^\]]*\]\()docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page to those of the site."""
    source = page.file.src_uri
    home = ROOT if source in PAGES.values() else (DOCS / source).parent

    def turned(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = Path(normpath(home / target))
        name = path.relative_to(ROOT).as_posix()
        if path.is_relative_to(DOCS):
            page_uri = path.relative_to(DOCS).as_posix()
        elif name in PAGES:
            page_uri = PAGES[name]
        else:
            return text if name in text else f"{text} (`{name}`)"
        return f"[{text}]({relpath(page_uri, Path(source).parent)}{anchor})"

    return LINK.sub(turned, PICTURE.sub(r"\1", markdown) if home == ROOT else markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a notebook, which mkdocs-jupyter leaves as they are."""
    return IN_NOTEBOOKS.sub(r'href="\1.html\2', html) if page.file.src_uri.endswith("nb") else html
