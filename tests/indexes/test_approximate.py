"""Indexes with a structure: what they find, how it is scored, what they refuse and warn of."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.indexes import INDEXES, approximate
from harness.indexes.exact import Exact
from harness.indexes.faiss_library import footprint, load_faiss
from harness.indexes.graph import pad
from harness.indexes.hnsw import presets
from harness.progress import silent
from harness.vectors import Dense, Run

pytest.importorskip("hnswlib")
pytest.importorskip("usearch")

GRAPHS = ["hnsw", "hnswlib", "usearch"]
FULL = [*GRAPHS, "faiss:Flat", "faiss:IVF8_Flat", "faiss:HNSW16", "faiss:IVF8__HNSW4_Flat"]
ROUNDED = [
    "faiss:PQ4x4", "faiss:SQ8", "faiss:IVF8_PQ4x4", "faiss:PCA8_IVF8_SQ8", "faiss:HNSW8_SQ8",
    "faiss:BFlat", "faiss:BIVF8", "faiss:BHNSW8", "usearch,dtype=bf16", "usearch,dtype=i8",
]  # fmt: skip


def made(n: int, d: int = 16, seed: int = 0) -> Dense:
    values = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return Dense(values / np.linalg.norm(values, axis=1, keepdims=True))


def search(spec: str, documents: Dense, queries: Dense, k: int) -> Run:
    return INDEXES.create(spec).open(documents).search(queries, k, silent).run


def same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.docs, other.docs)
    np.testing.assert_array_equal(one.scores, other.scores)


def overlap(one: Run, other: Run) -> float:
    return np.mean(
        [len(set(a) & set(b)) / len(a) for a, b in zip(one.docs, other.docs, strict=True)]
    )


@pytest.mark.parametrize(
    "spec",
    [
        "hnsw,ef_search=500", "hnswlib,ef_search=500", "usearch,ef_search=500", "faiss:Flat",
        "hnsw,ef_search=2000000000", "hnswlib,ef_search=2000000000",
        "usearch,ef_search=2000000000", "faiss:HNSW16,ef_search=2000000000",
        "faiss:IVF8_Flat,nprobe=8", "faiss:HNSW16,ef_search=500", "faiss:BFlat,oversample=50",
        "faiss:IVF8__HNSW4_Flat,nprobe=8,ef_search=8", "faiss:SQ8,oversample=5",
    ],
)  # fmt: skip
def test_what_looks_at_everything_is_exact_search(spec):
    documents, queries = made(500), made(20, seed=1)
    same(
        search(spec, documents, queries, 10),
        Exact().open(documents).search(queries, 10, silent).run,
    )


@pytest.mark.parametrize("spec", ["faiss:Flat,metric=l2", "hnsw,metric=l2,ef_search=300",
                                  "hnswlib,metric=l2,ef_search=300",
                                  "usearch,metric=l2,ef_search=300"])  # fmt: skip
def test_euclidean_distance_ranks_and_scores(spec):
    random = np.random.default_rng(3)
    documents, queries = (random.integers(-9, 9, (n, 8)).astype(np.float32) for n in (300, 7))
    run = search(spec, Dense(documents), Dense(queries), 5)
    squared = ((queries[:, None] - documents[None]) ** 2).sum(axis=2)  # whole numbers: exact
    for row, distances in enumerate(squared):
        order = sorted(range(300), key=lambda doc, far=distances: (far[doc], -doc))[:5]
        assert run.scores[row].tolist() == [-distances[doc] for doc in order]
        assert set(run.docs[row][run.scores[row] > run.scores[row, -1]]) <= set(order)


@pytest.mark.parametrize("spec", ROUNDED)
def test_rounded_vectors_find_most_and_refining_orders_them(spec):
    documents, queries = made(400, seed=4), made(30, seed=5)
    exact = Exact().open(documents).search(queries, 10, silent).run
    found = search(spec, documents, queries, 10)
    assert overlap(found, exact) > 0.15  # chance is 10 / 400
    assert (np.diff(found.scores, axis=1) <= 0).all()
    if spec.startswith("faiss"):
        refined = search(f"{spec},oversample=4", documents, queries, 10)
        assert overlap(refined, exact) >= overlap(found, exact)
        pairs = np.einsum("qd,qkd->qk", queries.values, documents.values[refined.docs])
        np.testing.assert_allclose(refined.scores, pairs, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    spec=st.sampled_from(FULL + ROUNDED),
    n=st.integers(16, 90),
    k=st.integers(1, 100),
    kind=st.sampled_from(["random", "zero", "equal", "pairs"]),
    seed=st.integers(0, 99),
)
def test_results_are_documents_once_each_in_the_one_order(spec, n, k, kind, seed):
    documents, queries = made(n, seed=seed), made(3, seed=seed + 1)
    if kind == "zero":
        documents.values[::2] = 0
        queries.values[0] = 0
    elif kind == "equal":
        documents.values[:] = documents.values[0]
    elif kind == "pairs":
        documents.values[1::2] = documents.values[: n - n % 2 : 2]
    run = search(spec, documents, queries, k)
    assert run.docs.shape == run.scores.shape == (3, k)
    for docs, scores in zip(run.docs, run.scores, strict=True):
        count = int((docs >= 0).sum())
        assert len(set(docs[:count])) == count <= n
        assert (docs[count:] == -1).all()
        assert (scores[count:] == 0).all()
        assert (docs < n).all()
        ranked = sorted(zip(scores[:count], docs[:count], strict=True), reverse=True)
        assert [doc for _, doc in ranked] == docs[:count].tolist()


@pytest.mark.parametrize("spec", FULL)
def test_scores_are_those_of_exact_search(spec):
    documents, queries = made(300), made(9, seed=1)
    documents.values[200:] = documents.values[100:200]
    everything = Exact().open(documents).search(queries, 300, silent).run
    by_doc = np.zeros((9, 300), np.float32)
    np.put_along_axis(by_doc, everything.docs.astype(np.int64), everything.scores, axis=1)
    run = search(spec, documents, queries, 10)
    rows = np.arange(9)[:, None]
    found = run.docs >= 0
    assert (run.scores == by_doc[rows, run.docs])[found].all()
    assert found.mean() > 0.5


@pytest.mark.parametrize("spec", GRAPHS)
def test_one_query_alone_finds_what_it_finds_among_others(spec):
    documents, queries = made(300), made(5, seed=1)
    searcher = INDEXES.create(spec).open(documents)
    together = searcher.search(queries, 7, silent).run
    for row in range(5):
        alone = searcher.search(Dense(queries.values[row : row + 1]), 7, silent).run
        same(alone, Run(together.docs[row : row + 1], together.scores[row : row + 1]))


@pytest.mark.parametrize("spec", [*FULL, *ROUNDED])
def test_a_build_repeats_and_a_search_changes_nothing(spec):
    documents, queries = made(200, seed=6), made(5, seed=7)
    index = INDEXES.create(spec)
    searcher = index.open(documents)
    first = searcher.search(queries, 10, silent).run
    same(first, searcher.search(queries, 10, silent).run)
    same(first, index.open(documents).search(queries, 10, silent).run)


def test_two_searchers_share_a_structure_and_keep_their_parameters():
    documents, queries = made(500), made(20, seed=1)
    for narrow, wide in [("hnsw,ef_search=10", "hnsw,ef_search=500"),
                         ("hnswlib,ef_search=10", "hnswlib,ef_search=500"),
                         ("usearch,ef_search=10", "usearch,ef_search=500"),
                         ("faiss:IVF8_Flat,nprobe=1", "faiss:IVF8_Flat,nprobe=8")]:  # fmt: skip
        first, second = INDEXES.create(narrow), INDEXES.create(wide)
        assert first.build_key() == second.build_key()
        built = first.make(documents, silent)
        before = first.searcher(built, documents)
        after = second.searcher(built, documents)
        few = before.search(queries, 10, silent).run
        every = after.search(queries, 10, silent).run
        same(few, before.search(queries, 10, silent).run)
        same(every, Exact().open(documents).search(queries, 10, silent).run)
        assert (few.docs != every.docs).any(), narrow


def test_what_decides_the_structure_is_told():
    for one, other in [("hnsw", "hnsw,M=8"), ("hnsw", "hnsw,seed=1"), ("hnsw", "hnsw,metric=l2"),
                       ("hnswlib", "hnswlib,ef_construction=9"), ("hnswlib", "hnswlib,seed=1"),
                       ("usearch", "usearch,dtype=i8"), ("faiss:Flat", "faiss:SQ8"),
                       ("faiss:IVF4_Flat", "faiss:IVF4_Flat,seed=1")]:  # fmt: skip
        assert INDEXES.create(one).build_key() != INDEXES.create(other).build_key()
    for same_one in ("hnsw,ef_search=9", "hnsw,like=faiss,M=16,ef_construction=128,ef_search=64"):
        assert INDEXES.create(same_one).build_key() == INDEXES.create("hnsw").build_key()
    versions = [set(INDEXES.create(spec).describe()) for spec in ("hnsw", "hnswlib", "usearch")]
    assert ["faiss" in versions[0], "hnswlib" in versions[1], "usearch" in versions[2]] == [
        True
    ] * 3


def test_distances_are_counted_where_the_library_tells():
    documents, queries = made(400), made(10, seed=1)

    def distances(spec: str) -> int | None:
        searcher = INDEXES.create(spec).open(documents)
        return searcher.search(queries, 5, silent).distances

    assert distances("faiss:Flat") == distances("faiss:BFlat") == 10 * 400
    assert distances("faiss:IVF8_Flat,nprobe=8") == 10 * (400 + 8)
    assert distances("hnswlib") is None
    assert 10 * 16 < distances("hnsw,ef_search=16") < distances("hnsw,ef_search=64") < 10 * 400
    assert 10 * 16 < distances("usearch,ef_search=16") < distances("usearch,ef_search=64")
    searcher = INDEXES.create("hnsw").open(documents)
    once = searcher.search(queries, 5, silent).distances
    assert searcher.search(queries, 5, silent).distances == once


def test_every_preset_has_a_source_and_builds():
    known = presets()
    assert set(known) >= {
        "chroma", "qdrant", "weaviate", "milvus", "elasticsearch", "opensearch", "pgvector",
        "vespa", "marqo", "redis", "faiss", "usearch", "hnswlib",
    }  # fmt: skip
    documents, queries = made(120), made(4, seed=1)
    for name, preset in known.items():
        assert preset.source, name
        index = INDEXES.create(f"hnsw,like={name}")
        assert index.build_key()["M"] == preset.M
        assert index.describe()["source"] == preset.source
        run = index.open(documents).search(queries, 3, silent).run
        assert (run.docs >= 0).all()


@pytest.mark.parametrize(
    ("name", "k", "ef"),
    [
        ("weaviate", 5, 100), ("weaviate", 30, 240), ("weaviate", 100, 500),
        ("elasticsearch", 10, 15), ("elasticsearch", 100_000, 10_000), ("vespa", 10, 10),
        ("qdrant", 10, 100), ("faiss", 10, 16), ("marqo", 10, 2000),
    ],
)  # fmt: skip
def test_candidates_a_preset_keeps(name, k, ef):
    assert presets()[name].ef(k) == ef


def test_what_is_given_overrides_a_preset():
    index = INDEXES.create("hnsw,like=weaviate,M=8,ef_search=20")
    assert (index.parameters.M, index.parameters.ef_construction) == (8, 128)
    assert index.parameters.ef(1000) == 20
    assert str(INDEXES.resolve("hnsw,like=qdrant")) == "hnsw,like=qdrant,metric=ip,seed=12345"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hnsw,like=qdrand", "unknown preset of hnsw 'qdrand'. Did you mean 'qdrant'?"),
        ("hnsw,M=1", "hnsw: M=1: expected at least 2"),
        ("hnsw,like=faiss,ef_search=0", "hnsw,like=faiss: ef_search=0: expected at least 1"),
        ("hnsw,M=40000", "hnsw: M=40000: expected at most 32,768"),
        ("hnswlib,ef_search=2147483648", "hnswlib: ef_search=2147483648: expected at most 2,147,"),
        ("hnsw,ef_construction=0", "hnsw: ef_construction=0: expected at least 1"),
        ("hnsw,seed=-1", "hnsw: seed=-1: expected at least 0"),
        ("hnswlib,M=0", "hnswlib: M=0: expected at least 2"),
        ("usearch,ef_search=-3", "usearch: ef_search=-3: expected at least 1"),
        ("usearch,dtype=f64", "usearch: dtype=f64: expected one of f32, bf16, i8"),
        ("faiss:IVF8_Flat,nprobe=0", "faiss:IVF8_Flat: nprobe=0: expected at least 1"),
        ("faiss:Flat,oversample=-1", "faiss:Flat: oversample=-1: expected at least 0"),
        ("faiss", "index 'faiss' needs a target"),
    ],
)
def test_parameters_out_of_range(spec, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        INDEXES.create(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("faiss:Foo", "faiss:Foo: faiss refuses it for 16-d: could not parse index string Foo"),
        ("faiss:BFoo", "faiss:BFoo: faiss refuses it for 16-d: .* description BFoo did not"),
        ("faiss:PQ7", "faiss:PQ7: faiss refuses it for 16-d: .*multiple of the number of subq"),
        (
            "faiss:IVF999_Flat",
            "faiss:IVF999_Flat learns 999 centroids from 50 documents: expected at",
        ),
        ("faiss:IVF8_PQ8", "faiss:IVF8_PQ8 learns 256 centroids from 50 documents: "),
        ("faiss:Flat,nprobe=2", "faiss:Flat has no nprobe: leave nprobe=2 out"),
        ("faiss:IVF4_Flat,ef_search=9", "faiss:IVF4_Flat has no ef_search: leave ef_search=9 out"),
    ],
)
def test_what_faiss_cannot_build(spec, message):
    with pytest.raises(InputError, match=f"^{message}"):
        INDEXES.create(spec).open(made(50))


def test_a_misspelt_factory_is_refused_before_anything_is_encoded():
    for good in ("faiss:IVF8_PQ7", "faiss:BIVF8", "faiss:OPQ8__16_PQ8", "hnsw"):
        INDEXES.create(good).require("dense")
    for bad in ("faiss:HMSW16", "faiss:BFoo"):
        with pytest.raises(InputError, match="refuses it"):
            INDEXES.create(bad).require("dense")


def test_underscores_stand_for_commas():
    index = INDEXES.create("faiss:OPQ16__64_IVF256__HNSW32_PQ16x4fs")
    assert index.string == "OPQ16_64,IVF256_HNSW32,PQ16x4fs"
    assert INDEXES.create("faiss:IVF4%2CFlat").string == "IVF4,Flat"


@pytest.mark.parametrize("spec", [*GRAPHS, "faiss:IVF4_Flat", "faiss:BFlat"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_document_that_is_no_vector_is_refused_with_its_row(spec, value):
    documents = made(50)
    documents.values[33, 2] = value
    with pytest.raises(InputError, match="document row 33 holds NaN, infinity or a number"):
        INDEXES.create(spec).open(documents)


@pytest.mark.parametrize("spec", GRAPHS)
def test_queries_that_cannot_be_searched_with(spec):
    searcher = INDEXES.create(spec).open(made(50))
    with pytest.raises(InputError, match="queries are 8-d and documents 16-d: expected one width"):
        searcher.search(made(2, 8), 3, silent)
    broken = made(2)
    broken.values[1, 1] = np.nan
    with pytest.raises(InputError, match="a query's vector holds NaN"):
        searcher.search(broken, 3, silent)


def test_more_results_than_candidates_are_warned_of():
    said = "hnsw has ef_search=64, less than the 100 results wanted: it searches with 100"
    assert INDEXES.create("hnsw").notes(100) == (said,)
    assert INDEXES.create("hnsw").notes(64) == ()
    assert INDEXES.create("hnsw,like=weaviate").notes(1000)[0].startswith("hnsw,like=weaviate has")
    assert len(INDEXES.create("hnswlib,ef_search=5").notes(6)) == 1
    assert len(INDEXES.create("usearch,ef_search=5").notes(6)) == 1
    assert len(INDEXES.create("faiss:HNSW8").notes(17)) == 1
    assert len(INDEXES.create("faiss:HNSW8_SQ8,oversample=2").notes(16)) == 1
    assert len(INDEXES.create("faiss:BHNSW8").notes(16)) == 0
    assert INDEXES.create("faiss:IVF64__HNSW8_Flat").notes(100) == ()


@pytest.mark.parametrize("spec", GRAPHS)
def test_as_many_candidates_are_kept_as_results_are_wanted(spec):
    documents, queries = made(300), made(5, seed=1)
    exact = Exact().open(documents).search(queries, 300, silent).run
    same(search(f"{spec},ef_search=1", documents, queries, 300), exact)


def test_few_documents_a_list_and_too_many_probes_are_warned_of(capfd):
    made_of = INDEXES.create("faiss:IVF8_Flat,nprobe=9").open(made(100))
    assert made_of.info.notes == (
        "faiss:IVF8_Flat was trained on 12 documents a list: faiss asks for 39",
        "faiss:IVF8_Flat has 8 lists: nprobe=9 searches all",
    )
    assert INDEXES.create("faiss:IVF8_PQ4x4").open(made(312)).info.notes == ()
    assert capfd.readouterr() == ("", "")


def test_what_memory_will_not_hold_is_refused_with_the_number(monkeypatch):
    monkeypatch.setattr(approximate.memory, "available_memory", lambda: 10_000)
    for spec in ("hnsw", "hnswlib", "usearch", "faiss:Flat"):
        with pytest.raises(InputError, match=r"over 1,000 vectors needs about 0.0 GB of memory an"):
            INDEXES.create(spec).open(made(1000))
    INDEXES.create("faiss:BFlat").open(made(1000))  # 2 bytes a vector


@pytest.mark.parametrize(
    ("string", "least", "most"),
    [("Flat", 0.98, 1), ("SQ8", 0.98, 1), ("IVF8,Flat", 0.98, 1), ("HNSW16", 0.97, 1.01),
     ("PQ4x4", 0.5, 1), ("IVF8,PQ4x4,RFlat", 0.97, 1), ("PCA8,Flat", 0.9, 1)],
)  # fmt: skip
def test_memory_is_predicted_as_it_is_used(string, least, most):
    faiss, documents = load_faiss(), made(2000).values
    index = faiss.index_factory(16, string)
    predicted = footprint(index, 2000)
    index.train(documents)
    index.add(documents)
    assert footprint(index, 2000) == predicted
    assert least <= predicted / len(faiss.serialize_index(index)) <= most


@pytest.mark.parametrize(("spec", "module"), [("usearch", "usearch.index"), ("hnswlib", "hnswlib")])
def test_a_library_that_is_not_installed(spec, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"^{spec} cannot be imported \(.*\[{spec}\]'$"):
        INDEXES.create(spec).require("dense")


def test_rounding_to_whole_numbers_needs_short_vectors():
    with pytest.raises(InputError, match="usearch: dtype=i8 rounds numbers between -1 and 1"):
        INDEXES.create("usearch,dtype=i8").open(Dense(2 * made(50).values))


def test_results_that_a_graph_does_not_reach_are_padding():
    documents = made(400, 4)
    documents.values[:] = 0
    documents.values[200:] = 1  # equal vectors point at each other: hnswlib finds few
    run = search("hnswlib,M=2,ef_construction=2,ef_search=1", documents, made(3, 4), 400)
    found = (run.docs >= 0).sum(axis=1)
    assert (found > 0).all()
    assert all(
        len(set(docs[docs >= 0])) == count for docs, count in zip(run.docs, found, strict=True)
    )


def test_results_that_usearch_does_not_reach_are_padding():
    class Found:
        """Two queries for three documents: two and one are reached."""

        keys = np.array([[4, 1, 0], [2, 0, 0]], np.uint64)
        distances = np.array([[0.25, 0.5, 0], [0.75, 0, 0]], np.float32)
        counts = np.array([2, 1])
        computed_distances = 17

    class Built:
        """A graph that finds this."""

        serialized_length = 1

        def __len__(self):
            return 5

        def search(self, queries, m, threads):
            return Found

    searcher = INDEXES.create("usearch,dtype=bf16").searcher(Built(), made(5))
    found = searcher.search(made(2, seed=1), 3, silent)
    run = found.run
    assert run.docs.tolist() == [[4, 1, -1], [2, -1, -1]]
    assert run.scores.tolist() == [[0.75, 0.5, 0], [0.25, 0, 0]]
    assert found.distances == 17


def test_the_seed_draws_the_levels():
    faiss = load_faiss()
    graphs = [
        faiss.serialize_index(INDEXES.create(spec).make(made(300), silent)).tobytes()
        for spec in ("hnsw", "hnsw,seed=12345", "hnsw,seed=1")
    ]
    assert graphs[0] == graphs[1] != graphs[2]


def test_progress_is_told():
    told: list[tuple[str, int, int, str]] = []

    def progress(*report):
        told.append(report)

    index = INDEXES.create("faiss:IVF4_Flat")
    searcher = index.searcher(index.make(made(200), progress), made(200))
    searcher.search(made(2000, seed=2), 3, progress)
    assert told == [
        ("train", 0, 200, "documents"),
        ("train", 200, 200, "documents"),
        ("build", 200, 200, "documents"),
        ("search", 1024, 2000, "queries"),
        ("search", 2000, 2000, "queries"),
    ]


def test_what_a_library_leaves_beyond_its_results_is_no_number():
    found = pad(np.int64([[7, 0]]), np.float32([[0.5, np.nan]]), 3, np.int64([1]))
    assert [each.tolist() for each in found] == [[[7, -1, -1]], [[0.5, 0, 0]]]
