"""The capacity study: what it finds of a small model, what its pages say, what is refused."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch

from harness.analysis import critical_numbers
from harness.analysis.critical_numbers import Critical, Trials
from harness.analysis.dimension_bounds import TABLE_6, fit
from harness.analysis.free_vectors import PAPER, Trial, _Free
from harness.analysis.moment_curve import PRECISIONS
from harness.analysis.relevance import Relevance
from harness.disk import cache_root
from harness.errors import InputError
from harness.frames import Frame
from harness.frames.charts import draw, image
from harness.session import Session
from harness.store import Store
from harness.studies import STUDIES, Findings, capacity
from harness.studies.capacity import FREE, MEASURED, PUBLISHED, Capacity
from tests.analysis.test_capacity import SHORT, Made

TASK = "limit,docs=9,queries=12,k=2,attributes=3"  # pairs of 6 documents


def study(model: str, task: str, store: Store, **options: object) -> Findings:
    return Capacity(**options).run(Session(store, seed=42), [model], task)


@pytest.fixture
def quick(monkeypatch) -> None:
    """Short trials, one each."""
    monkeypatch.setattr(capacity, "Trials", partial(Trials, attempts=1, protocol=SHORT))


@pytest.mark.usefixtures("quick")
def test_a_study_of_a_model(tmp_path, monkeypatch):
    store = Store(tmp_path)
    found = study("hashing,dim=16", TASK, store, dims=(3, 2))
    (asked,) = found["asked"].records()
    assert (asked["documents"], asked["queries"], asked["relevant"], asked["k"]) == (9, 12, 6, 2)
    model = found["points"].where("vectors", "hashing,dim=16")
    assert model["dimensions"] == (2, 4, 8, 16)
    assert all(0 <= recall <= 1 for recall in model["returned"])
    standing = {row["vectors"]: row for row in found["standing"].records()}
    assert standing["chance"]["returned"] == pytest.approx(2 / 9)
    assert standing["margin bound"]["dimensions"] == 2  # ln 36 / ln 11 = 1.49
    free = found["points"].where("vectors", FREE)
    assert free["dimensions"][:2] == (2, 4)
    assert free["returned"][-1] == 1
    assert all(share < 1 for share in free["returned"][:-1])
    assert list(zip(found["exact"]["precision"], found["exact"]["similarity"], strict=True)) == [
        (precision, name) for name in ("inner product", "cosine") for precision in PRECISIONS
    ]
    assert found["critical"]["dimensions"] == (2, 3)
    assert found["cubics"]["cubic"] == (PUBLISHED,)
    assert found["cubics"].numbers("r²") == [fit(TABLE_6).r2]
    assert found.notes == ()
    assert (tmp_path / "capacity").is_dir()

    monkeypatch.setattr(critical_numbers, "optimise", None)  # nothing is made again
    assert study("hashing,dim=16", TASK, store, dims=(3, 2)) == found


@pytest.mark.usefixtures("quick")
def test_recall_is_that_of_an_evaluation(tmp_path):
    store = Store(tmp_path)
    points = study("hashing,dim=16", TASK, store, dims=())["points"]
    whole = Session(store).evaluate("hashing,dim=16", TASK, measures=["R@2"]).record.main.mean
    assert points.where("vectors", "hashing,dim=16")["returned"][-1] == pytest.approx(whole)
    own = f"{TASK},exclude_self=true"  # no document of LIMIT is a query: nothing changes
    again = study("hashing,dim=16", own, store, dims=())["points"]
    assert again.rows == points.rows


@pytest.mark.usefixtures("quick")
def test_a_study_takes_recall_at_its_k_and_fits_where_it_can(tmp_path, monkeypatch):
    monkeypatch.setattr(critical_numbers, "optimise", Made({42: 10}))
    asked = []

    def recalls(session, model, task, queries):
        asked.append((model, task.name, [str(measure) for measure in task.measures]))
        return {2: 0.25, 3: 0.5}, ["odd"]

    monkeypatch.setattr(capacity, "_recalls", recalls)
    found = study("model", TASK, Store(tmp_path), k=3, dims=tuple(range(2, 10)))
    assert asked == [("model", TASK, ["Rprec"])]
    assert found["points"].where("vectors", "model").rows == (("model", 2, 0.25), ("model", 3, 0.5))
    assert found["critical"]["all returned"] == (10,) * 8
    (cubic,) = found["cubics"].records()  # the published numbers are of pairs
    assert cubic["cubic"] == MEASURED
    assert sum(cubic[f"c{i}"] * 20**i for i in range(4)) == pytest.approx(10, abs=1e-6)
    assert found["points"].where("vectors", FREE)["dimensions"] == (2,)
    assert found["curves"].values("curve") == [MEASURED]
    assert "every 3" in found["critical"].title
    assert found.notes == ("odd",)


@pytest.mark.usefixtures("quick")
def test_model_and_free_vectors_are_counted_alike_by_each_querys_own_number(tmp_path):
    """R@2 of three relevant documents could not be 100%."""
    texts = {"d0": "red", "d1": "blue", "d2": "green", "d3": "red blue"}
    for name, rows in (("corpus", texts), ("queries", {"q0": "red", "q1": "blue", "q2": "green"})):
        lines = [json.dumps({"_id": id, "text": text}) for id, text in rows.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "qrels").mkdir()
    judged = "q0 d0 1,q0 d3 1,q1 d0 1,q1 d1 1,q1 d3 1,q2 d0 0".replace(" ", "\t").split(",")
    (tmp_path / "qrels/test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    found = study("hashing", f"folder:{tmp_path}", Store(tmp_path / "store"), dims=())
    standing = {row["vectors"]: row["returned"] for row in found["standing"].records()}
    # q0: d0, d3; q1: d1, d3, d2 (a tie with d0); q2 asks for nothing
    assert standing["hashing"] == pytest.approx((1 + 2 / 3) / 2)
    assert standing[FREE] == 1
    assert standing["chance"] == pytest.approx((2 / 4 + 3 / 4) / 2)
    assert found["asked"]["of a query"] == ("2 to 3",)


def test_free_vectors_count_queries_alike():
    given = Relevance("uneven", np.array([0, 1, 1, 1]), np.array([1, 0, 2, 3]))
    free = _Free.draw(given, 2, 42, torch.device("cpu"))
    cosines = torch.tensor([0.9, 0.8, 0.1, 0.7])
    free.documents.copy_(torch.stack([cosines, (1 - cosines**2).sqrt()], 1))
    free.queries.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    # of q0 d0 instead of d1; of q1 d0, d1, d3 instead of d0, d2, d3: 0 and 2/3, not 2 of 4 pairs
    assert free.accuracy() == pytest.approx(1 / 3)


def test_a_study_refuses_pairs_and_a_k_that_is_too_large(tmp_path):
    rows = [{"sentence1": "a", "sentence2": "b", "score": s} for s in (1, 2)]
    (tmp_path / "sts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    store = Store(tmp_path)
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study("hashing", f"pairs:{tmp_path}/sts.jsonl", store)
    with pytest.raises(InputError, match="k=10 of n=9 documents"):
        study("hashing", TASK, store, k=10)
    with pytest.raises(InputError, match="bm25 makes sparse vectors: expected dense ones"):
        study("bm25", TASK, store)
    with pytest.raises(InputError, match="gamma=2: expected a margin above 0, at most 1"):
        study("hashing", TASK, store, gamma=2.0)


@pytest.mark.parametrize("options", ["k=0", "dims=0+4", "dims=-1"])
def test_numbers_below_one_are_refused(options):
    with pytest.raises(InputError, match="expected 1 or more"):
        STUDIES.create(f"capacity,{options}")


def trial(dim: int, documents: int, accuracy: float, margin: float) -> Trial:
    return Trial(
        relevance="", queries=1000, documents=documents, dim=dim, seed=42, protocol=PAPER,
        accuracy=accuracy, margin=margin, loss=0.9, iterations=100, seconds=1.5, device="cpu",
        torch="0",
    )  # fmt: skip


CRITICAL = {
    4: Critical(4, 2, 9, 10, (trial(4, 9, 1.0, 0.0052), trial(4, 10, 0.98, -0.1))),
    50: Critical(50, 2, 1024, None, (trial(50, 1024, 1.0, 0.02),)),
}


@pytest.fixture
def published(monkeypatch):
    """A study of limit-small whose numbers are given: a model's recalls, and free vectors."""

    def made(recalls: dict[int, float], free: list[Trial], **options: object) -> Findings:
        monkeypatch.setattr(capacity, "_recalls", lambda *_: (recalls, []))
        monkeypatch.setattr(capacity, "optimise_ascending", lambda *_: free)
        monkeypatch.setattr(capacity, "critical_n", lambda dim, *_: CRITICAL[dim])
        return study("minilm", "limit-small", Store(cache_root()), **{"dims": (50, 4), **options})

    return made


MODEL = {2: 0.0425, 4: 0.0505, 384: 0.155}
ENOUGH = [trial(4, 46, 0.357, -0.1), trial(12, 46, 1.0, 0.0032)]


def test_the_frames_in_numbers(published):
    found = published(MODEL, ENOUGH)
    standing = found["standing"]
    assert standing.title == "minilm on limit-small: 1,000 queries, 46 relevant documents"
    assert standing.rows == (
        ("minilm", 384, 0.155, None),
        (FREE, 12, 1.0, 0.0032),
        ("exact vectors, float64", 4, 1.0, None),
        ("margin bound", 3, None, 0.1),
        ("chance", None, 2 / 46, None),
    )
    assert found["dimensions"].table().rows == [
        ["2", "4.25%", "–"],
        ["4", "5.05%", "35.70%"],
        ["12", "–", "100.00%"],
        ["384", "15.50%", "–"],
    ]
    precise = found["exact"].records()
    assert [precise[0][name] for name in ("precision", "similarity", "dimensions", "returned")] == [
        "float64", "inner product", 4, 1.0
    ]  # fmt: skip
    assert precise[0]["least gap"] == pytest.approx(3.9e-06, rel=0.03)
    assert (precise[6]["precision"], precise[6]["returned"]) == ("float16", 0.8535)
    assert found["critical"].rows == (
        (4, 9, 10, 0.0052, 10, 3.0),
        (50, 1024, None, 0.02, None, 1.5),
    )
    (cubic,) = found["cubics"].records()
    assert [round(cubic[f"{dim} dimensions"] or 0) for dim in (384, 512)] == [217_335, 509_026]
    assert cubic["r²"] == pytest.approx(0.998576, abs=5e-7)
    assert found["trials"]["dim"] == (4, 4, 50, 4, 12)
    assert found["trials"]["accuracy"] == (1.0, 0.98, 1.0, 0.357, 1.0)


def test_a_cubic_that_turns_down_says_nothing_there():
    def cubics(numbers: dict[int, int], k: int) -> Frame:
        critical = [Critical(dim, k, n, None, ()) for dim, n in numbers.items()]
        (made,) = capacity._cubics(critical, k, 384)
        return made

    ours = cubics({d: d**3 for d in range(4, 12)}, 2)
    assert ours["cubic"] == (PUBLISHED, MEASURED)
    assert round(ours.numbers("384 dimensions")[1]) == 56_623_104  # 384 cubed
    down = cubics({d: 9 * d - d**2 for d in range(2, 10)}, 3)
    assert down["cubic"] == (MEASURED,)
    assert {down[f"{dim:,} dimensions"] for dim in (384, 512, 768, 1024, 3072, 4096)} == {(None,)}
    assert capacity._cubics([], 3, 384) == []


def test_the_headline_says_the_finding(published):
    assert published(MODEL, ENOUGH).headline == (
        "minilm returns 15.5% of what limit-small asks for with 384 dimensions; "
        "free vectors return 100% with 12"
    )
    partly = published(MODEL, ENOUGH[:1]).headline
    assert partly.endswith("free vectors return 35.7% with 4")


def test_the_figure_names_its_source_and_what_to_hold_it_against(published):
    found = published(MODEL, ENOUGH)
    recall, documents = found.charts
    assert [one.label for one in recall.references] == ["chance 4.3%"]
    assert [one.label for one in documents.references] == ["46 relevant in limit-small"]
    cubic = found["curves"].where("curve", "its cubic, extrapolated")
    assert (cubic["dimensions"][0], cubic["dimensions"][-1]) == (45, 384)
    assert float(f"{cubic.numbers('documents')[-1]:.2g}") == 220_000
    assert found["curves"].where("curve", PUBLISHED)["dimensions"] == tuple(TABLE_6)


@pytest.mark.parametrize(
    ("model", "free", "options", "panels"),
    [
        (MODEL, ENOUGH, {"k": 3, "dims": ()}, 1),
        (MODEL, ENOUGH, {"dims": ()}, 2),
        ({2: 0.9, 8: 1.0}, ENOUGH, {"dims": ()}, 2),  # smaller than what is published
        ({2: 0.1, 4096: 1.0}, ENOUGH, {}, 2),
        (MODEL, [trial(256, 46, 0.9, 0.0)], {}, 2),
    ],
)
def test_the_figure_is_drawn(published, model, free, options, panels):
    found = published(model, free, **options)
    assert len(found.charts) == panels
    assert image(draw(found.charts, found.headline), "png").startswith(b"\x89PNG")
