"""The tables of a board, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.board import Board, of_entries
from harness.board.entries import BoardEntry
from harness.board.standings import Ordering, standings
from harness.report import leaderboard
from harness.report.tables import write

SCORES = {"small": (0.5, 0.6), "large": (0.7, 0.8), "poor": (0.4, 0.5), "part": (0.9, None)}
SIZES = {"small": 10.0, "large": 40.0, "poor": 20.0, "part": 1.0}


def made(**changes: object) -> Board:
    return of_entries(
        [
            BoardEntry(
                system=system, task=task, family=f"family {task}", kind="retrieval", measure="R@2",
                score=score, low=None, high=None, path=None, conditions="c",
                cost={"parameters": size, "texts_per_s": 1 / size, "peak_mb": size},
            )
            for (system, row), size in zip(SCORES.items(), SIZES.values(), strict=True)
            for task, score in zip(("t|1", "t2"), row, strict=True)
            if score is not None
        ],
        **changes,
    )  # fmt: skip


def test_the_ranking():
    table = leaderboard.ranking(made(), standings(made()))
    assert table.header == [
        "rank", "system", "tasks", "Borda", "mean", "95% interval", "groups", "family t2",
        "family t|1", "mean of families", "Kemeny", "keeps its rank", "is first", "ranks in 95%",
    ]  # fmt: skip
    assert [row[:5] for row in table.rows] == [
        ["1", "large", "2 of 2", "5", "0.7500"],
        ["2", "small", "2 of 2", "3", "0.5500"],
        ["3", "poor", "2 of 2", "1", "0.4500"],
        ["–", "part", "1 of 2", "3", "(0.9000)"],
    ]
    assert table.rows[0][7:] == ["0.8000", "0.7000", "0.7500", "1", "100%", "100%", "1"]
    assert table.rows[3][5:] == ["", "", "–", "0.9000", "–", "–", "–", "–", "–"]
    assert len(leaderboard.ranking(made(), standings(made()), most=2).rows) == 2


def test_the_board_as_data():
    board = made(refused=[(Path("a.json"), "not readable")], notes=["careful"])
    found = leaderboard.data(board, standings(board))
    first, *_, last = found["ranking"]
    assert (first["system"], first["rank"], first["borda"], first["mean"]) == ("large", 1, 5, 0.75)
    assert first["families"] == {"family t2": 0.8, "family t|1": 0.7}
    assert first["costs"]["parameters"] == 40
    assert "peak_mb" not in first["costs"]  # what the process did before is in it
    assert (last["rank"], last["mean"], last["part"], last["places"]) == (None, None, 0.9, None)
    scores = {(row["system"], row["task"]): row["score"] for row in found["scores"]}
    assert len(scores) == 7
    assert scores["small", "t2"] == 0.6
    assert found["wins"][:3] == [
        {"system": "large", "other": "small", "share": 1},
        {"system": "large", "other": "poor", "share": 1},
        {"system": "large", "other": "part", "share": 0},
    ]
    assert found["notes"][-1] == "careful"
    assert found["refused"] == [{"file": "a.json", "reason": "not readable"}]
    two = leaderboard.data(board, standings(board), most=2)
    assert [row["system"] for row in two["ranking"]] == ["large", "small"]
    assert [tuple(row.values()) for row in two["wins"]] == [
        ("large", "small", 1), ("small", "large", 0)
    ]  # fmt: skip


def test_one_family_and_one_task_need_fewer_columns():
    entry = next(iter(made().entries.values()))
    board = of_entries([entry])
    table = leaderboard.ranking(board, standings(board))
    assert table.header == [
        "rank", "system", "tasks", "Borda", "mean", "95% interval", "groups", "Kemeny"
    ]  # fmt: skip


def test_scores_mark_the_best_of_each_task():
    table = leaderboard.scores(made(), standings(made()))
    assert table.header == ["system", "t2 (R@2)", "t|1 (R@2)"]
    assert table.rows[0] == ["large", "0.8000*", "0.7000"]
    assert table.rows[3] == ["part", "–", "0.9000*"]


def test_wins():
    table = leaderboard.wins(standings(made()))
    assert table.header == ["system", "large", "small", "poor", "part"]
    assert table.rows[0] == ["large", "", "100%", "100%", "0%"]


def test_quality_against_cost():
    speed, size = leaderboard.costs(made(), standings(made()))  # and against no peak memory
    assert size.title == "Quality against parameters"
    assert size.rows == [
        ["large", "0.7500", "40", "front", "", ""],
        ["small", "0.5500", "10", "front", "", ""],
        ["poor", "0.4500", "20", "", "0.1000", "2.0"],
    ]
    assert [row[3:] for row in speed.rows] == [row[3:] for row in size.rows]


def test_what_the_test_finds_worse_is_not_said_to_score_no_less():
    """On the tasks that all have, the cheap one has the higher mean; over all, it is worse."""
    rows = {"cheap": (0.6, 0.6, 0.1), "dear": (0.5, 0.5, 0.9), "mild": (0.4, 0.4, 0.6)}
    rows |= dict.fromkeys("wxyz", (0.1, 0.1, None))
    prices = {"cheap": 10.0, "dear": 40.0, "mild": 20.0, **dict.fromkeys("wxyz", 100.0)}
    board = of_entries(
        BoardEntry(
            system=system, task=f"t{at}", family="f", kind="retrieval", measure="R@2", score=score,
            low=score - 0.01, high=score + 0.01, path=None, conditions="c",
            cost={"parameters": prices[system]},
        )
        for system, row in rows.items()
        for at, score in enumerate(row)
        if score is not None
    )  # fmt: skip
    ranked = standings(board, Ordering(fixed_tasks=True))
    assert [(row.system, row.groups) for row in ranked.rows[:3]] == [
        ("dear", (1,)), ("cheap", (2,)), ("mild", (3,))
    ]  # fmt: skip
    *_, size = leaderboard.costs(board, ranked)
    found = {row[0]: row[1:] for row in size.rows}
    assert size.header[1] == "mean of 2 of 3 tasks"
    assert found["cheap"] == ["0.6000", "10", "front", "", ""]
    assert found["dear"] == ["0.5000", "40", "", "0.1000", "–"]  # 4.0 by these means alone
    assert found["w"] == ["0.1000", "100", "", "0.5000", "10.0"]
    (notes,) = [table for table in leaderboard.page(board, ranked) if table.title == "Notes"]
    assert notes.rows[-1] == [leaderboard.COMPARED]


def test_quality_is_of_the_tasks_that_all_systems_have_where_most_lack_some(monkeypatch):
    few = {"small": (0.5, 0.6), "large": (0.7, None), "poor": (0.4, None), "part": (0.9, None)}
    monkeypatch.setitem(globals(), "SCORES", few)
    size = list(leaderboard.costs(made(), standings(made())))[1]
    assert size.header[1] == "mean of 1 of 2 tasks"
    assert sorted(row[:2] for row in size.rows) == [
        ["large", "0.7000"],
        ["part", "0.9000"],
        ["poor", "0.4000"],
        ["small", "0.5000"],
    ]


def test_refused_files_are_counted_and_named_on_request():
    files = [
        (Path("a.json"), "main_score of test/x is None: expected -1 to 1"),
        (Path("b.json"), "not readable: Expecting value"),
        (Path("<script>.json"), "not readable: Extra data"),
    ]
    board = made(refused=files)
    (table,) = leaderboard.refusals(board)
    assert table.title == "3 files refused"
    assert table.rows == [["not readable", "2"], ["main_score of test/x is None", "1"]]
    (table,) = leaderboard.refusals(board, details=True)
    assert table.rows[2] == ["<script>.json", "not readable: Extra data"]
    assert list(leaderboard.refusals(made())) == []


@pytest.mark.parametrize("style", ["markdown", "latex"])
def test_a_page_in_every_format(style):
    board = made(refused=[(Path("<script>.json"), "not readable")], notes=["careful"])
    tables = leaderboard.page(board, standings(board), details=True)
    assert [table.title for table in tables][:3] == [
        "Leaderboard", "Scores", "How often the row beats the column, tasks equally likely",
    ]  # fmt: skip
    text = write(tables, style)
    assert "careful" in text
    if style == "markdown":
        assert "<script>" not in text
