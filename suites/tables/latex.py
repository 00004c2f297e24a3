"""Tables as LaTeX: a document that compiles as it is, and whose table environments can be pasted.

They need the package booktabs alone, and any engine: what is not ASCII is written as commands.
"""

import re
import unicodedata
from collections.abc import Sequence

from suites.tables.table import Table

_BEFORE = r"""% Paste any table environment below; your preamble needs \usepackage{booktabs}.
\documentclass{article}
\usepackage[a4paper,landscape,margin=2cm]{geometry}
\usepackage{booktabs}
\begin{document}
"""
_AFTER = "\\end{document}\n"

_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "`": r"\`{}",
    # At the start of a line these would be read as an argument of \\ or \midrule.
    "*": r"{*}",
    "[": r"{[}",
    "]": r"{]}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "−": r"$-$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "ᵖ": r"$^{p}$",
    "²": r"$^{2}$",
    "³": r"$^{3}$",
    "µ": r"$\mu$",
    "°": r"$^{\circ}$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "φ": r"$\varphi$",
    "ψ": r"$\psi$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u202f": r"\,",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}
_ACCENTS = {
    "\u0300": r"\`",
    "\u0301": r"\'",
    "\u0302": r"\^",
    "\u0303": r"\~",
    "\u0308": r"\"",
    "\u030a": r"\r",
    "\u030c": r"\v",
    "\u0327": r"\c",
}

# A minus is longer than a hyphen; two hyphens would become a dash.
_MINUS = re.compile(r"^-(?=[\d.])")
_HYPHEN = re.compile(r"-(?=-)")


def to_latex(tables: Sequence[Table]) -> str:
    """One document of booktabs tables."""
    # Without a page's end LaTeX gives up at too many unplaced tables.
    return _BEFORE + "\\clearpage\n".join(table_environment(t) for t in tables) + _AFTER


def table_environment(table: Table) -> str:
    """One table: title as caption, notes below."""
    layout = "".join("r" if is_number else "l" for is_number in table.is_number)
    lines = [
        r"\begin{table}[ht]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(table.title)}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _line(table.columns),
        r"\midrule",
        *(_line(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if table.notes:
        notes = "\\par\n".join(escape(note) for note in table.notes)
        lines += [
            "",
            r"\smallskip",
            rf"\begin{{minipage}}{{0.9\linewidth}}\raggedright {notes}",
            r"\end{minipage}",
        ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX sets as it reads; what no font of its own has is named by its code point."""
    text = _MINUS.sub("−", " ".join(text.split()))
    written = "".join(_character(character) for character in unicodedata.normalize("NFC", text))
    return _HYPHEN.sub("-{}", written)


def _character(character: str) -> str:
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    if character.isascii():
        return character if character.isprintable() else f"U+{ord(character):04X}"
    apart = unicodedata.normalize("NFD", character)
    if len(apart) == 2 and apart[0].isascii() and apart[1] in _ACCENTS:
        return f"{_ACCENTS[apart[1]]}{{{apart[0]}}}"
    return f"U+{ord(character):04X}"


def _line(cells: Sequence[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"
