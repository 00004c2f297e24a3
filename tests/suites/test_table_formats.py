"""Tables as text, Markdown, CSV and JSON: every cell is there, and comes back as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suites.table import Cell, Table, from_csv, from_json, to_csv, to_json

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
