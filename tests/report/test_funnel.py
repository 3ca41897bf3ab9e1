"""The page and the figure of a funnel."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

from harness.report.funnel import figure, page
from harness.report.tables import write
from harness.studies.funnel import Funnel, Stage
from harness.studies.subject import Interval

NONE = Interval(0, 0, 0)
FUNNEL = Funnel(
    encoder="m",
    task="t",
    index="hnsw,M=8",
    full="hnsw,M=8,ef_search=64",
    measure="R@2",
    similarity="cosine",
    documents=100,
    queries=1500,
    lengths=(0.5, 2.0),
    stages=(
        Stage("best possible", Interval(0.8, 0.75, 0.85), None, None, None),
        Stage(
            "exact, cosine", Interval(0.6, 0.5, 0.7), "best possible", Interval(0.2, 0.1, 0.3), 1
        ),
        Stage(
            "exact, other", Interval(0.4, 0.3, 0.5), "exact, cosine", Interval(0.2, 0.1, 0.3), 0.5
        ),
        Stage("exact, alike", Interval(0.6, 0.5, 0.7), "exact, cosine", NONE, 1),
        Stage(
            "hnsw,M=8", Interval(0.58, 0.5, 0.7), "exact, cosine", Interval(0.02, 0.01, 0.03), 0.9
        ),
    ),
    seed=0,
    warnings=("odd",),
)


def test_a_page_holds_every_stage():
    stages, warnings = page(FUNNEL)
    assert stages.title == "m on t: where R@2 is lost"
    assert stages.rows[0] == [
        "best possible", "0.8000", "[0.7500, 0.8500]", "", "100.0%", "",
        "1,500 queries, documents in the order of their judgments",
    ]  # fmt: skip
    assert stages.rows[1] == [
        "exact, cosine", "0.6000", "[0.5000, 0.7000]", "0.2000 [0.1000, 0.3000]", "75.0%",
        "100.0%", "what the vectors lose",
    ]  # fmt: skip
    assert stages.rows[2][-2:] == [
        "50.0%",
        "what a wrong metric loses; vectors have lengths 0.5 to 2",
    ]
    assert stages.rows[4][3:] == [
        "0.0200 [0.0100, 0.0300]", "72.5%", "90.0%",
        "what the index loses; in full: hnsw,M=8,ef_search=64",
    ]  # fmt: skip
    assert warnings.rows == [["odd"]]


def test_a_page_is_written_in_every_format():
    (stages,) = page(replace(FUNNEL, warnings=()))
    assert json.loads(write([stages], "json"))[1]["R@2"] == "0.6000"
    for style in ("markdown", "csv", "latex"):
        assert "what the vectors lose" in write([stages], style)


def test_vectors_of_one_length_are_said_to_be():
    (stages, _) = page(replace(FUNNEL, lengths=(0.9999999, 1.0000001)))
    assert stages.rows[3][-1].endswith("all vectors are equally long, so every metric ranks alike")


def texts(funnel: Funnel) -> list[str]:
    """All that is written on a figure, which is drawn to see that it can be."""
    from matplotlib.text import Text

    made = figure(funnel)
    made.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in made.findobj(Text)]


def index_loses(low: float, mean: float, high: float) -> Funnel:
    """The funnel with another loss of the index."""
    last = replace(FUNNEL.approximate, loss=Interval(mean, low, high))
    return replace(FUNNEL, stages=(*FUNNEL.stages[:-1], last))


def test_the_title_of_a_figure_is_what_it_shows():
    said = texts(FUNNEL)
    assert "m on t: the vectors lose 0.200 R@2, hnsw,M=8 another 0.0200" in said
    assert {"0.8000", "−0.2000", "same", "−0.0200", "exact, other"} <= set(said)
    assert "R@2, with 95 % intervals over 1,500 queries" in said


def test_the_title_where_the_index_loses_nothing_or_gains():
    said = texts(index_loses(-0.01, 0.02, 0.03))
    assert "m on t: the vectors lose 0.200 R@2, hnsw,M=8 nothing that 1,500 queries show" in said
    assert "−0.0200, within noise" in said
    said = texts(index_loses(-0.03, -0.02, -0.01))
    assert "m on t: the vectors lose 0.200 R@2, hnsw,M=8 gains 0.0200" in said
    assert "+0.0200" in said


def test_nothing_to_find_is_drawn_too():
    nothing = [
        replace(stage, score=NONE, loss=None if stage.loss is None else NONE)
        for stage in FUNNEL.stages
    ]
    bare = replace(FUNNEL, stages=tuple(nothing))
    assert [row[4] for row in page(bare)[0].rows] == ["–"] * 5
    assert texts(bare).count("0.0000   same") == 4  # no room inside a bar


def test_no_state_of_pyplot_is_touched(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    texts(FUNNEL)
    assert "matplotlib.pyplot" not in sys.modules
