"""The page and the figure of a study of relevance cut-off."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

from harness.report.cutoff import figure, page
from harness.report.tables import write
from harness.studies.cutoff import Confidence, Cutoff, Point, System, Way
from harness.studies.subject import Interval

SCORE = Way(
    name="score",
    area=0.61234,
    at_recall=(0.9, 0.5, None, None),
    threshold=0.43211,
    seen=0.66,
    f1=0.65,
    mean_f1=Interval(0.62, 0.6, 0.65),
    gain=Interval(0, 0, 0),
    size=23.21,
    empty=0.012,
    wrong=0.1,
    refused=0.25,
    points=(Point(0.9, 0.1, 1.0, 0.5), Point(0.2, 0.9, 0.3, 40.0)),
)
RANK = replace(
    SCORE,
    name="rank",
    threshold=-20.5,
    mean_f1=Interval(0.67, 0.6, 0.7),
    gain=Interval(0.05, 0.01, 0.1),
    refused=0.0,
)
CUTOFF = Cutoff(
    task="t",
    measure="nDCG@10",
    queries=1000,
    documents=2000,
    depth=2000,
    relevant=5000,
    systems=(
        System(
            "m",
            Interval(0.7, 0.6, 0.8),
            Interval(0.74, 0.7, 0.8),
            (SCORE, RANK),
            (
                Confidence("max", 0.5, -0.25, Interval(0.9, 0.8, 1.0)),
                Confidence("diff1", None, None, Interval(0.5, 0.4, 0.6)),
            ),
        ),
    ),
    seed=0,
    warnings=("odd",),
)


def test_a_page_holds_every_way():
    reached, gets, at_recall, abstention, warnings = page(CUTOFF)
    assert reached.title == (
        "One threshold for all queries of t: 1,000 queries, all of 2,000 documents scored, 0.25% "
        "of pairs relevant; held out: chosen on the other half of the queries"
    )
    assert reached.rows == [
        [
            "m", "score", "0.6123", "0.4321", "0.6600", "0.6500", "0.6200 [0.6000, 0.6500]", "",
            "0.7400",
        ],
        [
            "m", "rank", "0.6123", "-20.5", "0.6600", "0.6500", "0.6700 [0.6000, 0.7000]",
            "0.0500 [0.0100, 0.1000]", "0.7400",
        ],
    ]  # fmt: skip
    assert gets.rows == [
        ["m", "score", "23.2", "1.2%", "10.0%", "25.0%"],
        ["m", "rank", "23.2", "1.2%", "10.0%", "0.0%"],
    ]
    assert at_recall.header[2:] == ["recall 0.5", "recall 0.8", "recall 0.9", "recall 0.95"]
    assert at_recall.rows[0] == ["m", "score", "0.9000", "0.5000", "–", "–"]
    assert abstention.rows == [
        ["m", "highest score", "0.5000", "-0.2500", "0.9000 [0.8000, 1.0000]"],
        ["m", "first less second", "–", "–", "0.5000 [0.4000, 0.6000]"],
    ]
    assert "by nDCG@10" in abstention.title
    assert warnings.rows == [["odd"]]


def test_a_page_says_when_not_all_documents_are_scored():
    tables = page(replace(CUTOFF, depth=1000, warnings=()))
    assert "the first 1,000 of 2,000 documents scored" in tables[0].title
    assert len(tables) == 4
    assert json.loads(write(tables[:1], "json"))[1]["PR-AUC"] == "0.6123"


def test_the_title_of_a_figure_is_what_it_shows(monkeypatch):
    from matplotlib.text import Text

    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    made = figure(CUTOFF)
    made.savefig(io.BytesIO(), format="svg")
    said = [item.get_text().replace("\n", " ") for item in made.findobj(Text)]
    assert (
        "m on t: one threshold reaches mean F1 0.62 on scores, 0.67 by rank, 0.74 if each query "
        "had its own; 25% of unanswerable queries get nothing"
    ) in said
    assert {"m", "score", "rank", "recall of all pairs", "precision"} <= set(said)
    assert "matplotlib.pyplot" not in sys.modules
