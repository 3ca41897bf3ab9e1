"""Tables on a terminal: whatever its width, every column is there and no number is broken."""

from __future__ import annotations

import re

import pytest

from harness import terminal
from harness.frames import Table

SCORES = Table(
    "Scores",
    ["task", "system", "nDCG@10", "95% interval", "R@100", "seconds", "notes"],
    [
        ["limit-small", "bm25", "1.0000", "[0.9961, 1.0000]", "0.5000", "1,234.5", "first"],
        ["中文任务", "minilm@int8", "0.0882", "[0.0190, 0.1607]", "0.2770", "0.3", "last"],
    ],
    frozenset({2, 3, 4, 5}),
)


@pytest.fixture
def shown(monkeypatch, capsys):
    """What is printed of a table on so many columns."""

    def show(table: Table, columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal.show([table])
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("columns", [1, 10, 20, 30, 40, 50, 60, 69, 70, 80, 200])
def test_no_column_is_lost_and_no_number_broken(shown, columns):
    text = shown(SCORES, columns)
    for row in SCORES.rows:
        for column, cell in enumerate(row):
            if column in SCORES.numeric:
                assert cell in text
            else:
                assert set(cell) <= set(text)
    assert re.search("first.*\n(.*\n)*.*last", text)


def test_a_table_is_as_wide_as_the_terminal(shown):
    widest = {columns: shown(SCORES, columns) for columns in (45, 60, 80, 100)}
    for columns, text in widest.items():
        assert max(map(len, text.splitlines())) <= columns


def test_what_has_no_room_stands_below_with_what_names_its_rows(shown):
    lines = [line.split() for line in shown(SCORES, 40).splitlines() if "bm25" in line]
    assert [line[-1] for line in lines] == ["1.0000", "1.0000]", "0.5000", "1,234.5", "first"]
    wins = Table("W", ["system", "a", "b"], [["x", "10%", "20%"]], frozenset({1, 2}))
    assert shown(wins, 20).split() == [
        "W", "system", "a", "─" * 14, "x", "10%", "system", "b", "─" * 14, "x", "20%"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("least", "whole", "room", "widths"),
    [
        ([2, 3], [4, 8], 99, [4, 8]),
        ([2, 3], [4, 8], 16, [4, 5]),  # 7 characters stand around two columns
        ([2, 3], [4, 8], 14, [3, 3]),
        ([2, 3], [4, 8], 5, [2, 3]),
        ([], [], 5, []),
    ],
)
def test_the_widest_columns_give_way_first(least, whole, room, widths):
    assert terminal._fit(least, whole, room) == widths


@pytest.mark.parametrize(
    ("total", "line"),
    [(40, "t: encode 30/40 texts, 2/s, 5 s left\n"), (0, "t: encode 2/s\n")],
)
def test_a_line_of_progress(monkeypatch, capsys, total, line):
    """Of what nobody knows the end of, no seconds are left, least of all fewer than none."""
    clock = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: clock[0])
    lines = terminal._Lines("t", said=0.0)
    lines.report("encode", 8, total, "texts")
    clock[0] = 11.0
    lines.report("encode", 30, total, "texts")
    assert capsys.readouterr().err == line
