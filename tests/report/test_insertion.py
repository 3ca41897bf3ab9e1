"""The page and the figure of a study of insertion orders."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest

from harness.report.insertion import figure, page
from harness.report.tables import write
from harness.studies.insertion import (
    Graph,
    Insertion,
    Nearness,
    Order,
    Quarter,
    Rank,
    Relation,
)
from harness.studies.subject import Interval

NEAR = Nearness(100, 21.44, {1: 0.9, 10: 0.8, 100: 0.7}, 0.1)
QUARTERS = (
    Quarter(5.0, 10.0, 8.0, 50, Interval(0.97, 0.95, 0.99)),
    Quarter(10.5, 40.0, 20.0, 50, Interval(0.71, 0.66, 0.76)),
)


@pytest.fixture
def study(monkeypatch) -> Insertion:
    """Two orders under two settings; the graph's library need not be there."""
    monkeypatch.setattr(Graph, "__post_init__", lambda self: None)
    random = Order(
        "random", 10, Interval(0.8, 0.7, 0.9), (0.79, 0.81), None, Interval(0.5, 0.4, 0.6),
        Interval(-0.02, -0.03, -0.01),
    )  # fmt: skip
    first = replace(
        random, name="LID descending", recall=Interval(0.85, 0.8, 0.9), seeds=(0.84, 0.86),
        change=Interval(0.05, 0.02, 0.08),
    )  # fmt: skip
    deep = [replace(order, ef_search=40, recall=Interval(1, 1, 1)) for order in (random, first)]
    return Insertion(
        encoder="m",
        task="t",
        graph=Graph(seeds=(1, 2)),
        structure={},
        documents=1234,
        dimension=16,
        queries=100,
        measure="nDCG@10",
        score=Interval(0.52, 0.4, 0.6),
        near=NEAR,
        orders=(random, deep[0], first, replace(deep[1], change=Interval(0, -0.01, 0.01))),
        relations=(
            Relation(10, -0.5, -0.6, -0.4, QUARTERS),
            Relation(40, None, None, None, QUARTERS),
        ),
        ranks=(
            Rank("one subspace", 8, NEAR, {10: Interval(0.9, 0.8, 1), 40: Interval(1, 1, 1)}),
            Rank("20 clusters", 8, replace(NEAR, lid=None), {10: Interval(0.95, 0.9, 1)}),
        ),
        warnings=("odd",),
    )


def test_a_page_holds_every_number(study):
    orders, quarters, contrast, ranks, warnings = page(study)
    assert "1,234 documents" in orders.title
    assert "nDCG@10 by exact search 0.5200" in orders.title
    assert orders.rows[0] == [
        "random", "10", "0.8000", "[0.7000, 0.9000]", "0.7900 to 0.8100", "", "", "0.5000",
        "-0.0200 [-0.0300, -0.0100]",
    ]  # fmt: skip
    assert orders.rows[2][4:7] == ["0.8400 to 0.8600", "+0.0500 [+0.0200, +0.0800]", "yes"]
    assert orders.rows[3][6] == "within noise"
    assert quarters.rows[1] == ["10", "10.5 to 40.0", "50", "0.7100", "[0.6600, 0.7600]"]
    assert quarters.rows[2] == ["10", "Spearman", "all", "-0.50", "[-0.60, -0.40]"]
    assert quarters.rows[5] == ["40", "Spearman", "all", "–", "[–, –]"]
    assert [row[1] for row in contrast.rows] == ["21.4", "0.9000", "0.8000", "0.7000", "0.1000"]
    assert ranks.rows[0] == [
        "one subspace", "8", "21.4", "0.900", "0.800", "0.700", "0.9000", "1.0000"
    ]  # fmt: skip
    assert ranks.rows[1][2] == ranks.rows[1][-1] == "–"
    assert ranks.rows[2] == [
        "m, as above", "", "21.4", "0.900", "0.800", "0.700", "0.8000", "1.0000"
    ]  # fmt: skip
    assert warnings.rows == [["odd"]]


def test_a_page_without_ranks_is_written_in_every_format(study):
    tables = page(replace(study, ranks=(), warnings=()))
    assert len(tables) == 3
    assert json.loads(write(tables, "json"))[0][2]["documents inserted"] == "LID descending"
    for style in ("markdown", "csv", "latex"):
        assert "Spearman" in write(tables, style)


def test_orders_without_a_task_have_no_score(study):
    bare = replace(
        study, orders=tuple(replace(o, score=None, score_change=None) for o in study.orders)
    )
    assert page(bare)[0].rows[0][-2:] == ["", ""]


def texts(study: Insertion) -> list[str]:
    """All that is written on a figure, which is drawn to see that it can be."""
    from matplotlib.text import Text

    made = figure(study)
    made.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in made.findobj(Text)]


def test_the_title_of_a_figure_is_what_it_shows(study):
    said = texts(study)
    assert (
        "m on t, ef_search=10: recall@10 is 0.97 for queries of low dimension, 0.71 for those of "
        "high; inserting by LID descending moves it by +5.0 points"
    ) in said
    for label in ("synthetic, one subspace", "m, quarters of the queries", "ef_search=40"):
        assert label in said
    assert "synthetic, 20 clusters" not in said  # no dimension to draw it at


def test_the_title_where_orders_or_quarters_say_nothing(study):
    alike = [replace(order, seeds=(0.8,)) for order in study.orders]
    none = "no order of insertion differs from a random one by more than noise"
    assert any(none in text for text in texts(replace(study, orders=tuple(alike))))
    lone = replace(study, relations=(Relation(10, None, None, None, ()),), ranks=())
    assert "m on t, ef_search=10: inserting by LID descending moves recall@10 by +5.0 points" in (
        texts(lone)
    )


def test_no_state_of_pyplot_is_touched(study, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    texts(study)
    assert "matplotlib.pyplot" not in sys.modules
