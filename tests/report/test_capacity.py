"""The capacity study as tables and as a plot."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from harness.report.capacity import figure, page
from harness.report.tables import write
from harness.studies.capacity import Capacity
from harness.studies.capacity.critical import Critical
from harness.studies.capacity.exact import Exact
from harness.studies.capacity.free import PAPER, Trial
from harness.studies.capacity.theory import TABLE_6, fit


def trial(dim: int, documents: int, accuracy: float, margin: float) -> Trial:
    return Trial(
        relevance="", queries=1000, documents=documents, dim=dim, seed=42, protocol=PAPER,
        accuracy=accuracy, margin=margin, loss=0.9, iterations=100, seconds=1.5, device="cpu",
        torch="0",
    )  # fmt: skip


CAPACITY = Capacity(
    encoder="minilm",
    task="limit-small",
    k=2,
    gamma=0.1,
    seed=42,
    documents=46,
    queries=1000,
    relevant=46,
    model=((2, 0.0425), (4, 0.0505), (384, 0.155)),
    chance=2 / 46,
    bound=3,
    free=(trial(4, 46, 0.357, -0.1), trial(12, 46, 1.0, 0.0032)),
    exact=(
        Exact("float64", False, 4, 1.0, 3.9e-6),
        Exact("float32", False, 4, 1.0, 3.7e-6),
        Exact("float16", True, 5, 0.8535, None),
    ),
    critical=(
        Critical(4, 2, 9, 10, (trial(4, 9, 1.0, 0.0052), trial(4, 10, 0.98, -0.1))),
        Critical(50, 2, 1024, None, (trial(50, 1024, 1.0, 0.02),)),
    ),
    curve=None,
    paper_curve=fit(TABLE_6),
    notes=(),
)


def test_the_page_in_numbers():
    standing, truncated, exact, critical, extrapolated = page(CAPACITY)
    assert standing.title == "minilm on limit-small: 1,000 queries, 46 relevant documents"
    assert standing.rows == [
        ["minilm", "384", "15.50 %", "recall at 2"],
        ["free vectors", "12", "100.00 %", "optimised on the judgments; margin 0.0032"],
        ["exact vectors", "4", "100.00 %", "of float64"],
        ["margin bound", "3", "", "no fewer return every 2 of 46 documents with margin 0.1"],
        ["chance", "", "4.35 %", "2 of 46"],
    ]
    assert truncated.header == ["dimensions", "minilm, R@2", "free vectors", "chance"]
    assert truncated.rows == [
        ["2", "4.25 %", "", "4.35 %"],
        ["4", "5.05 %", "35.70 %", "4.35 %"],
        ["12", "", "100.00 %", "4.35 %"],
        ["384", "15.50 %", "", "4.35 %"],
    ]
    assert exact.rows[0] == ["float64", "inner product", "4", "100.00 %", "3.9e-06"]
    assert exact.rows[2] == ["float16", "cosine", "5", "85.35 %", "overflow"]
    assert critical.rows == [
        ["4", "9", "10", "0.0052", "10", "3.0"],
        ["50", "1,024", "–", "0.02", "", "1.5"],
    ]
    assert [row[:2] for row in extrapolated.rows[:2]] == [["384", "217,335"], ["512", "509,026"]]
    assert extrapolated.rows[-1] == ["r²", "0.998576"]
    for table in page(CAPACITY):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_what_the_page_says_only_sometimes():
    ours = replace(CAPACITY, curve=fit({d: d**3 for d in range(4, 9)}), notes=("odd",), bound=None)
    standing, *_, extrapolated, notes = page(ours)
    assert standing.rows[3][1] == "any"
    assert extrapolated.header[2] == "measured here"
    assert extrapolated.rows[0][2] == "56,623,104"  # 384 cubed
    assert notes.rows == [["odd"]]
    three = replace(CAPACITY, k=3)
    assert len(page(three)) == 4  # the published numbers are of pairs
    assert "every 3" in page(three)[3].title
    down = page(replace(three, curve=fit({d: 9 * d - d**2 for d in range(2, 8)})))[4]
    assert down.header == ["dimensions", "measured here"]
    assert {row[1] for row in down.rows[:-1]} == {"–"}  # it turns down: it says nothing there
    assert "| minilm " in write(page(ours), "markdown")


def words(drawn) -> str:
    """All text of a figure."""
    texts = [text for axes in drawn.axes for text in (*axes.texts, axes.title, axes._left_title)]
    return "\n".join(text.get_text() for text in [*texts, drawn._suptitle, drawn._supxlabel])


def test_the_figure_says_the_finding_and_names_its_source():
    text = words(figure(CAPACITY))
    assert "minilm returns 15.5 % of what limit-small asks for with 384 dimensions" in text
    assert "free vectors return 100 % with 12" in text
    assert "chance 4.3 %" in text
    assert "46 relevant in limit-small" in text
    assert "its cubic goes on to 220,000" in text
    assert "Weller et al. 2025, arXiv 2508.21038" in text
    partly = replace(CAPACITY, free=CAPACITY.free[:1])
    assert "free vectors return 35.7 % with 4" in words(figure(partly))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"k": 3},
        {"critical": ()},
        {"model": ((2, 0.9), (8, 1.0)), "critical": ()},  # smaller than what is published
        {"model": ((2, 0.1), (4096, 1.0))},
        {"free": (trial(256, 46, 0.9, 0.0),)},
    ],
)
def test_the_figure_is_drawn_inside_its_frame(changed):
    drawn = figure(replace(CAPACITY, **changed))
    out = io.BytesIO()
    drawn.savefig(out, format="png")
    assert out.getvalue().startswith(b"\x89PNG")
    renderer = drawn.canvas.get_renderer()
    width, height = drawn.canvas.get_width_height()
    for axes in drawn.axes:
        assert axes.get_window_extent(renderer).width > 0.7 * width
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0
            assert box.x1 <= width + 1
            assert box.y0 >= 0
            assert box.y1 <= height
    assert drawn.canvas.manager is None  # no pyplot
    assert np.asarray(drawn.canvas.buffer_rgba())[2, 2, :3].tolist() == [255, 255, 255]
