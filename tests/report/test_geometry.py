"""The page and the figure of a geometry study."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from functools import cache

import pytest

from harness.disk import cache_root
from harness.errors import InputError
from harness.report.geometry import figure, page
from harness.report.tables import write
from harness.store import Store
from harness.studies.geometry import Geometry, study
from harness.studies.truncation import Point

CURVES = {
    "truncate": [Point(2, {"R@2": 0.1}), Point(8, {"R@2": 0.3}), Point(32, {"R@2": 0.4})],
    "pca": [Point(2, {"R@2": 0.2}), Point(8, {"R@2": 0.36}), Point(32, {"R@2": 0.38})],
}


@cache
def real() -> Geometry:
    task = "limit,docs=60,queries=30,k=2,attributes=5"
    return study("hashing,dim=32", task, store=Store(cache_root()))


def test_a_page_holds_every_number_with_its_reference():
    sets, across, cuts = page(real(), CURVES)
    assert sets.header == ["measure", "documents", "queries", "both", "reference", "meaning"]
    rows = {row[0]: row[1:] for row in sets.rows}
    assert len(rows) == len(sets.rows)  # a name each, so that JSON can be read by them
    assert rows["vectors"][:3] == ["60", "30", "90"]
    both = real().spaces[2]
    assert rows["uniformity, t=2"][2:4] == [f"{both.uniformity:.4f}", f"{real().uniform:.4f}"]
    assert rows["IsoScore"][2:4] == [f"{both.isoscore:.4f}", "1"]
    assert rows["components for 90%"][2:4] == [str(both.components["90%"]), "29"]
    assert rows["Levina-Bickel, k=20"][2:4] == [f"{both.levina_bickel.mean:.1f}", "≤ 32"]
    assert rows["hubs, k=10"][2] == f"{both.hubness.skewness:.2f}"
    assert rows["hubs, none"][3] == "0.0%"
    assert [row[0] for row in across.rows] == [
        "alignment, a=2",
        "found, k=10",
        "found, largest",
        "found, none",
    ]
    assert across.rows[0][1:3] == [f"{real().alignment:.4f}", f"{real().by_chance:.4f}"]
    assert "60 pairs of a query and a relevant document" in across.rows[0][3]
    assert cuts.title == "R@2 with fewer dimensions"
    assert cuts.rows == [
        ["2", "0.1000", "25%", "0.2000", "50%"],
        ["8", "0.3000", "75%", "0.3600", "90%"],
        ["32", "0.4000", "100%", "0.3800", "95%"],
    ]


def test_a_page_is_written_in_every_format():
    tables = page(replace(real(), warnings=("odd",)), CURVES)
    sets, *_, warnings = json.loads(write(tables, "json"))
    assert sets[0]["documents"] == "60"
    assert warnings == ["odd"]
    for style in ("markdown", "csv", "latex"):
        assert "R@2, principal components" in write(tables, style)


def test_what_is_not_defined_is_a_dash():
    bare = replace(real(), alignment=None, found=None, unit=False)
    sets, across = page(bare, {})
    assert across.rows[0][1] == "–"
    assert len(across.rows) == 1
    assert next(row for row in sets.rows if row[0] == "uniformity, t=2")[-2] == ""
    gap = {"truncate": [Point(2, {}), Point(32, {"dot_spearman": 0.0})], "pca": [Point(8, {})]}
    assert page(bare, gap)[2].rows == [
        ["2", "–", "–", "–", "–"],
        ["8", "–", "–", "–", "–"],
        ["32", "0.0000", "–", "–", "–"],
    ]


def texts(curves, geometry=None) -> list[str]:
    """All that is written on a figure, which is drawn to see that it can be."""
    from matplotlib.text import Text

    made = figure(geometry or real(), curves)
    made.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in made.findobj(Text)]


def test_the_title_of_a_figure_is_what_it_shows():
    said = texts(CURVES)
    assert (
        "hashing,dim=32 on limit,docs=60,queries=30,k=2,attributes=5: 8 of 32 dimensions keep 75% "
        "of R@2; 8 principal components, 90%"
    ) in said
    assert "whole vectors: 0.400" in said
    assert "dimensions kept of 32" in said
    assert any(text.startswith("documents: ") for text in said)


def test_a_figure_of_one_curve_or_of_a_score_of_nothing():
    name = "hashing,dim=32 on limit,docs=60,queries=30,k=2,attributes=5"
    assert f"{name}: 8 of 32 dimensions keep 75% of R@2" in texts({"truncate": CURVES["truncate"]})
    assert name in texts({"pca": CURVES["pca"]})
    assert name in texts({"truncate": [Point(32, {"R@2": 0.0})]})


def test_curves_without_a_score_are_refused():
    with pytest.raises(InputError, match="no score is defined"):
        figure(real(), {"truncate": [Point(2, {})]})


def test_no_state_of_pyplot_is_touched(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    texts(CURVES)
    assert "matplotlib.pyplot" not in sys.modules
