"""The page and the figure of a study of judgments."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pytest

from harness.report.judgments import figure, page
from harness.report.tables import write
from harness.studies.judgments import (
    SELECTIONS,
    Agreement,
    Enough,
    Judgments,
    Pool,
    Reduced,
    System,
)
from harness.studies.subject import Interval


def agreement(tau: float, pairs: int = 3, *, several: bool = False) -> Agreement:
    between = (tau - 0.25, tau + 0.125) if several else (None, None)
    return Agreement(pairs, tau, *between, 100 * (1 - tau) / 2)


def reduced(selection: str, share: float | None, tau: float) -> Reduced:
    random = selection == "random"
    return Reduced(
        selection,
        share,
        30 if share is None else 300,
        200 if random else 1,
        agreement(tau, several=random),
        (agreement(1.0, 2), None, agreement(0.0, 1)),
        0.5,
    )


ONE = {"random": 0.5, "longest": -0.25, "shortest": 0.75, "popular": 0.25, "system": 0.125}

FOUND = Judgments(
    task="some-task",
    measure="nDCG@10",
    queries=30,
    relevant=600,
    draws=200,
    systems=(
        System("bm25", Interval(0.7, 0.6, 0.8), 0.625, 0.375),
        System("minilm", Interval(0.65, 0.55, 0.75), 0.5, 0.5),
        System("run.txt", Interval(0.3, 0.2, 0.4), 0.25, 0.75),
    ),
    reduced=tuple(
        one
        for name, tau in ONE.items()
        for one in (reduced(name, None, tau), reduced(name, 0.5, 0.875))
    ),
    enough=tuple(Enough(name, 0.5, (0.5, None, None)) for name in SELECTIONS),
    pools=(Pool(10, 700, 450, agreement(0.8)),),
    seed=0,
    warnings=(),
)


def test_a_page_says_what_was_measured():
    systems, order, enough, pools = page(FOUND)
    assert systems.title == (
        "nDCG@10 on some-task by all judgments: 30 queries, 600 relevant documents"
    )
    assert systems.header == ["system", "nDCG@10", "95 % interval", "judged@10", "hole@10"]
    assert systems.rows[0] == ["bm25", "0.7000", "[0.6000, 0.8000]", "62.5%", "37.5%"]
    assert order.title == (
        "Order of systems by part of the relevant documents, beside that by all: 3 pairs, by the "
        "p-value of their difference"
    )
    assert order.header[6:] == [
        "tau, p < .01: 2", "tau, p .01 to .05: 0", "tau, p >= .05: 1", "best stays best"
    ]  # fmt: skip
    assert order.rows[0] == [
        "random", "one a query", "30, 5%", "0.500", "[0.250, 0.625]", "25.0 %", "1.000", "–",
        "0.000", "50%",
    ]  # fmt: skip
    assert order.rows[3][:6] == ["longest", "50%", "300, 50%", "0.875", "", "6.2 %"]
    assert enough.title == ("Share of relevant documents from which on tau is at least 0.8, of 50%")
    assert enough.rows[0] == ["random: drawn at random", "50%", "50%", "–", "all"]
    assert pools.rows == [["10", "700", "450", "75.0%", "0.800", "10.0 %"]]
    for table in page(FOUND):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_warnings_and_files():
    assert page(replace(FOUND, warnings=("odd",)))[-1].rows == [["odd"]]
    assert write(page(FOUND), "markdown").count("### ") == 4
    assert json.loads(json.dumps(asdict(FOUND), allow_nan=False))["pools"][0]["found"] == 450


@pytest.mark.parametrize(
    ("taus", "ending"),
    [
        (ONE, "25 % of pairs of 3 systems if drawn at random, 62 % if the longest one"),
        (
            ONE | {"popular": -1},
            "25 % of pairs of 3 systems if drawn at random, 100 % if one that most systems find",
        ),
        (
            dict.fromkeys(ONE, 0.5),
            "25 % of pairs of 3 systems if drawn at random, more than by any other choice",
        ),
    ],
)
def test_the_title_of_a_figure_is_what_it_shows(taus, ending):
    made = figure(replace(FOUND, reduced=tuple(reduced(n, None, tau) for n, tau in taus.items())))
    made.savefig(io.BytesIO(), format="svg")
    said = made.get_suptitle().replace("\n", " ")
    assert said == f"some-task: one relevant document a query turns {ending}"
    (axes,) = made.axes
    assert [item.get_text() for item in axes.get_legend().get_texts()] == list(SELECTIONS)
