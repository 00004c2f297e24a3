"""Tables as text, Markdown, CSV and JSON: every cell is there, and comes back as it was."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable

from suites.tables.table import Cell, Table, to_csv, to_json
from suites.tables.text import text_lines, wrapped
from tests.suites.tables.read_back import from_csv, from_json

TABLES = [
    Table("T", ["a", "b"], [["x|y", '1,"2"'], ["–", "± 3"]], ["a note", "another, one"]),
    Table("T", ["a"], [[""], ["# no comment"]]),
    Table("two\nlines", ["note", "b"], [["a\n\nb", ""]], ["", "x"]),
    Table("no rows", ["a", "b"], [], ["why"]),
]


def said(found: list[Table]) -> list[tuple]:
    """What tables hold, in lists or in tuples."""
    return [(t.title, [*t.columns], [[*row] for row in t.rows], [*t.notes]) for t in found]


def test_csv_has_titles_and_round_trips() -> None:
    text = to_csv(TABLES)
    assert said(from_csv(text)) == said(TABLES)
    assert text.splitlines()[:6] == [
        "table,a,b",
        'T,x|y,"1,""2"""',
        "T,–,± 3",
        "",
        "table,note",
        "T,a note",
    ]


def test_json_round_trips() -> None:
    assert said(from_json(to_json(TABLES))) == said(TABLES)
    assert json.loads(TABLES[0].to_json()) == {
        "title": "T",
        "columns": ["a", "b"],
        "rows": [{"a": "x|y", "b": '1,"2"'}, {"a": "–", "b": "± 3"}],
        "notes": ["a note", "another, one"],
    }


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(
    CELLS,
    st.lists(CELLS, min_size=1, max_size=3, unique=True),
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=3),
    st.lists(CELLS, max_size=2),
)
def test_any_text_round_trips(
    title: str, columns: list[str], rows: list[list[str]], notes: list[str]
) -> None:
    table = Table(title, columns, [row[: len(columns)] for row in rows], notes)
    assert said(from_csv(to_csv([table]))) == said([table])
    assert said(from_json(to_json([table]))) == said([table])


def test_markdown_shows_what_it_would_take_for_its_own() -> None:
    table = Table("T <b>", ["a", "b"], [["x|y", "a\\b"], ["`*`", "two\nlines"]])
    assert table.to_markdown().splitlines() == [
        "### T &lt;b>",
        "",
        "| a | b |",
        "| --- | --- |",
        "| x\\|y | a\\\\b |",
        "| \\`\\*\\` | two lines |",
    ]


def test_kinds_of_numbers_in_one_column_are_marked() -> None:
    measured, predicted = Cell("1.0", "measured"), Cell("2.0", "predicted")
    published = Cell("3.0", "published")
    apart = Table("T", ["m", "p"], [[measured, predicted], [measured, predicted]])
    assert (apart.rows, apart.notes) == ([["1.0", "2.0"]] * 2, ())
    mixed = Table("T", ["x"], [[measured], [predicted], [published], ["not run"]], ["first"])
    assert [row[0] for row in mixed.rows] == ["1.0", "2.0ᵖ", "3.0*", "not run"]
    assert mixed.notes == ["first", "ᵖ predicted; * published"]
    with pytest.raises(ValueError, match="no kind of number 'guessed'; there are measured"):
        Cell("1", "guessed")


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        Table("T", ["a", "b"], [["1"]])
    with pytest.raises(ValueError, match="share a name"):
        Table("T", ["a", "a"], [["1", "2"]])


def test_columns_of_numbers_are_known() -> None:
    body = [["STDCF", "84.93 ± 0.10", "–", "", "not run"], ["Reg. 3D", "-4.3", "+1%", "", "1"]]
    assert Table("T", list("abcde"), body).is_number == [False, True, True, False, False]


def test_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    words = "[enforce fail at alloc_cpu.cpp:119] [/tmp] [red]"
    Table(f"title {words}", ["a"], [[f"cell {words}"]], [f"note {words}"]).print()
    out = capsys.readouterr().out
    assert all(f"{part} {words}" in out for part in ("title", "cell", "note"))


def as_rich_prints_it(table: Table) -> RichTable:
    """The same table by another library."""
    shown = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if index < 2 else "right", no_wrap=index < 2)
    for row in table.rows:
        shown.add_row(*row)
    return shown


@given(st.lists(st.lists(st.text("aé漢±\n", max_size=9), min_size=3, max_size=3), min_size=1))
def test_text_is_as_rich_would_print_it(rows: list[list[str]]) -> None:
    table = Table("T", ["first", "second", "third, %"], rows)
    console = Console(file=io.StringIO(), width=200)
    console.print(as_rich_prints_it(table))
    lines = text_lines(table.title, table.columns, table.rows, 200)
    wanted = [line.rstrip() for line in console.file.getvalue().split("\n")]  # type: ignore[attr-defined]
    assert [line.rstrip() for line in lines] == wanted[: len(lines)]


def test_text_that_does_not_fit_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    Table("T", ["a", "b", "c"], [["x", "y", "z" * 300]]).print()
    out = capsys.readouterr().out
    assert out.count("z") == 300
    assert max(map(len, out.splitlines())) <= 200


@given(
    st.integers(20, 120),
    st.lists(st.integers(0, 60), min_size=3, max_size=9),
    st.lists(st.integers(1, 20), min_size=9, max_size=9),
)
def test_a_narrow_terminal_gets_every_cell(room: int, sizes: list[int], headers: list[int]) -> None:
    letters = "abcdefghi"[: len(sizes)]
    row = [letter * size for letter, size in zip(letters, sizes, strict=True)]
    # In capitals, and in words of up to 7 letters.
    columns = [
        " ".join(wrapped(letter.upper() * size, 7))
        for letter, size in zip(letters, headers, strict=False)
    ]
    lines = text_lines("T", columns, [row], room)
    assert max(map(cell_len, lines)) <= room
    text = "".join(lines[1:])
    blocks = text.count("A") // headers[0]
    for index, (letter, size) in enumerate(zip(letters, sizes, strict=True)):
        times = blocks if index < 2 else 1
        assert text.count(letter) == times * size
        assert text.count(letter.upper()) == times * headers[index]


def test_blocks_of_columns_begin_with_the_first_two() -> None:
    columns = ["Layer", "Training", "Clip acc., %", "Paper (KTH)", "vs full size"]
    row = ["Reg. 3D", "full size", "82.00", "81.26", "+5.21"]
    assert text_lines("Table 2", columns, [row], 40) == [
        "Table 2",
        "",
        "  Layer     Training     Clip   Paper",
        "                        acc.,   (KTH)",
        "                            %",
        " ─────────────────────────────────────",
        "  Reg. 3D   full size   82.00   81.26",
        "",
        "  Layer     Training       vs",
        "                         full",
        "                         size",
        " ─────────────────────────────",
        "  Reg. 3D   full size   +5.21",
        "",
    ]


def test_no_cell_speaks_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    words = "\x1b]0;owned\x07\x1b[31m\x9b2J\u202e"
    for cell in (words, words + "z" * 300):
        Table(f"T {words}", [f"a {words}"], [[cell]], [f"note {words}"]).print()
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*out}
    assert out.count("owned") == 8
