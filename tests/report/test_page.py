"""The leaderboard page: one file, nothing from outside, all text as text, within its size."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import evaluate
from harness.board import of_entries
from harness.board.standings import Ordering, standings
from harness.errors import HarnessError, InputError
from harness.frames import Column, Frame
from harness.frames.charts import Lines
from harness.records import save
from harness.report import findings, page
from harness.report.findings import About
from harness.report.page.content import _most_apart, pack
from harness.studies import Findings
from tests.report.boards import HOSTILE, entry, small

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def written(tmp_path, board=None, ranked=None, **options):
    """A page and the data in it."""
    board = board or small(tmp_path)
    path = tmp_path / "page.html"
    size = page.write(board, ranked or standings(board), path, **options)
    text = path.read_text("utf-8")
    assert size == path.stat().st_size
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return text, json.loads(data)


def unpacked(text, unit):
    whole = np.frombuffer(base64.b64decode(text), "<i2")
    return [None if v == -32768 else round(float(v * unit), 4) for v in whole]


def test_scores_and_intervals_stand_in_the_order_of_the_standings(tmp_path):
    _, data = written(tmp_path)
    assert [system["name"] for system in data["systems"]] == ["beta", "alpha", "gamma"]
    tasks = {task["name"]: task for task in data["tasks"]}
    assert [task["family"] for task in data["tasks"]] == ["odd", "words", "words"]
    birds = tasks["birds"]
    assert unpacked(birds["scores"], birds["unit"]) == [0.6, 0.9, 0.7]
    assert unpacked(birds["low"], birds["unit"]) == [0.55, 0.85, 0.65]
    assert unpacked(tasks["trees"]["scores"], tasks["trees"]["unit"]) == [0.8, 0.5, None]


def test_the_columns_are_those_of_the_standings(tmp_path):
    _, data = written(tmp_path)
    titles = [column["title"] for column in data["columns"]]
    assert titles[:4] == ["Rank", "Groups", "Mean", "95% interval"]
    assert titles[-2:] == ["odd", "words"]
    rows = {
        system["name"]: dict(zip(titles, system["values"], strict=True))
        for system in data["systems"]
    }
    assert rows["beta"]["Mean"] == pytest.approx((0.6 + 0.8 + 0.35) / 3)
    assert rows["alpha"]["Borda"] == 2 + 1 + 0  # three models less the rank: first, second, third
    assert rows["gamma"]["Rank"] is None
    assert rows["gamma"]["Mean"] is None
    assert rows["gamma"]["words"] is None
    assert rows["gamma"]["odd"] == 0.99


@pytest.mark.parametrize(
    ("scores", "common", "said"),
    [
        ({"a": [0.5, 0.4], "b": [0.6, None]}, False,
         "One that lacks a task has no rank, and stands after those that have them all."),
        ({"a": [0.5, 0.4], "b": [0.6, None]}, True,
         "Ranks are by 1 of 2 tasks: one that lacks any of these has none, and stands after the "
         "others."),
        ({"a": [0.5, None], "b": [0.6, 0.7, None], "c": [0.1, None, 0.2]}, False,
         "Ranks are by 1 of 3 tasks: one that lacks any of these has none, and stands after the "
         "others."),
    ],
)  # fmt: skip
def test_who_has_no_rank_is_said_as_it_is(tmp_path, scores, common, said):
    board = of_entries(
        entry(system, f"t{at}", score)
        for system, row in scores.items()
        for at, score in enumerate(row)
        if score is not None
    )
    ranked = standings(board, Ordering(common=common))
    text, data = written(tmp_path, board, ranked=ranked)
    assert data["ranked"] == said
    assert "has no rank" not in text.replace(said, "")
    lacking = {row.system for row in ranked.rows if row.rank is None}
    assert lacking == (set() if "by" in said else {"b"})


def test_one_family_needs_no_means_of_families(tmp_path):
    _, data = written(tmp_path, of_entries([entry("a", "t", 0.5), entry("b", "t", 0.4)]))
    assert "Mean of families" not in [column["title"] for column in data["columns"]]


def test_only_costs_that_are_known_are_offered(tmp_path):
    _, data = written(tmp_path)
    assert [cost["title"] for cost in data["costs"]] == ["Dimension", "Parameters"]
    assert [system["costs"] for system in data["systems"]] == [[384, 2e8], [5, None], [5, None]]


def test_text_from_the_data_is_never_markup(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "TITLE", "<i>$style")
    text, data = written(tmp_path)
    assert HOSTILE in [task["name"] for task in data["tasks"]]
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "<img" not in text
    assert "<h1>&lt;i&gt;$style</h1>" in text
    assert "not used: bad.json: not a record <b>" in data["notes"]


@given(st.text())
def test_any_title_and_any_name_can_be_shown(name):
    text = page.render(name, {"name": name}).decode("utf-8")
    assert text.count("<script") == 2
    (data,) = re.findall(r'id="data">(.*?)</script>', text, re.S)
    assert json.loads(data) == {"name": name.encode("utf-8", "replace").decode()}


def test_nothing_comes_from_outside_and_only_this_script_runs(tmp_path):
    text, _ = written(tmp_path)
    assert re.findall(r'(?:src|href)="(?!#|data:,)[^"]*"', text) == []
    assert "@import" not in text
    assert "url(" not in text
    (policy,) = re.findall(r'content="(default-src[^"]*)"', text)
    script = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "document.write",
        "fetch(",
    ):
        assert word not in script


def test_every_id_that_the_script_names_is_in_the_page(tmp_path):
    text, _ = written(tmp_path)
    script = text[text.rindex("<script>") :]
    named = set(re.findall(r'\$\("([\w-]+)"\)', script))
    assert len(named) > 20
    assert named <= set(re.findall(r' id="([\w-]+)"', text))


def test_queries_have_their_values_and_the_texts_that_are_shown(tmp_path):
    texts = {f"q{i}": f"{i} <script>" + "x" * 400 for i in range(12)}
    _, data = written(tmp_path, texts=lambda task: texts if task == "birds" else {})
    (queries,) = data["queries"]
    assert data["tasks"][queries["task"]]["name"] == "birds"
    assert queries["ids"] == [f"q{i}" for i in range(12)]
    values = {s: unpacked(text, queries["unit"]) for s, text in queries["values"]}
    assert values[1][:3] == [1.0, 0.9167, 0.8333]  # alpha; beta is the first of the standings
    assert values[0] == [0.0] * 11 + [1.0]
    # alpha beats beta on eleven, of which ten are shown; beta beats alpha on the last
    assert sorted(map(int, queries["texts"])) == [*range(10), 11]
    assert queries["texts"]["0"] == texts["q0"][:300]


def test_equal_queries_and_missing_ones_are_not_apart():
    assert _most_apart({"0": [0.5, None, 0.3], "1": [0.5, 0.9, 0.2]}) == [2]


def test_a_record_is_shown_with_all_that_it_says(tmp_path):
    done = evaluate("hashing,dim=16", "limit,docs=20,queries=4,k=2,attributes=5")
    saved = save(done.record, done.per_query, tmp_path / "records")
    from harness.board import load

    _, data = written(tmp_path, load([saved]))
    (record,) = data["records"]
    assert record["path"] == saved.relative_to(tmp_path).as_posix()
    parts = {part["title"]: part for part in record["tables"]}
    assert ["system", "hashing,dim=16"] in parts["Evaluation"]["rows"]
    assert data["queries"] == []  # of one model alone, nothing can be compared


def test_what_has_no_room_is_left_out_and_said(tmp_path, monkeypatch):
    _, whole = written(tmp_path)
    least = len(page.render("Leaderboard", {**whole, "queries": [], "records": []}))
    monkeypatch.setattr(page, "LIMIT", least + 520)
    text, data = written(tmp_path)
    assert len(text.encode()) <= least + 520
    assert data["queries"] == []
    assert "no room for all single queries: those of 0 tasks are here" in data["notes"]
    monkeypatch.setattr(page, "LIMIT", least - 1)
    with pytest.raises(
        InputError, match=r"3 systems, 3 tasks, 0 figures make .* at most 3 MB; choose fewer"
    ):
        written(tmp_path)


def test_a_figure_is_an_image_whose_scripts_cannot_run(tmp_path):
    figure = tmp_path / "capacity-minilm" / "figure.svg"
    figure.parent.mkdir()
    figure.write_text(SVG)
    _, data = written(tmp_path, figures=[figure])
    (shown,) = data["figures"]
    assert shown == {"title": "capacity-minilm", "svg": base64.b64encode(SVG.encode()).decode()}


def test_a_study_is_shown_under_what_it_found(tmp_path):
    folder = tmp_path / "capacity-minilm"
    chart = Frame("Points", [Column("x", "number"), Column("y", "number")], [(1, 2)], name="p")
    found = Findings("x < y & y", [chart], [Lines(chart, "x", "y")])
    findings.save(folder, found, About("capacity", ("minilm",), "t", 0, "2026-01-01T00:00:00Z", {}))
    _, data = written(tmp_path, figures=[folder])
    assert [shown["title"] for shown in data["figures"]] == ["x < y & y"]


def test_bad_figures_are_refused(tmp_path):
    for name, text, message in (
        ("a.svg", "plain", "not an SVG figure: expected a file that holds <svg"),
        ("b.svg", SVG + "x" * 400_000, "bytes: expected at most 400,000"),
        ("none.svg", None, "cannot be read: No such file or directory"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=message):
            written(tmp_path, figures=[tmp_path / name])


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    board = small(tmp_path)
    with pytest.raises(HarnessError, match=r"page\.html: cannot be written: "):
        page.write(board, standings(board), tmp_path / "file" / "page.html")


def test_the_same_board_gives_the_same_page(tmp_path):
    assert written(tmp_path)[0] == written(tmp_path)[0]


@given(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_packed_scores_keep_four_decimals_or_five_digits(values):
    unit, packed = pack({"scores": values})
    whole = np.frombuffer(base64.b64decode(packed["scores"]), "<i2")
    for given_, kept in zip(values, whole, strict=True):
        assert (given_ is None) == (kept == -32768)
        assert given_ is None or abs(kept * unit - given_) <= unit * 0.5001
    most = max((abs(value) for value in values if value is not None), default=0)
    assert unit == 1e-4 or most / unit > 3276  # ten times finer would not fit


def test_a_large_board_fits(tmp_path):
    random = np.random.default_rng(0)
    names = [f"organisation/model-{i:03}" for i in range(120)]
    board = of_entries(
        entry(name, f"Task{t:03}", float(random.random()), low=None, high=None)
        for name in names
        for t in range(40)
    )
    text, _ = written(tmp_path, board)
    # int16 in base64: 2 2/3 bytes a score; 320 for a model, 150 for a task, the rest stays
    assert len(text) < 48_000 + 120 * 40 * 8 / 3 + 120 * 320 + 40 * 150
