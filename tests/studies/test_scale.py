"""Nested corpora: what each holds, scores that a search of each would give, crossings, chance."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.chance import any_of, cap
from harness.analysis.crossing import places
from harness.api import evaluate
from harness.disk import cache_root
from harness.errors import InputError
from harness.frames import Frame
from harness.progress import silent
from harness.session import Session
from harness.sources.folder import folder
from harness.stats import Estimate
from harness.store import Store
from harness.studies import Findings
from harness.studies.scale import CROSSINGS, POINTS, Scale, headline
from tests.fakes import beir

MODEL = "hashing,dim=64"
WORDS = [f"w{i}" for i in range(40)]


def store() -> Store:
    return Store(cache_root())


def study(models, task, *, sizes=(), store, seed=0, progress=silent, **options) -> Findings:
    session = Session(store, seed, progress)
    return Scale(tuple(sizes), **options).run(session, models, task)


def curve(found: Findings, at: int) -> list[dict]:
    """The points of a curve, from the smallest corpus on."""
    frame = found["points"]
    return frame.where("curve", frame.values("curve")[at]).records()


def sizes_of(found: Findings) -> tuple[int, ...]:
    return tuple(found["points"].values("documents"))


def scores(found: Findings, at: int) -> list[float]:
    return [point["score"].mean for point in curve(found, at)]


def text(i: int) -> str:
    """Five words, a function of i."""
    return " ".join(WORDS[(i * step + step) % 40] for step in (1, 3, 7, 11, 13))


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> str:
    """120 documents, of which 12 are judged, by 12 queries of two of their words; one judgment of
    a document that is not there.
    """
    documents = {f"d{i:03}": text(i) for i in range(120)}
    queries = {f"q{i}": " ".join(text(9 * i).split()[1:4]) for i in range(12)}
    judged = [(f"q{i}", f"d{9 * i:03}", 1 + i % 2) for i in range(12)] + [("q0", "gone", 1)]
    return beir(tmp_path_factory.mktemp("scale") / "task", documents, queries, judged)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    documents = {"d000": text(0), **{f"x{i}": f"zebra {i}" for i in range(50)}}
    where = tmp_path_factory.mktemp("scale") / "other"
    return beir(where, documents, {"q": "zebra"}, [("q", "x1", 1)])


def test_a_spherical_cap_has_the_checked_shares():
    for c, d, p in [
        (0.3, 32, 4.492e-2),
        (0.3, 128, 2.761e-4),
        (0.3, 256, 4.811e-7),
        (0.3, 768, 9.292e-18),
        (0.5, 32, 1.524e-3),
        (0.5, 128, 8.054e-10),
    ]:
        assert cap(np.array(c), d) == pytest.approx(p, rel=3e-4)
    assert any_of(cap(np.array(0.3), 128), 10**4) == pytest.approx(0.937, abs=5e-4)
    assert any_of(cap(np.array(0.3), 256), 10**6) == pytest.approx(0.382, abs=5e-4)
    assert any_of(cap(np.array(0.5), 128), 10**8) == pytest.approx(0.0774, abs=5e-5)


def test_caps_that_are_known_without_a_formula():
    # on the circle the cap of cosine c is an angle of 2 acos c; on the sphere it is (1 - c) / 2
    c = np.array([-1, -0.5, 0, 0.5, 1])
    assert cap(c, 2) == pytest.approx(np.arccos(c) / math.pi)
    assert cap(c, 3) == pytest.approx((1 - c) / 2)
    assert any_of(np.array([0.0, 0.5, 1.0]), 2).tolist() == pytest.approx([0, 0.75, 1])
    assert any_of(np.array(1.0), 0) == 0
    with pytest.raises(InputError, match="1 dimensions: a spherical cap needs at least 2"):
        cap(c, 1)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(2, 1000), st.floats(-1, 1), st.floats(-1, 1))
def test_a_cap_shrinks_with_the_cosine_and_two_make_the_sphere(d, one, two):
    low, high = sorted((one, two))
    assert cap(np.array(low), d) >= cap(np.array(high), d)
    assert cap(np.array(one), d) + cap(np.array(-one), d) == pytest.approx(1)


def test_curves_cross_where_the_lead_is_gone_on_the_logarithm():
    ahead = np.array([[0.2, 0.1, -0.1], [0.0, 0.0, -0.1], [-0.1, 0.2, 0.2], [0.1, 0.0, 0.3]])
    found = places(ahead, [10, 1000, 100_000])
    # halfway from 10^3 to 10^5; a lead of 0 is still one; behind from the start; never behind
    assert found.tolist() == pytest.approx([10_000, 1000, 10, math.inf])


def test_the_largest_corpus_scores_what_the_pipeline_scores(task):
    found = study([MODEL, "bm25"], task, sizes=[20, 60, 120], store=store())
    assert found["points"].values("curve") == [MODEL, "bm25"]
    for at, model in enumerate([MODEL, "bm25"]):
        main = evaluate(model, task).record.main
        last, score = curve(found, at)[-1], curve(found, at)[-1]["score"]
        assert (last["documents"], score.mean, score.low, score.high) == (
            120, pytest.approx(main.mean, abs=1e-12), main.low, main.high,
        )  # fmt: skip
    assert found["scores"].title == (
        f"nDCG@10 on {task} by documents: 12 judged ones in every corpus, the others of the task "
        "in a random order"
    )
    assert [column.name for column in found["scores"].columns] == ["documents", MODEL, "bm25"]
    assert "bm25, weighted anew for each corpus" in found["crossings"].title


@pytest.mark.parametrize("model", [MODEL, "bm25"])
def test_every_corpus_scores_as_if_it_were_all_there_is(task, model, tmp_path):
    """Against a collection of 60 documents that is written out and evaluated by itself."""
    data = folder(task.removeprefix("folder:"))
    judged = {f"d{9 * i:03}" for i in range(12)}
    rest = [row for row, id in enumerate(data.corpus.ids) if id not in judged]
    first = np.random.default_rng(5).permutation(rest)[: 60 - 12]
    kept = sorted(judged | {data.corpus.ids[row] for row in first})
    documents = {id: data.corpus.texts[data.corpus.row(id)] for id in kept}
    queries = dict(zip(data.queries.ids, data.queries.texts, strict=True))
    judgments = [(f"q{i}", f"d{9 * i:03}", 1 + i % 2) for i in range(12)] + [("q0", "gone", 1)]
    alone = beir(tmp_path / "alone", documents, queries, judgments)
    found = study([model], task, sizes=[30, 60, 100], seed=5, store=store())
    assert scores(found, 0)[1] == evaluate(model, alone).record.main.mean


def test_more_documents_never_help_vectors_that_do_not_depend_on_them(task):
    found = study([MODEL], task, store=store(), dims=(16, 2))
    assert sizes_of(found) == (12, 19, 30, 48, 76, 120)
    assert found["points"].values("curve") == [
        MODEL,
        f"{MODEL}, 16-d",
        f"{MODEL}, 2-d",
        "bm25",
    ]
    assert [curve(found, at)[0]["dimensions"] for at in range(4)] == [64, 16, 2, None]
    for at in range(3):
        falling = scores(found, at)
        assert falling == sorted(falling, reverse=True)
        assert falling[0] > falling[-1]
        wrong = [point["wrong"] for point in curve(found, at)]
        chance = [point["by chance"] for point in curve(found, at)]
        assert wrong == sorted(wrong)
        assert chance == sorted(chance)
        assert 0 < chance[0] < chance[-1] <= 1
    assert curve(found, 3)[0]["by chance"] is None
    assert found["ends"].values("documents") == [12, 120]
    assert len(found["errors"].where("what", "by chance")) == 18


def test_chance_by_hand(tmp_path):
    # two words, of which the query has one: the relevant document is at 45 degrees
    texts = {"a": "red blue", "b": "green", "c": "yellow", "d": "white"}
    where = beir(tmp_path / "chance", texts, {"q": "red"}, [("q", "a", 1)])
    found = study([MODEL], where, sizes=[2, 4], store=store())
    p = float(cap(np.array(0.5**0.5), 64))
    chances = [point["by chance"] for point in curve(found, 0)]
    assert chances == pytest.approx([p, 1 - (1 - p) ** 3])
    assert [point["wrong"] for point in curve(found, 0)] == [0, 0]


def test_random_strings_are_seeded_nested_and_hurt_less(task):
    found = study([MODEL], task, sizes=[60, 200], distractors="random", store=store())
    again = study([MODEL], task, sizes=[60, 100, 200], distractors="random", store=store())
    own = study([MODEL], task, sizes=[60], store=store())
    assert curve(found, 0) == [curve(again, 0)[0], curve(again, 0)[2]]
    assert scores(found, 0)[0] > scores(own, 0)[0]
    assert found["scores"].title.endswith("the others random strings")
    assert found != study(
        [MODEL], task, sizes=[60, 200], distractors="random", seed=1, store=store()
    )


def test_distractors_of_another_task_without_what_is_judged_here(task, other):
    found = study([MODEL, "bm25"], task, distractors=other, store=store())
    assert sizes_of(found)[-1] == 12 + 50
    assert f"1 document of {other} left out: judged ones here" in found.notes
    assert found["scores"].title.endswith(f"the others of {other}")
    assert scores(found, 1)[-1] == pytest.approx(
        scores(found, 1)[0], abs=0.05
    )  # zebras share no word with a query


def test_a_crossing_names_who_leads_and_has_an_interval(task):
    found = study(["hashing,dim=2", MODEL], task, store=store())
    low = found["crossings"].records()[0]
    assert [low[name] for name in ("leads first", "leads then", "documents", "from", "to")] == [
        "bm25", "bm25", *[None] * 3
    ]  # fmt: skip
    assert 0 <= low["resamples cross"] <= 1
    same = study(["bm25", "bm25,k1=1.5"], task, sizes=[20, 120], store=store())
    assert "Where curves and bm25, weighted" in same["crossings"].title
    columns = ("curve", "leads first", "documents", "resamples cross")
    assert same["crossings"].select(*columns).rows == (("bm25,k1=1.5", "", None, 0),)


def test_a_model_that_is_overtaken(tmp_path):
    """Three of eight queries are stop words, which BM25 leaves out; in 24 dimensions words collide,
    and all the more the more there are.
    """
    words = ["these", "their", "into", *(f"key{i}" for i in range(5))]
    documents = {f"j{i}": word for i, word in enumerate(words)}
    documents |= {f"x{i:03}": f"thing{i}" for i in range(192)}
    queries = {f"q{i}": word for i, word in enumerate(words)}
    where = beir(tmp_path / "t", documents, queries, [(f"q{i}", f"j{i}", 1) for i in range(8)])
    found = study(["hashing,dim=24"], where, sizes=[8, 20, 50, 100, 200], store=store())
    hashed, weighed = scores(found, 0), scores(found, 1)
    assert weighed == [5 / 8] * 5
    assert hashed[0] > 5 / 8 > hashed[-1]
    (crossing,) = found["crossings"].records()
    assert [crossing[name] for name in ("curve", "leads first", "leads then")] == [
        "hashing,dim=24",
        "hashing,dim=24",
        "bm25",
    ]
    at, sizes = next(i for i, score in enumerate(hashed) if score < 5 / 8), sizes_of(found)
    assert sizes[at - 1] <= crossing["documents"] < sizes[at]
    assert crossing["resamples cross"] > 0.5
    assert crossing["to"] is None or crossing["to"] > crossing["documents"]
    [mark] = found.charts[0].references
    assert mark.at == crossing["documents"]


def test_a_query_s_own_document_is_left_out_at_every_size(tmp_path):
    texts = {id: f"{word} fruit" for id, word in zip("abcdef", WORDS, strict=False)}
    texts["b"] = texts["a"]
    queries = {"a": texts["a"]}
    spec = beir(tmp_path / "own", texts, queries, [("a", "b", 1)])
    found = study([MODEL], f"{spec},exclude_self=true", sizes=[3, 6], store=store())
    assert scores(found, 0) == [1, 1]


def test_progress_and_dimensions_of_sparse_models(task):
    told: list[str] = []
    study(
        [MODEL],
        task,
        sizes=[20, 120],
        dims=(8,),
        store=store(),
        progress=lambda *w: told.append(w[0]),
    )
    assert {"load data", "search", "cell 1 of 2, bm25: search"} <= set(told)


CROSSED = ("minilm", "minilm", 2154.4, None, 4000.0, "bm25", 0.99)
NEVER = ("minilm, 64-d", "bm25", None, None, None, "bm25", 0.02)


@pytest.mark.parametrize(
    ("crossings", "ending"),
    [
        ((CROSSED, NEVER), "; bm25 leads from about 2,200 on"),
        ((NEVER,), "; bm25 leads at every size"),
        ((), ""),
    ],
)
def test_the_headline_says_what_is_lost_and_who_leads(crossings, ending):
    rows = [
        ("minilm", "minilm", 384, size, Estimate(mean, mean - 0.05, mean + 0.05), 1 - mean, None)
        for size, mean in ((1000, 0.8), (10_000, 0.4))
    ]
    points = Frame("", POINTS, rows, name="points")
    found = Frame("", CROSSINGS, crossings, name="crossings")
    said = f"minilm from 1,000 to 10,000 documents: nDCG@10 0.800 → 0.400{ending}"
    assert headline("nDCG@10", points, found) == said


@pytest.mark.parametrize(
    ("models", "more", "message"),
    [
        (
            [MODEL],
            {"sizes": [11]},
            "a corpus of 11 documents: expected 12, which are judged, to 120",
        ),
        ([MODEL], {"sizes": [121]}, "a corpus of 121 documents: expected 12, which are judged, to"),
        ([MODEL], {"dims": (65,)}, "hashing,dim=64: 65 dimensions: expected 1 to 64"),
        ([MODEL], {"dims": (0,)}, "0 dimensions: expected 1 to 64"),
        ([MODEL], {"distractors": "randon"}, "unknown task 'randon'"),
        (["nothing"], {}, "unknown encoder 'nothing'"),
        (["rrf:bm25+hashing"], {}, "rrf:bm25+hashing: this study looks at the vectors of an enc"),
        (["hashing@int8"], {}, "hashing@int8: this study looks at the vectors of an encoder: name"),
    ],
)
def test_what_is_refused(task, models, more, message):
    with pytest.raises(InputError, match=re.escape(message)):
        study(models, task, store=store(), **more)


def test_tasks_that_have_no_corpus_to_grow(tmp_path):
    everything = beir(
        tmp_path / "a", {"a": "red", "b": "blue"}, {"q": "red"}, [("q", "a", 1), ("q", "b", 0)]
    )
    with pytest.raises(InputError, match="all 2 documents are judged"):
        study([MODEL], everything, store=store())
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("sentence1,sentence2,score\na,b,1\nc,d,2\n")
    with pytest.raises(InputError, match="a task of pairs: expected retrieval"):
        study([MODEL], f"pairs:{pairs}", store=store())
    some = beir(tmp_path / "b", {"a": "red", "b": "blue"}, {"q": "red"}, [("q", "a", 1)])
    with pytest.raises(InputError, match="a task of pairs: it has no documents"):
        study([MODEL], some, distractors=f"pairs:{pairs}", store=store())
