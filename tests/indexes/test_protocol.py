"""What holds of every index: it is a value, it says what it accepts, and old names still work."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, is_dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness.errors import InputError, RenamedWarning
from harness.indexes import INDEXES, Index, IndexInfo
from harness.indexes.faiss_library import PRODUCTS, load_faiss, matrix_products, single_thread
from harness.indexes.saved import FileIndex
from harness.progress import silent
from harness.vectors import Dense, Embeddings, MultiVector, Sparse, of_kind, ranking

pytest.importorskip("hnswlib")
pytest.importorskip("usearch")
pytest.importorskip("seismic")

SPECS = [
    "exact", "exact,block=7", "hnsw", "hnsw,like=qdrant,M=8", "hnswlib,metric=l2", "usearch",
    "usearch,dtype=bf16", "faiss:IVF4_Flat,nprobe=2", "faiss:SQ8,oversample=2", "faiss:BFlat",
    "truncate,dim=8,oversample=3", "pca,dim=8", "int8", "binary,kept=int8", "seismic",
    "seismic,exact_scores=false", "muvera,repetitions=2,bits=2,projection_dim=4",
    "muvera:hnsw,bits=2,final_dim=16,rerank_depth=0", "pooled,factor=3", "gpu,devices=cpu",
    "gpu:IVF4_Flat,fallback=cpu",
]  # fmt: skip


def made(kind: str, n: int, seed: int = 0) -> Embeddings:
    random = np.random.default_rng(seed)
    if kind == "multi-vector":
        offsets = np.concatenate([[0], np.cumsum(random.integers(1, 6, n))])
        return MultiVector(random.standard_normal((offsets[-1], 16)).astype(np.float32), offsets)
    values = random.standard_normal((n, 16)).astype(np.float32)
    if kind == "sparse":
        return Sparse(csr_matrix(np.maximum(values, 0)))
    return Dense(values / np.linalg.norm(values, axis=1, keepdims=True))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def test_every_registered_index_is_looked_at():
    assert {spec.partition(",")[0].partition(":")[0] for spec in SPECS} == set(INDEXES.names())


@pytest.mark.parametrize("spec", SPECS)
def test_a_pickled_index_searches_the_same_bits(spec):
    index = INDEXES.create(spec)
    copied = pickle.loads(pickle.dumps(index))
    assert copied == index
    assert is_dataclass(index)
    with pytest.raises(FrozenInstanceError):
        index.anything = 1
    for kind in index.accepts:
        documents, queries = made(kind, 200), made(kind, 9, seed=1)
        first, second = index.open(documents), copied.open(documents)
        assert first.info == second.info
        one, other = (each.search(queries, 12, silent) for each in (first, second))
        np.testing.assert_array_equal(one.run.docs, other.run.docs)
        np.testing.assert_array_equal(one.run.scores, other.run.scores)
        assert one.distances == other.distances


@pytest.mark.parametrize("spec", SPECS)
def test_a_searcher_tells_its_size_and_whether_it_is_exact_and_kept(spec, tmp_path):
    index = INDEXES.create(spec)
    for kind in index.accepts:
        documents = made(kind, 200)
        info = index.open(documents, tmp_path).info
        assert isinstance(info, IndexInfo)
        assert info.bytes is not None
        assert 0 < info.bytes < 100 * documents.bytes
        assert info.exact is index.exact
        kept = isinstance(index, FileIndex) or "hnsw" in spec
        assert info.reused is (False if kept else None)
        assert index.open(documents, tmp_path).info.reused is (True if kept else None)
        assert index.open(documents).info.reused is None
    assert bool(list(tmp_path.iterdir())) is kept


@pytest.mark.parametrize("spec", SPECS)
def test_vectors_of_another_representation_are_refused(spec):
    index = INDEXES.create(spec)
    for kind in {"dense", "sparse", "multi-vector"} - set(index.accepts):
        with pytest.raises(InputError, match=f"got {kind} vectors where only"):
            index.open(made(kind, 20))


def merged(index: Index, documents: Embeddings, queries: Embeddings, k: int) -> np.ndarray:
    """Keys [q, k] of two searches, over the first and over the last documents."""
    half, keys = len(documents) // 3, []
    for low, high in ((0, half), (half, len(documents))):
        match documents:
            case Dense(values):
                part: Embeddings = Dense(values[low:high])
            case Sparse(matrix):
                part = Sparse(matrix[low:high])
            case MultiVector(values, offsets):
                chosen = offsets[low : high + 1]
                part = MultiVector(values[chosen[0] : chosen[-1]], chosen - chosen[0])
        run = index.open(part).search(queries, k, silent).run
        docs = np.where(run.docs < 0, -1, run.docs + low)
        keys.append(ranking.pack(run.scores, docs))
    return ranking.best(np.concatenate(keys, axis=1), k)


@pytest.mark.parametrize(
    "spec",
    ["exact", "pooled", "gpu,devices=cpu,precision=float16", "truncate,dim=8",
     "binary,oversample=0", "muvera,repetitions=2,bits=2,rerank_depth=0"],
)  # fmt: skip
def test_results_over_ranges_merge_where_an_index_says_so(spec):
    index = INDEXES.create(spec)
    assert index.mergeable
    for kind in index.accepts:
        documents, queries = made(kind, 90), made(kind, 7, seed=1)
        whole = index.open(documents).search(queries, 12, silent).run
        parts = ranking.unpack(merged(index, documents, queries, 12))
        np.testing.assert_array_equal(parts.docs, whole.docs)
        np.testing.assert_array_equal(parts.scores, whole.scores)


@pytest.mark.parametrize("spec", ["hnsw", "faiss:Flat", "int8", "pca", "truncate,oversample=2",
                                  "binary", "seismic", "muvera", "muvera:hnsw,rerank_depth=0",
                                  "hnswlib", "usearch"])  # fmt: skip
def test_results_that_depend_on_all_documents_do_not_merge(spec):
    assert not INDEXES.create(spec).mergeable


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("hnsw:qdrant,M=8", "hnsw,M=8,like=qdrant,metric=ip,seed=12345",
         "hnsw:qdrant is now called hnsw,like=qdrant"),
        ("truncate,dimensions=8,rescore=2", "truncate,dim=8,oversample=2",
         "truncate: dimensions is now called dim"),
        ("pca,dimensions=8", "pca,dim=8,oversample=0,seed=0", "pca: dimensions is now called dim"),
        ("int8,rescore=3", "int8,oversample=3", "int8: rescore is now called oversample"),
        ("binary,rescore=3", "binary,kept=bits,oversample=3",
         "binary: rescore is now called oversample"),
        ("faiss:SQ8,refine=3", "faiss:SQ8,metric=ip,oversample=3,seed=0",
         "faiss: refine is now called oversample"),
        ("muvera:[hnsw,like=qdrant],projection=4,final=8,rescore=9",
         "muvera:[hnsw,like=qdrant],bits=5,final_dim=8,projection_dim=4,repetitions=20,rerank_depth=9,"
         "seed=0", "muvera: projection is now called projection_dim"),
        ("seismic,rescore=false", "seismic,centroid_fraction=0.1,exact_scores=false,"
         "heap_factor=0.8,large_vocabulary=false,max_fraction=1.5,min_cluster_size=2,"
         "n_postings=3500,query_cut=10,summary_energy=0.4",
         "seismic: rescore is now called exact_scores"),
    ],
)  # fmt: skip
def test_old_names_are_taken_with_a_line(old, new, line):
    with pytest.warns(RenamedWarning) as told:
        resolved, made = str(INDEXES.resolve(old)), INDEXES.create(old)
    assert line in [str(one.message) for one in told]
    assert (resolved, made) == (new, INDEXES.create(new))


def test_an_old_name_and_its_new_one_are_not_both_taken():
    for spec in ("int8,rescore=1,oversample=2", "hnsw:qdrant,like=faiss"):
        with pytest.raises(InputError, match=r"gives (oversample|like) twice"):
            INDEXES.create(spec)


def test_a_structure_is_kept_by_what_it_was_before_names_changed():
    faiss = load_faiss().__version__
    assert INDEXES.create("hnsw,like=qdrant,ef_search=7").build_key() == {
        "kind": "faiss HNSW", "M": 16, "ef_construction": 100, "metric": "ip", "seed": 12345,
        "faiss": faiss,
    }  # fmt: skip
    assert INDEXES.create("faiss:PQ4x4,oversample=3,nprobe=2").build_key() == {
        "kind": "faiss factory", "string": "PQ4x4", "metric": "ip", "seed": 0, "faiss": faiss,
    }  # fmt: skip
    assert INDEXES.create("hnswlib,ef_search=7").build_key() == {
        "kind": "hnswlib", "M": 16, "ef_construction": 128, "metric": "ip", "seed": 100,
        "hnswlib": version("hnswlib"),
    }  # fmt: skip
    assert INDEXES.create("usearch,ef_search=7").build_key() == {
        "kind": "usearch", "M": 16, "ef_construction": 128, "dtype": "f32", "metric": "ip",
        "usearch": version("usearch"),
    }  # fmt: skip
    seismic = INDEXES.create("seismic,query_cut=3,heap_factor=0.5,exact_scores=false")
    assert seismic.build_key() == {
        "kind": "seismic", "n_postings": 3500, "centroid_fraction": 0.1, "min_cluster_size": 2,
        "summary_energy": 0.4, "max_fraction": 1.5, "large_vocabulary": False,
        "pyseismic-lsr": version("pyseismic-lsr"),
    }  # fmt: skip


def test_what_faiss_keeps_for_the_process_is_given_back():
    faiss = load_faiss()
    threshold, threads = faiss.cvar.distance_compute_blas_threshold, faiss.omp_get_max_threads()
    with matrix_products(), matrix_products(), single_thread():
        assert faiss.cvar.distance_compute_blas_threshold == PRODUCTS != threshold
        assert faiss.omp_get_max_threads() == 1
    with pytest.raises(ZeroDivisionError), matrix_products(), single_thread():
        raise ZeroDivisionError
    documents, queries = made("dense", 300), made("dense", 9, seed=1)
    graph = INDEXES.create("hnsw").open(documents)
    for spec in ("exact", "faiss:IVF4_Flat", "hnsw"):
        before = faiss.cvar.hnsw_stats.ndis
        INDEXES.create(spec).open(documents).search(queries, 5, silent)
        assert faiss.cvar.hnsw_stats.ndis >= before
    spent = graph.search(queries, 5, silent).distances
    assert faiss.cvar.hnsw_stats.ndis >= before + spent
    assert faiss.cvar.distance_compute_blas_threshold == threshold
    assert faiss.omp_get_max_threads() == threads


def test_one_representation_is_asked_for():
    dense = made("dense", 3)
    assert of_kind(dense, Dense) is dense
    with pytest.raises(InputError, match="got dense vectors where only multi-vector ones can be"):
        of_kind(dense, MultiVector)


def test_nothing_is_kept_without_a_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    INDEXES.create("hnsw").open(made("dense", 50))
    assert list(Path().iterdir()) == []
