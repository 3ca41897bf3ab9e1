"""The page and the figure of a study of corpus sizes."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace

import pytest

from harness.report.scale import figure, page
from harness.report.tables import write
from harness.studies.scale import Crossing, Curve, Point, Scale


def curve(model: str, dim: int | None, scores: list[float], chance: float | None) -> Curve:
    points = tuple(
        Point(size, score, score - 0.05, score + 0.05, 1 - score, chance and chance * size / 1000)
        for size, score in zip((1000, 10_000), scores, strict=True)
    )
    return Curve(model, dim, None if chance is None else dim or 384, points)


SCALE = Scale(
    task="some-task",
    measure="nDCG@10",
    distractors="corpus",
    baseline="bm25",
    queries=50,
    judged=60,
    sizes=(1000, 10_000),
    curves=(
        curve("minilm", None, [0.8, 0.4], 1e-6),
        curve("minilm", 64, [0.5, 0.3], 0.01),
        curve("bm25", None, [0.7, 0.6], None),
    ),
    crossings=(
        Crossing("minilm", "minilm", "bm25", 2154.4, None, 4000.0, 0.99),
        Crossing("minilm, 64-d", "bm25", "bm25", None, None, None, 0.02),
    ),
    seed=0,
    warnings=(),
)


def test_a_page_says_what_was_measured():
    scores, crossings, errors = page(SCALE)
    assert scores.title == (
        "nDCG@10 on some-task by documents: 60 judged ones in every corpus, the others of the task "
        "in a random order"
    )
    assert scores.header == ["documents", "minilm", "minilm, 64-d", "bm25"]
    assert scores.rows[1] == [
        "10,000",
        "0.4000 [0.3500, 0.4500]",
        "0.3000 [0.2500, 0.3500]",
        "0.6000 [0.5500, 0.6500]",
    ]
    assert "bm25, weighted anew for each corpus" in crossings.title
    assert crossings.rows == [
        ["minilm", "minilm", "2,154", "below 1,000 to 4,000", "bm25", "99%"],
        ["minilm, 64-d", "bm25", "none", "", "bm25", "2%"],
    ]
    assert errors.header[2:4] == ["measured, 1,000", "by chance, 1,000"]
    assert errors.rows == [
        ["minilm", "384", "20.0%", "1e-04 %", "60.0%", "1e-03 %"],
        ["minilm, 64-d", "64", "50.0%", "1.0%", "70.0%", "10.0%"],
        ["bm25", "–", "30.0%", "–", "40.0%", "–"],
    ]


def test_a_page_of_equal_curves_and_other_distractors():
    equal = replace(
        SCALE,
        distractors="random",
        crossings=(Crossing("minilm", "", "", None, None, None, 0.0),),
        warnings=("odd",),
    )
    scores, crossings, _, warnings = page(equal)
    assert scores.title.endswith("the others random strings")
    assert crossings.rows == [["minilm", "equal", "none", "", "equal", "0%"]]
    assert warnings.rows == [["odd"]]
    assert page(replace(SCALE, distractors="scifact"))[0].title.endswith("the others of scifact")
    high = replace(SCALE.crossings[0], low=1200.0, high=None)
    assert page(replace(SCALE, crossings=(high,)))[1].rows[0][3] == "1,200 to above 10,000"
    assert write(page(SCALE), "markdown").count("### ") == 3
    assert json.loads(json.dumps(asdict(SCALE), allow_nan=False))["curves"][0]["model"] == "minilm"


def texts(scale: Scale) -> list[str]:
    from matplotlib.text import Text

    made = figure(scale)
    made.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in made.findobj(Text)]


@pytest.mark.parametrize(
    ("crossings", "ending"),
    [
        (SCALE.crossings, "; bm25 leads from about 2,200 on"),
        (SCALE.crossings[1:], "; bm25 leads at every size"),
        ((), ""),
    ],
)
def test_the_title_of_a_figure_is_what_it_shows(crossings, ending):
    said = texts(replace(SCALE, crossings=crossings))
    assert f"minilm from 1,000 to 10,000 documents: nDCG@10 0.800 → 0.400{ending}" in said
    assert ("2,154" in said) == (crossings == SCALE.crossings)


def test_curves_are_named_where_they_end():
    said = texts(SCALE)
    for text in ("minilm: 0.400", "minilm, 64-d: 0.300", "bm25: 0.600", "64-d by chance: 10.0%"):
        assert text in said
    assert "documents: 60 judged, the others of the task in a random order" in said


def test_a_figure_of_the_baseline_alone():
    alone = replace(SCALE, curves=SCALE.curves[2:], crossings=())
    assert "bm25: 0.600" in texts(alone)
    assert "bm25: 40%" in texts(alone)


def test_names_of_equal_ends_stand_apart():
    same = replace(SCALE, curves=(SCALE.curves[0], replace(SCALE.curves[0], model="other")))
    axes = figure(same).axes[0]
    heights = sorted(item.xyann[1] for item in axes.texts if ": 0.4" in item.get_text())
    assert heights[1] - heights[0] > 0.03
