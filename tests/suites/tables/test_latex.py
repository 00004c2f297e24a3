"""LaTeX that compiles as it is: parsed strictly, and set by pdflatex where there is one."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from suites.tables.latex import escape, to_latex
from suites.tables.table import Table

HOSTILE = [
    r"\input{/etc/passwd} \end{document}",
    "a & b \\\\ c % d",
    "$x_1^2$ #1 ~ {open",
    "}close \\",
    "[h] *starred",
    "full_same_compute 50% ± 3 × 2 – 4 — ≤ † é ß 漢 😀 \u202e",
    "-4.32",
    "line\nbreak\ttab\x00\x1b",
    "`code` 'quote' \"double\" --amp ---",
]


def parsed(text: str) -> Any:
    """The nodes of a strict parse: an unmatched brace or environment raises."""
    walker = LatexWalker(text, tolerant_parsing=False)
    return walker.get_latex_nodes()[0]


def environments(nodes: Any, name: str) -> list[Any]:
    found = []
    for node in nodes or ():
        if isinstance(node, LatexEnvironmentNode) and node.environmentname == name:
            found.append(node)
        found += environments(getattr(node, "nodelist", None), name)
    return found


# What a typesetter draws otherwise than a typewriter, quotes and their like, is tested by itself.
@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="\"'`^~-"))
)
def test_plain_text_reads_as_it_was(text: str) -> None:
    set_text = LatexNodes2Text(math_mode="text", strict_latex_spaces=True)
    assert set_text.latex_to_text(escape(text)) == " ".join(text.split())


@given(st.text())
def test_any_text_is_ascii_and_parses(text: str) -> None:
    written = escape(text)
    assert written.isascii()
    assert written.isprintable()
    parsed(written)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("-4.32", "$-$4.32"),
        ("+1 ± 2", r"+1 $\pm$ 2"),
        ("50.08%", r"50.08\%"),
        ("a_b & c", r"a\_b \& c"),
        ("16×60×80", r"16$\times$60$\times$80"),
        ("–", r"\textendash{}"),
        # Without the braces two hyphens are a dash.
        ("--amp", "-{}-amp"),
        ("---", "-{}-{}-"),
        ("Łódź é", r"\L{}\'{o}d\'{z} \'{e}"),
        ("Øre naïve ß Ű ẽ", r"\O{}re na\"{i}ve \ss{} \H{U} \~{e}"),
        ("‖x‖ ≪ λΓ €", r"$\Vert$x$\Vert$ $\ll$ $\lambda$$\Gamma$ \texteuro{}"),
        # LaTeX has them in other encodings or packages alone, or not at all.
        ("ą«Đ»ℝ漢", "U+0105U+00ABU+0110U+00BBU+211DU+6F22"),
        # These pylatexenc gives the accents of other letters.
        ("Ħŧ", "U+0126U+0167"),
        ("\\", r"\textbackslash{}"),
        ("[a] *", "{[}a{]} {*}"),
    ],
)
def test_what_is_written(text: str, written: str) -> None:
    assert escape(text) == written


def tables() -> list[Table]:
    hostile = Table(
        HOSTILE[0], ["what", "number, %"], [[text, "-1.5"] for text in HOSTILE], HOSTILE
    )
    plain = Table("Accuracy", ["Layer", "n"], [["STDCF", "3"], ["Reg. 3D", "12"]])
    return [hostile, plain, Table("empty", ["a", "b"], [])]


def test_the_document_holds_every_table_and_row() -> None:
    document = to_latex(tables())
    nodes = parsed(document)
    (body,) = environments(nodes, "document")
    floats = environments([body], "table")
    assert len(floats) == 3
    for table, float_ in zip(tables(), floats, strict=True):
        (tabular,) = environments([float_], "tabular")
        inside = tabular.latex_verbatim()
        assert all(rule in inside for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
        lines = [line for line in inside.splitlines() if line.endswith(r" \\")]
        assert len(lines) == 1 + len(table.rows)
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(table.columns) - 1
    assert document.count(r"\begin{document}") == document.count(r"\end{document}") == 1
    assert "input{" not in document.replace(r"\{", "")
    assert r"\begin{tabular}{lr}" in document


def test_packages_are_booktabs_and_the_pages_own() -> None:
    used = re.findall(r"\\usepackage(?:\[[^]]*\])?\{(\w+)\}", to_latex(tables()).split("\n", 1)[1])
    assert used == ["geometry", "booktabs"]


@pytest.mark.slow
def test_it_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine; the strict parser above stands in")
    letters = [chr(code) for code in range(0x20, 0x2FF0) if not escape(chr(code)).startswith("U+")]
    assert len(letters) > 350
    every_character = Table("all", ["a", "b"], [[letter, f"x{letter}y"] for letter in letters])
    many = [Table(f"Table {n}", ["a", "b"], [["x", "1"]]) for n in range(60)]
    (tmp_path / "t.tex").write_text(to_latex([*tables(), every_character, *many]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
