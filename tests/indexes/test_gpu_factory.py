"""Indexes of faiss's factory and CAGRA on GPUs, with a strict fake in their place."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.indexes import INDEXES, devices
from harness.indexes.factory import Factory
from harness.indexes.faiss_library import load_faiss
from harness.indexes.gpu.faiss_devices import TEMPORARY
from harness.pipeline.single import index_record
from harness.progress import silent
from tests.indexes import faiss_gpu_indexes as fakes
from tests.indexes.faiss_gpu import faked, search_exactly
from tests.indexes.test_gpu import made, same

SPECS = [
    "Flat", "Flat,metric=l2", "IVF4_Flat,nprobe=2", "IVF4_Flat,nprobe=2,metric=l2",
    "IVF4_Flat,nprobe=2,metric=cosine", "IVF4_SQ8,nprobe=2", "IVF4_SQfp16,nprobe=2",
    "IVF4_PQ4,nprobe=2", "IVF4_PQ4,nprobe=2,metric=l2", "PCA8_IVF4_Flat,nprobe=2",
    "PCA8_Flat",
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    spec=st.sampled_from(SPECS),
    sharded=st.booleans(),
    number=st.integers(1, 3),
    n=st.integers(256, 500),
    k=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_recall_is_that_of_the_same_structure_on_the_cpu(spec, sharded, number, n, k, seed):
    documents, queries = made("unit", n, seed=seed), made("unit", 6, seed=seed + 1)
    expected = INDEXES.create(f"faiss:{spec}").open(documents).search(queries, k, silent).run
    with faked(number, seed=seed) as machine:
        index = INDEXES.create(f"gpu:{spec},sharded={str(sharded).lower()}")
        index.require("dense")
        found = index.open(documents).search(queries, k, silent).run
        assert len(machine.searches) in (number, 6, 5)  # fewer queries or fewer devices
    hits = [len(np.intersect1d(*rows)) for rows in zip(found.docs, expected.docs, strict=True)]
    assert np.mean(hits) >= 0.98 * k
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    if "PQ" not in spec and "SQ" not in spec and "PCA" not in spec:
        same(found, expected)


def test_lists_are_trained_on_one_gpu_and_searched_on_all(fake_gpu, tmp_path):
    documents, queries = made("unit", 400), made("unit", 5, seed=1)
    index = INDEXES.create("gpu:IVF4_Flat,nprobe=4")
    index.require("dense")
    built = index.make(documents, silent)
    assert fake_gpu.moves == [("GpuIndexIVFFlat", 0)]
    index.save(built, tmp_path / "structure")
    searcher = index.searcher(index.load(tmp_path / "structure"), documents)
    expected = search_exactly(documents, queries, 9)
    same(searcher.search(queries, 9, silent).run, expected)
    assert [device for _, device in fake_gpu.moves] == [0, 0, 1]
    assert index.build_key()["built"] == "gpu"
    assert index.describe()["devices"] == 2


def test_a_structure_is_kept_and_read_again(fake_gpu, tmp_path):
    documents, queries = made("unit", 300), made("unit", 4, seed=1)
    index = INDEXES.create("gpu:IVF4_PQ4,nprobe=2")
    first, second = (index.open(documents, tmp_path) for _ in range(2))
    assert (first.info.reused, second.info.reused) == (False, True)
    found, again = (each.search(queries, 5, silent).run for each in (first, second))
    np.testing.assert_array_equal(found.docs, again.docs)
    np.testing.assert_allclose(found.scores, again.scores, rtol=1e-6)


@pytest.mark.parametrize("target", ["Flat", "PCA8_Flat", "SQfp16"])
def test_what_has_no_lists_is_built_on_the_cpu(target, fake_gpu):
    INDEXES.create(f"gpu:{target}").make(made("unit", 300), silent)
    assert fake_gpu.moves == []


def test_what_has_a_form_on_one_device_alone(monkeypatch):
    documents, queries = made("unit", 300), made("unit", 5, seed=1)
    with faked(2):
        message = "^gpu:SQfp16 has no form on several GPUs in faiss: use faiss:SQfp16$"
        with monkeypatch.context() as patch:
            patch.setattr(Factory, "make", None)  # it is refused before it is built
            with pytest.raises(InputError, match=message):
                INDEXES.create("gpu:SQfp16").open(documents)
        found = INDEXES.create("gpu:SQfp16,devices=1").open(documents)
        run = found.search(queries, 5, silent).run
    expected = INDEXES.create("faiss:SQfp16").open(documents).search(queries, 5, silent).run
    np.testing.assert_allclose(run.scores, expected.scores, rtol=1e-2)


@pytest.mark.parametrize("target", ["Flat", "IVF4_Flat"])
def test_documents_are_divided_where_they_shall_be(target):
    used = []
    for sharded in ("false", "true"):
        with faked(2) as machine:
            searcher = INDEXES.create(f"gpu:{target},sharded={sharded}").open(made("unit", 400))
            used.append([machine.used[device] - TEMPORARY for device in (0, 1)])
            del searcher
    lists, row = (4 * 16 * 4, 16 * 4 + 8) if target == "IVF4_Flat" else (0, 16 * 4 + 4)
    assert used == [[lists + 400 * row] * 2, [lists + 200 * row] * 2]


NO_FORM = "has no form on GPUs in faiss"


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("HNSW32", f"gpu:HNSW32 {NO_FORM}: use faiss:HNSW32"),
        ("SQ8", f"gpu:SQ8 {NO_FORM}: use faiss:SQ8"),
        ("PQ4", f"gpu:PQ4 {NO_FORM}: use faiss:PQ4"),
        ("IVF4(HNSW32)_Flat", f"gpu:IVF4(HNSW32)_Flat {NO_FORM}: use faiss:IVF4(HNSW32)_Flat"),
        ("IVF4_Flat_RFlat", f"gpu:IVF4_Flat_RFlat {NO_FORM}: use faiss:IVF4_Flat_RFlat"),
        ("IVF4_PQ4x4fs", f"gpu:IVF4_PQ4x4fs {NO_FORM}: use faiss:IVF4_PQ4x4fs"),
        ("IVF4_PQ4x4", f"gpu:IVF4_PQ4x4 {NO_FORM} (Error: 'index->pq.nbits == 8' failed: GPU: only "
                       "pq.nbits == 8 is supported): use faiss:IVF4_PQ4x4"),
        ("IVF4_SQ6", "gpu:IVF4_SQ6 cannot be trained on GPUs (Error: 'isSQSupported(sq.qtype)' "
                     "failed: Unsupported scalar QuantizerType on GPU): use faiss:IVF4_SQ6"),
        ("BFlat", "gpu:BFlat: indexes of bits are searched on the CPU alone: use faiss:BFlat"),
        ("BIVF4", "gpu:BIVF4: indexes of bits are searched on the CPU alone: use faiss:BIVF4"),
        ("Flat,nprobe=3", "gpu:Flat has no nprobe: leave nprobe=3 out"),
        ("IVF4_Flat,ef_search=3", "gpu:IVF4_Flat has no ef_search: leave ef_search=3 out"),
        ("IVF4_Flat,devices=cpu", "gpu:IVF4_Flat: devices=cpu: faiss has GPU code for GPUs alone: "
                                  "use faiss:IVF4_Flat"),
        ("IVF4_Flat,devices=7", "gpu:IVF4_Flat: devices=7: expected all, or of 0"),
        ("IVF4_Flat,precision=float16", "gpu:IVF4_Flat: precision=float16 changes nothing in "
                                        "faiss: leave it out"),
        ("IVF4_SQ8,precision=float16", "gpu:IVF4_SQ8: precision=float16 changes nothing in faiss: "
                                       "leave it out"),
        ("IVF400_Flat", "gpu:IVF400_Flat learns 400 centroids from 300 documents: expected at "
                        "least as many; lower the number of lists or bits, or choose exact"),
        ("Nothing", "gpu:Nothing: faiss refuses it for 768-d: "),
        ("CAGRA", "gpu:CAGRA needs faiss with cuVS, in an environment of its own: "),
        ("CAGRA,nprobe=3", "gpu:CAGRA has no nprobe: leave nprobe=3 out"),
        ("CAGRA,sharded=true", "gpu:CAGRA: sharded=true: faiss has a graph on one device: leave it "
                               "out"),
        ("CAGRA,precision=float16", "gpu:CAGRA: precision=float16 changes nothing in faiss: leave "
                                    "it out"),
    ],
)  # fmt: skip
def test_refusals_are_one_line(spec, message, number, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)

    def open_it():
        index = INDEXES.create(f"gpu:{spec}")
        index.require("dense")
        return index.open(made("unit", 300))

    with faked(number) as machine:
        with pytest.raises(InputError) as raised:
            open_it()
        assert not machine.searches
    said = re.sub(r"\S+ -m pip", "pip", str(raised.value))
    assert said.startswith(message)
    assert "\n" not in said


@pytest.mark.parametrize("spec", ["HNSW32", "SQ8", "IVF4_SQ6", "IVF4_PQ4x4"])
def test_the_cpu_stands_in_for_what_has_no_form(spec, fake_gpu):
    documents, queries = made("unit", 300), made("unit", 5, seed=1)
    searcher = INDEXES.create(f"gpu:{spec},fallback=cpu").open(documents)
    expected = INDEXES.create(f"faiss:{spec}").open(documents).search(queries, 4, silent).run
    same(searcher.search(queries, 4, silent).run, expected)
    (note,) = [note for note in searcher.info.notes if "GPUs" in note]
    assert note.endswith(": the CPU searched in its place")
    record = index_record(f"gpu:{spec},fallback=cpu", INDEXES.create("gpu:Flat"), searcher.info)
    assert (record.library["built"], record.library["devices"]) == ("cpu", 0)
    assert record.library["string"] == spec.replace("_", ",")


def test_the_record_says_where_an_index_is_built(fake_gpu, monkeypatch):
    """Only lists and graphs are filled on GPUs; a flat index is copied there."""
    faiss, fetched = load_faiss(), []
    fetch = faiss.index_gpu_to_cpu
    monkeypatch.setattr(faiss, "index_gpu_to_cpu", lambda x: (fetched.append(x), fetch(x))[1])
    for spec, where in (("Flat", "cpu"), ("IVF4_Flat", "gpu"), ("PCA4_IVF4_Flat", "gpu")):
        index = INDEXES.create(f"gpu:{spec}")
        searcher = index.open(made("unit", 300))
        record = index_record(f"gpu:{spec}", index, searcher.info)
        assert (record.library["built"], record.library["devices"]) == (where, 2)
        assert bool(fetched) == (where == "gpu")


def test_more_results_than_a_gpu_finds(fake_gpu):
    documents, queries = made("unit", 2100), made("unit", 3, seed=1)
    expected = INDEXES.create("faiss:IVF4_Flat,nprobe=4").open(documents)
    searcher = INDEXES.create("gpu:IVF4_Flat,nprobe=4").open(documents)
    message = (
        "gpu:IVF4_Flat: k=2,049: GPUs find 2,048 results of a query, at most: "
        "use faiss:IVF4_Flat, or fallback=cpu"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        searcher.search(queries, 2049, silent)
    same(searcher.search(queries, 2048, silent).run, expected.search(queries, 2048, silent).run)
    searcher = INDEXES.create("gpu:IVF4_Flat,nprobe=4,fallback=cpu").open(documents)
    found = searcher.search(queries, 2049, silent)
    same(found.run, expected.search(queries, 2049, silent).run)
    assert found.notes == (
        "gpu:IVF4_Flat: k=2,049: GPUs find 2,048 results of a query, at most: "
        "the CPU searched in its place",
    )
    assert searcher.search(queries, 2048, silent).notes == ()
    few = INDEXES.create("gpu:IVF4_Flat,nprobe=4").open(made("unit", 300))
    assert few.search(queries, 2049, silent).run.docs.shape == (3, 2049)


def test_more_lists_than_a_gpu_searches(fake_gpu):
    documents, queries = made("unit", 300), made("unit", 3, seed=1)
    searcher = INDEXES.create("gpu:IVF4_Flat,nprobe=9999").open(documents)
    expected = search_exactly(documents, queries, 7)
    same(searcher.search(queries, 7, silent).run, expected)
    assert "gpu:IVF4_Flat has 4 lists: nprobe=9999 searches all" in searcher.info.notes
    message = (
        "gpu:IVF2100_Flat: nprobe=2049: GPUs search 2,048 lists for a query, at most: "
        "use faiss:IVF2100_Flat"
    )
    with pytest.raises(InputError, match=f"^{message}$"):
        INDEXES.create("gpu:IVF2100_Flat,nprobe=2049").open(documents)
    documents = made("unit", 2100, 2)
    searcher = INDEXES.create("gpu:IVF2100_Flat,nprobe=2048").open(documents)
    searcher.search(made("unit", 3, 2), 7, silent)


def test_codes_in_16_bits_fit_where_those_in_32_do_not(fake_gpu):
    documents, queries = made("unit", 300, 64), made("unit", 3, 64, 1)
    message = r"requires 65536 bytes\. Consider useFloat16LookupTables .*use faiss:IVF4_PQ64$"
    with pytest.raises(InputError, match=message):
        INDEXES.create("gpu:IVF4_PQ64").open(documents)
    searcher = INDEXES.create("gpu:IVF4_PQ64,precision=float16").open(documents)
    assert searcher.search(queries, 5, silent).run.docs.shape == (3, 5)


def test_a_flat_index_in_16_bits_is_one(fake_gpu):
    index = INDEXES.create("gpu:Flat,precision=float16")
    documents, queries = made("unit", 300), made("unit", 3, seed=1)
    searcher = index.open(documents)
    found = searcher.search(queries, 300, silent).run
    assert fake_gpu.used[0] == TEMPORARY + 300 * (16 * 2 + 4)
    same(found, search_exactly(documents, queries, 300))


CAGRA = ["CAGRA", "CAGRA,metric=l2", "CAGRA,metric=cosine", "CAGRA,devices=1"]


@pytest.mark.parametrize("spec", CAGRA)
def test_cagra_is_on_one_device(spec, tmp_path):
    documents, queries = made("unit", 300), made("unit", 6, seed=1)
    with faked(2, cuvs=True) as machine:
        index = INDEXES.create(f"gpu:{spec}")
        index.require("dense")
        first = index.open(documents, tmp_path)
        found = first.search(queries, 9, silent).run
        assert {device for _, device in machine.moves} == {int("devices=1" in spec)}
        assert index.describe()["devices"] == 1
        second = index.open(documents, tmp_path)
        assert (first.info.reused, second.info.reused) == (False, True)
        same(second.search(queries, 9, silent).run, found)
    metric = spec.partition("metric=")[2] or "ip"
    exact = INDEXES.create(f"faiss:Flat,metric={metric}").open(documents)
    same(found, exact.search(queries, 9, silent).run)


def test_cagra_says_what_it_keeps_and_where():
    with faked(2, cuvs=True):
        index = INDEXES.create("gpu:CAGRA")
        assert (index.notes(10), index.notes(64)) == ((), ())
        assert index.notes(65) == (
            "gpu:CAGRA keeps 96 candidates of a query, not 64: at least as many as results, in "
            "steps of 32",
        )
        assert INDEXES.create("gpu:CAGRA,ef_search=96,devices=1+0").notes(10) == (
            "gpu:CAGRA searches on cuda:1 alone: faiss has a graph on one device",
        )
        wide = index.open(made("unit", 300)).search(made("unit", 2, seed=1), 200, silent).run
        assert (wide.docs[:, :199] >= 0).all()


def test_neighbours_that_were_not_found_are_no_documents():
    documents, queries = made("unit", 30), made("unit", 3, seed=1)
    with faked(cuvs=True):
        found = INDEXES.create("gpu:CAGRA").open(documents).search(queries, 30, silent).run
    assert (found.docs[:, :29] >= 0).all()
    assert found.docs[:, 29].tolist() == [-1, -1, -1]


def test_cagra_is_not_built_by_the_cpu():
    with faked(cuvs=True, faiss=False), pytest.raises(InputError, match="is built by GPUs alone"):
        INDEXES.create("gpu:CAGRA,fallback=cpu").require("dense")
    with faked(cuvs=True, memory=TEMPORARY), pytest.raises(InputError) as raised:
        INDEXES.create("gpu:CAGRA,fallback=cpu").open(made("unit", 300))
    assert str(raised.value) == (
        "gpu:CAGRA, as it is built, needs about 1.9 GB on cuda:0 and 1.6 GB are free: use the "
        "index hnsw, or a device with more memory"
    )


def test_memory_is_predicted_before_anything_is_built():
    documents, queries = made("unit", 300), made("unit", 5, seed=1)
    message = (
        "gpu:IVF4_Flat, as it is built, needs about 0.3 GB on cuda:0 and 0.0 GB are free: use "
        "faiss:IVF4_Flat, or sharded=true over more devices"
    )
    with faked(memory=TEMPORARY + 20_000) as machine:
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            INDEXES.create("gpu:IVF4_Flat").open(documents)
        assert not any(size > TEMPORARY + 10_000 for size in machine.peak.values())
        searcher = INDEXES.create("gpu:IVF4_Flat,nprobe=4,fallback=cpu").open(documents)
    expected = search_exactly(documents, queries, 5)
    same(searcher.search(queries, 5, silent).run, expected)
    assert any(
        re.fullmatch(r"gpu:IVF4_Flat.* are free: the CPU searched in its place", note)
        for note in searcher.info.notes
    )


def test_a_device_that_tells_no_free_memory_is_tried():
    documents, queries = made("unit", 300), made("unit", 5, seed=1)
    expected = search_exactly(documents, queries, 5)
    with faked() as machine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "free_memory", lambda name: None)
        for spec in ("gpu", "gpu:Flat", "gpu:IVF4_Flat,nprobe=4"):
            searcher = INDEXES.create(spec).open(documents)
            same(searcher.search(queries, 5, silent).run, expected)
            assert searcher.info.notes == ()
        assert {kind for kind, _ in machine.moves} == {"GpuIndexFlat", "GpuIndexIVFFlat"}
    full = faked(memory=TEMPORARY + 20_000)  # it says so itself
    with full, pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "free_memory", lambda name: None)
        with pytest.raises(
            InputError, match=r"out of memory .*: use faiss:IVF4_Flat, or sharded=true over more"
        ):
            INDEXES.create("gpu:IVF4_Flat").open(documents)
        searcher = INDEXES.create("gpu:IVF4_Flat,nprobe=4,fallback=cpu").open(documents)
        same(searcher.search(queries, 5, silent).run, expected)
        searcher = INDEXES.create("gpu").open(documents)
        same(searcher.search(queries, 5, silent).run, expected)


def test_memory_of_each_device_is_predicted(fake_gpu):
    documents = made("unit", 3000, 2000)
    INDEXES.create("gpu:Flat").open(documents)
    size = 3000 * 2000 * 4
    for options, least in (
        ("sharded=false", size), ("sharded=true", size // 2), ("precision=float16", size // 2),
    ):  # fmt: skip
        spec = f"gpu:Flat,{options}"
        used = max(fake_gpu.used.values())
        fake_gpu.memory = used + least + (1 << 28) + 3000 * 4
        INDEXES.create(spec).open(documents)
        fake_gpu.memory = max(fake_gpu.used.values()) + least + (1 << 28) - 1
        message = r"^gpu:Flat needs about 0\.3 GB on cuda:[01] and 0\.3 GB are free: use faiss:Flat"
        with pytest.raises(InputError, match=message):
            INDEXES.create(spec).open(documents)


def test_lists_are_given_twice_their_size_to_grow(fake_gpu):
    documents = made("unit", 3000, 2000)
    INDEXES.create("gpu:Flat").open(documents)
    size = 3000 * (4 * 2000 + 8) + 4 * 4 * 2000
    fake_gpu.memory = max(fake_gpu.used.values()) + (1 << 28) + 2 * size - 1
    with pytest.raises(InputError, match=r"^gpu:IVF4_Flat, as it is built, needs about 0\.3 GB"):
        INDEXES.create("gpu:IVF4_Flat").open(documents)
    fake_gpu.memory += 1
    INDEXES.create("gpu:IVF4_Flat").make(documents, silent)


def test_a_graph_of_a_full_device_is_searched_by_the_cpu(monkeypatch):
    documents, queries = made("unit", 300, 100), made("unit", 6, 100, seed=1)
    with faked(cuvs=True) as machine:
        monkeypatch.setattr(fakes.GpuIndexCagra, "find", lambda *_: machine.allocate(0, 1 << 50))
        searcher = INDEXES.create("gpu:CAGRA,fallback=cpu,ef_search=300").open(documents)
        found = searcher.search(queries, 9, silent)
    assert searcher.on_cpu.rescore
    (note,) = found.notes
    assert note.endswith("the CPU searched in its place")
    exact = search_exactly(documents, queries, 300)
    for row in range(6):
        known = dict(zip(exact.docs[row].tolist(), exact.scores[row].tolist(), strict=True))
        docs = found.run.docs[row].tolist()
        assert [known[doc] for doc in docs] == found.run.scores[row].tolist()


@pytest.mark.parametrize("when", ["check", "train", "add", "hold", "find"])
@pytest.mark.parametrize("fallback", ["none", "cpu"])
def test_a_device_that_fills_up_meanwhile(when, fallback, fake_gpu, monkeypatch):
    documents, queries = made("unit", 300), made("unit", 5, seed=1)

    def fill(self, *given):
        self_or_machine = getattr(self, "machine", fake_gpu)
        self_or_machine.allocate(0, 1 << 50)

    monkeypatch.setattr(fakes.GpuIndexIVFFlat, when, fill)
    index = INDEXES.create(f"gpu:IVF4_Flat,nprobe=4,fallback={fallback}")
    if fallback == "none":
        with pytest.raises(InputError, match=r"^gpu:IVF4_Flat.*out of memory.*use faiss:IVF4_F"):
            index.open(documents).search(queries, 5, silent)
        return
    searcher = index.open(documents)
    found = searcher.search(queries, 5, silent)
    same(found.run, search_exactly(documents, queries, 5))
    notes = [note for note in (*searcher.info.notes, *found.notes) if "in its place" in note]
    assert len(notes) == 1


def test_a_cpu_build_of_faiss_beside_gpus_that_torch_sees():
    with faked(torch=True, faiss=False):
        message = (
            r"^gpu:IVF4_Flat: faiss, which would search here, uses no CUDA device: use "
            r"faiss:IVF4_Flat, or fallback=cpu \(faiss sees no device\)$"
        )
        with pytest.raises(InputError, match=message):
            INDEXES.create("gpu:IVF4_Flat").require("dense")
        searcher = INDEXES.create("gpu:IVF4_Flat,fallback=cpu").open(made("unit", 300))
    said = "faiss, which would search here, uses no CUDA device: the CPU searched in its place"
    assert said in searcher.info.notes
