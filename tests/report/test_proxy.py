"""The page and the figure of candidates for MaxSim."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

from harness.report.proxy import figure, page
from harness.report.tables import write
from harness.studies.proxy import ONCE, REPEATS, Proxy, Way
from harness.studies.subject import Interval

DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200)
INTERVAL = Interval(0.5, 0.45, 0.55)


def way(name: str, first: float, needed: tuple[int | None, ...], **more: object) -> Way:
    found = tuple(min(1.0, first * depth) for depth in DEPTHS)
    return Way(name, 64_000, found, needed, **more)


FOUND = Proxy(
    encoder="colbert:some",
    task="some-task",
    documents=250,
    vectors=30_000,
    width=128,
    bytes=128_000,
    queries=1000,
    asked=31.96,
    depths=DEPTHS,
    deepest=250,
    ways=(
        way("muvera,bits=3", 0.05, (90, 150, 200, None), dimension=1280, recall=INTERVAL),
        way("muvera,bits=5", 0.5, (2, 3, 5, 8), dimension=10_240, recall=INTERVAL),
        way(REPEATS, 0.001, (320, 640, 1280, 2560)),
        way(ONCE, 0.01, (30, 40, 60, 110)),
    ),
    seed=0,
    warnings=("odd",),
)


def test_a_page_says_what_candidates_find_and_how_many_are_needed():
    found, needed, warnings = page(FOUND)
    assert found.title == (
        "colbert:some on some-task: share of 1,000 queries whose first of 250 documents by MaxSim "
        "is among N candidates (30,000 vectors of 128 dimensions, 32.0 of a query)"
    )
    assert found.header[4:7] == ["1Recall@1", "1Recall@10", "1Recall@100"]
    assert found.rows[0] == [
        "muvera,bits=3", "1,280", "64,000", "0.50", "5.0%", "50.0%", "100.0%",
        "0.5000 [0.4500, 0.5500]",
    ]  # fmt: skip
    assert found.rows[3] == [ONCE, "", "64,000", "0.50", "1.0%", "10.0%", "100.0%", ""]
    assert needed.header == ["candidates", "80%", "85%", "90%", "95%"]
    assert needed.rows[0] == ["muvera,bits=3", "90", "150", "200", "over 250"]
    assert needed.rows[2] == [REPEATS, "320", "640", "1,280", "2,560"]
    assert warnings.rows == [["odd"]]
    assert write(page(FOUND), "markdown").count("### ") == 3
    assert len(page(replace(FOUND, warnings=()))) == 2
    assert json.loads(json.dumps(asdict(FOUND), allow_nan=False))["bytes"] == 128_000


def texts(found: Proxy) -> list[str]:
    from matplotlib.text import Text

    drawn = figure(found)
    drawn.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in drawn.findobj(Text)]


def test_the_title_of_a_figure_is_what_it_shows():
    said = texts(FOUND)
    assert (
        "colbert:some on some-task, 95% of queries: 8 candidates of 10,240-d encodings, 110 of "
        "token search"
    ) in said
    assert {"bits=3 (1,280-d)", "bits=5 (10,240-d)", REPEATS, ONCE} <= set(said)
    assert "candidates, of 250 documents" in said
    few = texts(replace(FOUND, ways=(FOUND.ways[0], *FOUND.ways[2:])))
    assert (
        "colbert:some on some-task, 95% of queries: no encoding has their first document among 250"
    ) in few
