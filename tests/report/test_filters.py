"""The page and the figure of filtered search."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

from harness.report.filters import figure, page, ways
from harness.report.tables import write
from harness.studies.filters import FACTORS, Answer, Bucket, Filters


def answer(selectivity: float, way: str, index: str, factor: int | None, recall: float) -> Answer:
    rest = {"low": recall - 0.01, "high": recall + 0.01, "short": 1 - recall}
    speed = {"per_second": 1234.5, "p50_ms": 0.5, "p95_ms": 2.25}
    return Answer(selectivity, way, index, factor, recall, **rest, **speed)


def made(index: str, *, native: bool) -> Filters:
    buckets = (
        Bucket(0.01, 0.0101, 52, ("year 1999 to 2001", "tag = a")),
        Bucket(0.5, 0.5, 2592, ("year 1950 to 2020",)),
    )
    answers = []
    for bucket in buckets:
        s = bucket.selectivity
        answers.append(answer(s, "pre-filter", "exact", None, 1.0))
        for name in dict.fromkeys(["exact", index]):
            answers += [answer(s, "post-filter", name, f, min(1, s * f)) for f in FACTORS]
        if native:
            answers.append(answer(s, "native", index, None, 0.4 + s))
    return Filters(
        "minilm", "some-task", index, 10, 5183, 300, "year", buckets, tuple(answers), 0, ("odd",)
    )


GRAPH = made("hnsw", native=True)


def test_a_page_holds_recall_results_missing_and_speed():
    predicates, recall, short, rate, alone, warnings = page(GRAPH)
    assert predicates.title == (
        "minilm on some-task: 300 queries with predicates on year over 5,183 documents"
    )
    assert predicates.rows[0] == ["1.0%", "1.01%", "52", "2", "year 1999 to 2001; tag = a"]
    assert recall.header == ["documents that match", "1.0%", "50.0%"]
    rows = {row[0]: row[1:] for row in recall.rows}
    assert list(rows) == [
        "pre-filter, exact",
        *(f"post-filter x{factor}, exact" for factor in (1, 2, 5, 10)),
        *(f"post-filter x{factor}, hnsw" for factor in (1, 2, 5, 10)),
        "native, hnsw",
    ]
    assert rows["post-filter x10, hnsw"][0] == "0.1000 [0.0900, 0.1100]"
    assert {row[0]: row[1] for row in short.rows}["post-filter x5, exact"] == "95.0%"
    assert rate.rows[0][1:] == ["1,234", "1,234"]
    assert alone.rows[0][1:] == ["0.50 (2.25)", "0.50 (2.25)"]
    assert warnings.rows == [["odd"]]
    assert write(page(GRAPH), "markdown").count("### ") == 6
    assert json.loads(json.dumps(asdict(GRAPH), allow_nan=False))["k"] == 10


def texts(filters: Filters) -> list[str]:
    from matplotlib.text import Text

    drawn = figure(filters)
    drawn.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in drawn.findobj(Text)]


def test_the_title_of_a_figure_is_what_it_shows():
    said = texts(GRAPH)
    assert (
        "minilm on some-task, 1.0% match: filtering 10 x 10 results finds 10%, filtering inside "
        "hnsw 41%, filtering first all"
    ) in said
    assert "of 5,183 documents match; predicates on year" in said
    for name in ("pre-filter", "native", *(f"post-filter x{factor}" for factor in FACTORS)):
        assert said.count(name) == 1


def test_a_figure_of_exact_search_alone():
    said = texts(made("exact", native=False))
    assert (
        "minilm on some-task, 1.0% match: filtering 10 x 10 results finds 10%, filtering first all"
    ) in said
    assert said.count("post-filter x10") == 1
    assert "native" not in said


def test_a_figure_of_one_selectivity():
    one = replace(GRAPH, buckets=GRAPH.buckets[1:], answers=GRAPH.answers[10:])
    assert {a.selectivity for answers in ways(one).values() for a in answers} == {0.5}
    assert any(text.startswith("minilm on some-task, 50.0% match") for text in texts(one))
