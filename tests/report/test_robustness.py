"""The page and the figure of a study of robustness."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pytest

from harness.report.robustness import figure, page
from harness.report.tables import write
from harness.studies.robustness import Contrast, Effect, Robustness, Spread, System
from harness.studies.subject import Interval


def effect(name: str, change: float, *, clean: float = 0.8, versions: int = 1) -> Effect:
    return Effect(
        perturbation=name,
        versions=versions,
        changed=0.5,
        score=clean + change,
        change=Interval(change, change - 0.01, change + 0.01),
        drop_rate=change / clean,
        between=0.0125,
        spread=Spread(0.04, 0.0625, 0.25),
        worse=0.4,
        better=0.1,
        overlap=0.75,
    )


def system(name: str, *changes: float) -> System:
    names = ("typos 30 %", "upper-case", "copies, not relevant")
    made = [
        effect(name, change, versions=3 if name.startswith("typos") else 1)
        for name, change in zip(names, changes, strict=True)
    ]
    return System(name, Interval(0.8, 0.7, 0.9), Spread(0.03, 0.05, 0.3), tuple(made))


FOUND = Robustness(
    task="some-task",
    measure="nDCG@10",
    documents=1000,
    queries=50,
    draws=3,
    systems=(system("bm25", -0.08, 0.0, -0.4), system("minilm", -0.04, 0.0, -0.4)),
    contrasts=(
        Contrast("typos 30 %", "bm25", "minilm", Interval(-0.04, -0.06, -0.02), 0.0004, 0.0008),
        Contrast("upper-case", "bm25", "minilm", Interval(0.0, 0.0, 0.0), 1.0, 1.0),
    ),
    seed=0,
    warnings=(),
)


def test_a_page_says_what_was_measured():
    drops, bm25, minilm, contrasts = page(FOUND)
    assert drops.title == (
        "Drop rates of nDCG@10 on some-task: 50 queries, 1,000 documents, 3 draws of what is "
        "random in queries"
    )
    assert drops.header == ["perturbation", "bm25", "minilm", "what it is"]
    assert [row[:3] for row in drops.rows] == [
        ["typos 30 %", "-10.0%", "-5.0%"],
        ["upper-case", "+0.0%", "+0.0%"],
        ["copies, not relevant", "-50.0%", "-50.0%"],
    ]
    assert [row[3].split()[0] for row in drops.rows] == ["queries", "queries", "a"]
    assert bm25.title == "bm25: nDCG@10 0.8000 [0.7000, 0.9000] and what is left of it"
    assert bm25.rows[:3] == [
        ["none", "", "0.8000", "", "0.0300", "0.050", "0.300", "", "", ""],
        ["typos 30 %", "50%", "0.7200 ±0.0125", "-0.0800 [-0.0900, -0.0700]", "0.0400", "0.062",
         "0.250", "40%", "10%", "75%"],
        ["upper-case", "50%", "0.8000", "+0.0000 [-0.0100, +0.0100]", "0.0400", "0.062", "0.250",
         "40%", "10%", "75%"],
    ]  # fmt: skip
    assert {len(row) for row in (bm25.header, *bm25.rows)} == {10}
    assert minilm.title.startswith("minilm: ")
    assert [row[:3] for row in contrasts.rows] == [
        ["typos 30 %", "bm25", "minilm"],
        ["upper-case", "bm25", "minilm"],
    ]
    assert [row[3:] for row in contrasts.rows] == [
        ["-0.0400 [-0.0600, -0.0200]", "< 0.001", "< 0.001", "minilm"],
        ["+0.0000 [+0.0000, +0.0000]", "1.000", "1.000", "–"],
    ]


def test_a_page_of_one_system_whose_score_is_nothing():
    none = replace(
        FOUND.systems[0], effects=(replace(FOUND.systems[0].effects[0], drop_rate=None),)
    )
    alone = replace(FOUND, systems=(none,), contrasts=(), warnings=("odd",), measure="AP@1000")
    drops, table, warnings = page(alone)
    assert drops.rows[0][1] == "–"
    assert "VNAP" in table.header
    assert "of value / mean" in page(FOUND)[1].header
    assert warnings.rows == [["odd"]]
    assert figure(alone).get_suptitle() == "some-task: nothing that was tried lowers AP@1000"
    assert write(page(FOUND), "markdown").count("### ") == 4
    assert json.loads(json.dumps(asdict(FOUND), allow_nan=False))["systems"][0]["name"] == "bm25"


@pytest.mark.parametrize(
    ("systems", "title"),
    [
        (FOUND.systems, "typos 30 % costs most of nDCG@10: bm25 −10.0%, minilm −5.0%"),
        (
            tuple(replace(one, effects=one.effects[2:]) for one in FOUND.systems),
            "copies, not relevant costs most of nDCG@10: bm25 −50.0%, minilm −50.0%",
        ),
        (
            tuple(replace(one, effects=one.effects[1:2]) for one in FOUND.systems),
            "nothing that was tried lowers nDCG@10",
        ),
    ],
)
def test_the_title_of_a_figure_is_what_it_shows(systems, title):
    made = figure(replace(FOUND, systems=systems))
    made.savefig(io.BytesIO(), format="svg")
    assert made.get_suptitle().replace("\n", " ") == f"some-task: {title}"
    labels = [item.get_text() for item in made.axes[0].get_yticklabels()]
    assert labels == [effect.perturbation for effect in systems[0].effects]
    names = [item.get_text() for item in made.legends[0].get_texts()]
    assert names == ["bm25, clean 0.800", "minilm, clean 0.800"]
