"""A study of geometry: reference values of minilm, what is drawn, sentence pairs, cut vectors."""

from __future__ import annotations

import json

import pytest

from harness.disk import cache_root
from harness.errors import InputError
from harness.frames import Frame
from harness.session import Session
from harness.store import Store
from harness.studies.geometry import Geometry
from harness.studies.truncation import Cut, headline, score_frame
from tests.fakes import beir
from tests.shared import shared

TASK = "limit,docs=60,queries=30,k=2,attributes=5"


def study(model, task, *, seed=0, **options):
    options = {"cuts": (), **options}
    return Geometry(**options).run(Session(Store(cache_root()), seed), [model], task)


def sets(found):
    """Rows by set, the reference among them."""
    return {row["set"]: row for row in found["sets"].records()}


def between(found):
    """What lies between two sets, and what to hold it against."""
    value, reference = found["across"].records()
    return value, reference


def test_minilm_on_limit_small_meets_the_reference_values(packaged):
    found = study("minilm", f"folder:{shared('limit-small')}")
    spaces, (value, _) = sets(found), between(found)
    assert list(spaces) == ["documents", "queries", "both", "reference"]
    assert spaces["both"]["uniformity, t=2"] == pytest.approx(-2.3895, abs=1e-4)
    assert value["alignment, a=2"] == pytest.approx(1.5614, abs=1e-4)
    assert value["positive pairs"] == 2000
    assert spaces["reference"]["uniformity, t=2"] == pytest.approx(-3.97917, abs=6e-6)
    assert found["sets"]["vectors"] == (46, 1000, 1046, None)


def test_a_study_of_retrieval():
    found = study("hashing,dim=32", TASK)
    spaces, (value, reference) = sets(found), between(found)
    assert found["sets"].title == f"Vectors of hashing,dim=32 on {TASK}, scaled to length 1"
    assert spaces["reference"]["effective rank"] == 32
    assert found["sets"]["vectors"] == (60, 30, 90, None)
    documents = spaces["documents"]
    assert documents["norm, mean"] > 2  # of raw vectors: counts of words
    assert (documents["hub neighbours"], documents["neighbours"]) == (10, 20)
    variance = found["variance"].where("set", "documents")
    assert sum(variance["variance"]) == pytest.approx(1)
    assert variance["share of the variance"][-1] == pytest.approx(1)
    assert spaces["reference"]["components for 90%"] == 29
    assert spaces["reference"]["first component"] == 1 / 32
    assert value["positive pairs"] == 60
    assert value["alignment, a=2"] < reference["alignment, a=2"]  # hashing finds words
    assert (value["found, k"], reference["found, none"]) == (10, 0)
    assert found.notes == ()


def test_a_sample_is_said_and_repeats_for_a_seed():
    first, again, other = (
        study("hashing,dim=32", TASK, sample=20, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert (
        sets(first)["documents"]["uniformity, t=2"] != (sets(other)["documents"]["uniformity, t=2"])
    )
    looked_at = zip(first["sets"]["vectors"], first["sets"]["of"], strict=True)
    assert [*looked_at][:3] == [(20, 60), (20, 30), (40, 90)]
    assert between(first)[0]["positive pairs"] == 20
    assert first.notes == (
        "documents: 20 of 60, drawn",
        "queries: 20 of 30, drawn",
        "both: 40 of 90, drawn",
        "alignment, pairs of a query and a relevant document: 20 of 60, drawn",
    )


def test_a_study_of_sentence_pairs(tmp_path):
    pairs = [("a cat sat", "a cat sat", 5), ("a dog ran", "the dog ran", 4), ("red", "blue", 0)]
    lines = [dict(zip(("sentence1", "sentence2", "score"), pair, strict=True)) for pair in pairs]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    found = study("hashing,dim=512", f"pairs:{tmp_path / 'pairs.jsonl'}")
    sentences, value = sets(found)["sentences"], between(found)[0]
    assert len(found["sets"]) == 2
    assert (sentences["vectors"], sentences["duplicates"]) == (6, 1)
    assert (value["positive pairs"], value["found, k"], value["found"]) == (2, None, None)
    assert found["across"].title.endswith("pairs with a gold score of at least 4")
    # equal; and two of three words shared, of length sqrt 3 each: 2 - 2 * 2/3
    assert value["alignment, a=2"] == pytest.approx((0 + 2 / 3) / 2, abs=1e-6)


def test_relevant_documents_that_are_not_there_are_no_positives(tmp_path):
    texts = {name: f"{name} word" for name in "abcd"}
    task = beir(tmp_path / "c", texts, texts, [("a", "gone", 1), ("b", "b", 0)])
    value, _ = between(study("hashing,dim=512", task))
    assert (value["positive pairs"], value["alignment, a=2"]) == (0, None)


@pytest.mark.parametrize(
    ("encoder", "task", "message"),
    [
        ("bm25", TASK, "bm25 makes sparse vectors: expected dense ones"),
        ("hashing,dim=1", TASK, "the geometry of documents: .* distinct: expected at least 4"),
        (
            "hashing,dim=32",
            "limit,docs=9,queries=2,k=1",
            "the geometry of queries: 2 vectors, 2 of them distinct: expected at least 4",
        ),
    ],
)
def test_a_study_says_what_it_cannot_do(encoder, task, message):
    with pytest.raises(InputError, match=message):
        study(encoder, task)


def test_options_that_are_refused():
    with pytest.raises(InputError, match="a sample of 3: expected at least 4"):
        Geometry(sample=3)
    with pytest.raises(InputError, match="33 dimensions: expected 1 to 32, as many as the model"):
        study("hashing,dim=32", TASK, cuts=("pca",), dims=(33,))


def test_cuts_are_part_of_the_study():
    found = study("hashing,dim=32", TASK, cuts=("truncate", "pca"), dims=(8, 32))
    cuts = found["cuts"]
    assert cuts["dimensions kept"] == (8, 32, 8, 32)
    assert cuts.values("cut") == ["first dimensions", "principal components"]
    assert cuts["of the whole"][1] == 1
    main = cuts.columns[2].name
    assert cuts[main] == found["scores"].where("measure", main)["score"]
    assert len(found["scores"].values("measure")) > 1
    assert [chart.x for chart in found.charts] == ["dimensions kept", "components"]
    bounds = zip(cuts["of the whole"], cuts["from"], cuts["to"], strict=True)
    told = [f"{share:.0%} ({low:.0%} to {high:.0%})" for share, low, high in bounds]
    first, components = told[::2]
    assert told[1] == "100% (100% to 100%)"
    assert found.headline == (
        f"hashing,dim=32 on {TASK}: 8 of 32 dimensions keep {first} of {main}; "
        f"8 principal components, {components}"
    )


def test_without_cuts_the_headline_names_what_was_looked_at():
    found = study("hashing,dim=32", TASK)
    assert found.headline == f"hashing,dim=32 on {TASK}"
    assert len(found.charts) == 1


CURVES = {
    "truncate": [Cut(2, {"R@2": 0.1}), Cut(8, {"R@2": 0.3}), Cut(32, {"R@2": 0.4})],
    "pca": [Cut(2, {"R@2": 0.2}), Cut(8, {"R@2": 0.36}), Cut(32, {"R@2": 0.38})],
}


def rows(kept: Frame) -> list[tuple]:
    return [tuple(row[1:]) for row in kept.rows]


def test_what_is_kept_by_hand():
    kept = score_frame(CURVES)
    assert kept.title == "R@2 with fewer dimensions"
    shares = [0.25, 0.75, 1, 0.5, 0.9, 0.95]
    assert kept["of the whole"] == pytest.approx(shares)
    assert kept["R@2"] == (0.1, 0.3, 0.4, 0.2, 0.36, 0.38)
    said = ": 8 of 32 dimensions keep 75% of R@2"
    assert headline(kept, 32) == f"{said}; 8 principal components, 90%"
    assert headline(score_frame({"truncate": CURVES["truncate"]}), 32) == said


def test_a_score_that_is_not_defined_is_not_there():
    gap = {"truncate": [Cut(2, {}), Cut(32, {"dot_spearman": 0.0})], "pca": [Cut(8, {})]}
    assert rows(score_frame(gap)) == [
        (2, None, None, None, None), (32, 0.0, None, None, None), (8, None, None, None, None)
    ]  # fmt: skip
    for curves in (gap, {"pca": CURVES["pca"]}, {"truncate": [Cut(32, {"R@2": 0.0})]}):
        assert headline(score_frame(curves), 32) == ""
    with pytest.raises(InputError, match="no score is defined for any number of dimensions"):
        score_frame({"truncate": [Cut(2, {})]})
