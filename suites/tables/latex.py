"""Tables as LaTeX: a document that compiles as it is, and whose table environments can be pasted.

They need the package booktabs alone, and any engine: what is not ASCII is written as commands.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from pylatexenc.latexencode import get_builtin_uni2latex_dict

from suites.tables.table import Table

_BEFORE = r"""% Paste any table environment below; your preamble needs \usepackage{booktabs}.
\documentclass{article}
\usepackage[a4paper,landscape,margin=2cm]{geometry}
\usepackage{booktabs}
\begin{document}
"""
_AFTER = "\\end{document}\n"

# Of the characters that pylatexenc knows, those that LaTeX has commands for without more packages.
_RANGES = (range(0x20, 0x7F), range(0xA0, 0x180), range(0x391, 0x3CA), range(0x2010, 0x2045))
_SYMBOLS = "€™↑↓↔⇐⇒⇔∀∂∃∆∇∈∉∏∑−∓∘∝∞∧∨∩∪∫∼≃≅≈≡≠≤≥≪≫⊂⊃⊆⊇⊕⊗⋅⋯⟨⟩⌈⌉⌊⌋ℓ"
_NEEDS_PACKAGE = re.compile(
    r"\\(?:k|[DT]H|[dt]h|DJ|dj|NG|ng|nument|quote\w+base|guil\w+|nobreakdash|backprime)(?![A-Za-z])"
)
# These it writes as letters with another accent.
_WRONG = frozenset("ĦħŦŧĿŀ")
_MATH = re.compile(r"\\ensuremath\{(.*)\}")

_OURS = {
    "`": r"\`{}",
    # At the start of a line these would be read as an argument of \\ or \midrule.
    **{character: f"{{{character}}}" for character in "*[]"},
    # These look the same with every LaTeX, also with one from before 2020.
    **{"|": "$|$", "×": r"$\times$", "÷": r"$\div$", "·": r"$\cdot$", "√": r"$\surd$"},
    **{"→": r"$\rightarrow$", "←": r"$\leftarrow$", "†": r"$\dagger$", "‡": r"$\ddagger$"},
    **{"²": "$^{2}$", "³": "$^{3}$", "ᵖ": "$^{p}$", "°": r"$^{\circ}$", "µ": r"$\mu$"},
    **{"…": r"\ldots{}", "§": r"\S{}", "‘": "`", "’": "'", "“": "``", "”": "''"},
    **{"\u2009": r"\,", "\u202f": r"\,"},
}
_ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308", "`'^~=u.\"", strict=True))
_ACCENTS |= dict(zip("\u030a\u030b\u030c\u0323\u0327\u0331", "rHvdcb", strict=True))

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


@cache
def _character(character: str) -> str:
    apart = unicodedata.normalize("NFD", character)
    if len(apart) == 2 and apart[0].isascii() and apart[1] in _ACCENTS:
        return f"\\{_ACCENTS[apart[1]]}{{{apart[0]}}}"
    if character.isascii() and character.isprintable():
        return _commands().get(character, character)
    return _commands().get(character) or f"U+{ord(character):04X}"


@cache
def _commands() -> dict[str, str]:
    """Character -> what stands for it."""
    known = {chr(code): latex for code, latex in get_builtin_uni2latex_dict().items()}
    chosen = {chr(code) for codes in _RANGES for code in codes} | {*_SYMBOLS}
    commands = {}
    for character in (chosen & known.keys()) - _WRONG:
        latex = _MATH.sub(r"$\1$", known[character])
        # A command of letters takes in the letters after it.
        is_open = re.search(r"\\[A-Za-z]+$", latex) is not None
        if not _NEEDS_PACKAGE.search(latex):
            commands[character] = latex + "{}" * is_open
    return commands | _OURS


def _line(cells: Sequence[str]) -> str:
    return " & ".join(escape(cell) for cell in cells) + r" \\"
