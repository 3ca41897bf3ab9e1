"""Structures kept on disk: read where they were built from the same, else built anew."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness import disk
from harness.errors import InputError, StoreError
from harness.indexes import INDEXES, saved
from harness.indexes.saved import FileIndex
from harness.progress import silent
from harness.store import Store
from harness.vectors import Dense, MultiVector, Run, Sparse

pytest.importorskip("hnswlib")
pytest.importorskip("usearch")

SPECS = [
    "hnsw", "hnswlib", "hnswlib,metric=l2", "usearch", "usearch,dtype=bf16", "faiss:IVF4_Flat",
    "faiss:PQ4x4", "faiss:BIVF4", "faiss:PCA8_SQ8", "faiss:BFlat,oversample=3",
]  # fmt: skip


def made(n: int = 200, seed: int = 0) -> Dense:
    values = np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32)
    return Dense(values / np.linalg.norm(values, axis=1, keepdims=True))


def same(one: Run, other: Run) -> None:
    np.testing.assert_array_equal(one.docs, other.docs)
    np.testing.assert_array_equal(one.scores, other.scores)


@pytest.fixture
def counted(monkeypatch):
    """Makes an index and a list that grows by the number of documents with each build."""

    def create(spec: str) -> tuple[FileIndex, list[int]]:
        index, builds = INDEXES.create(spec), list[int]()
        make = type(index).make

        def counting(self, documents, progress):
            builds.append(len(documents))
            return make(self, documents, progress)

        monkeypatch.setattr(type(index), "make", counting)
        return index, builds

    return create


def only(folder: Path, pattern: str = "*") -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_a_structure_is_built_once_and_read_as_it_was(spec, counted, tmp_path):
    documents, queries, (index, builds) = made(), made(5, seed=1), counted(spec)
    first = index.open(documents, tmp_path)
    assert first.info.reused is False
    again = index.open(made(), tmp_path)
    assert again.info.reused is True
    assert builds == [200]
    assert again.info.notes == first.info.notes
    assert again.info.bytes == first.info.bytes
    same(first.search(queries, 10, silent).run, again.search(queries, 10, silent).run)
    kept = {path.name for path in only(tmp_path).iterdir()}
    assert kept == {"structure", "structure.json"}


def test_search_parameters_are_no_part_of_it(tmp_path):
    INDEXES.create("hnsw").open(made(), tmp_path)
    wide = INDEXES.create("hnsw,ef_search=200")
    searcher = wide.open(made(), tmp_path)
    assert searcher.info.reused
    exact = INDEXES.create("exact").open(made()).search(made(5, seed=1), 10, silent).run
    same(searcher.search(made(5, seed=1), 10, silent).run, exact)


def test_other_vectors_parameters_or_versions_are_never_read(tmp_path, monkeypatch):
    index = INDEXES.create("hnsw")
    index.open(made(), tmp_path)
    for spec in ("hnsw,M=8", "hnsw,ef_construction=9", "hnsw,metric=l2", "faiss:HNSW16"):
        assert not INDEXES.create(spec).open(made(), tmp_path).info.reused
    changed = made()
    changed.values[150, 3] += 1e-6
    shorter = Dense(made().values[:199])
    reshaped = Dense(made().values.reshape(400, 8))
    for documents in (changed, shorter, reshaped):
        assert not index.open(documents, tmp_path).info.reused
    from harness.indexes.faiss_library import load_faiss

    monkeypatch.setattr(load_faiss(), "__version__", "0.0")
    assert not index.open(made(), tmp_path).info.reused
    assert len(list(tmp_path.iterdir())) == 9


def test_digests_do_not_depend_on_blocks_or_layout(monkeypatch):
    values = made().values
    whole = saved.digest(Dense(values))
    monkeypatch.setattr(saved, "BLOCK", 7)
    assert saved.digest(Dense(values)) == saved.digest(Dense(np.asfortranarray(values))) == whole
    assert saved.digest(Dense(values[:, :8])) != whole


def test_digests_of_sparse_vectors_and_of_several_a_text(monkeypatch):
    def sparse(data=(1, 2, 3), terms=(0, 2, 1), ends=(0, 2, 3), width=4, kind=np.int32) -> Sparse:
        arrays = np.float32(data), np.array(terms, kind), np.array(ends, kind)
        return Sparse(csr_matrix(arrays, shape=(len(ends) - 1, width)))

    def several(values=((1, 2), (3, 4), (5, 6)), offsets=(0, 1, 3)) -> MultiVector:
        return MultiVector(np.float32(values), np.array(offsets, np.int64))

    different = [
        sparse(),
        sparse(data=(1, 2, 4)),
        sparse(terms=(0, 3, 1)),
        sparse(ends=(0, 1, 3)),
        sparse(width=5),
        several(),
        several(values=((1, 2), (3, 4), (5, 7))),
        several(offsets=(0, 2, 3)),
        Dense(several().values),
    ]
    digests = [saved.digest(vectors) for vectors in different]
    assert len(set(digests)) == len(different)
    monkeypatch.setattr(saved, "BLOCK", 2)
    assert [saved.digest(vectors) for vectors in different] == digests
    assert saved.digest(sparse(kind=np.int64)) == digests[0]


@pytest.mark.parametrize("what", ["cut", "flipped", "not JSON", "no checksum"])
def test_a_damaged_file_is_set_aside_and_built_anew(what, counted, tmp_path):
    (index, builds), queries = counted("hnsw"), made(5, seed=1)
    first = index.open(made(), tmp_path)
    assert first.info.notes == ()
    place = only(tmp_path)
    data, about = place / "structure", place / "structure.json"
    if what == "cut":
        data.write_bytes(data.read_bytes()[:-1])
    elif what == "flipped":
        content = bytearray(data.read_bytes())
        content[1000] ^= 1
        data.write_bytes(content)
    elif what == "not JSON":
        about.write_text("{")
    else:
        about.write_text("[]")
    again = index.open(made(), tmp_path)
    assert not again.info.reused
    assert again.info.notes == (saved.DAMAGED,)
    assert builds == [200, 200]
    same(first.search(queries, 10, silent).run, again.search(queries, 10, silent).run)
    assert index.open(made(), tmp_path).info.reused
    assert (tmp_path / f"{place.name}.damaged").is_dir()


def test_a_whole_file_that_the_library_cannot_read_is_set_aside(tmp_path, monkeypatch):
    index = INDEXES.create("hnsw")
    with monkeypatch.context() as patched:
        patched.setattr(type(index), "save", lambda _, built, path: path.write_bytes(b"no graph"))
        index.open(made(), tmp_path)
    info = index.open(made(), tmp_path).info
    assert (info.reused, info.notes) == (False, (saved.DAMAGED,))


@pytest.mark.parametrize("spec", ["hnsw", "hnswlib", "usearch", "faiss:IVF4_Flat"])
@pytest.mark.parametrize("what", ["other bytes", "another structure", "a pipe", "a link"])
def test_what_somebody_else_wrote_is_never_given_to_a_library(spec, what, tmp_path, monkeypatch):
    """Whatever its checksum says: hostile bytes may end the process that reads them."""
    index = INDEXES.create(spec)
    index.open(made(), tmp_path)
    place = only(tmp_path)
    data, about = place / "structure", json.loads((place / "structure.json").read_text())
    if what == "other bytes":
        content = data.read_bytes()
        data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        about |= {"sha256": disk.file_sha256(data)}
    elif what == "another structure":  # of this user, but for other vectors
        index.open(made(seed=7), tmp_path / "other")
        for path in only(tmp_path / "other").iterdir():
            path.replace(place / path.name)
        about = json.loads((place / "structure.json").read_text()) | {"vectors": about["vectors"]}
    else:
        data.unlink()
        os.mkfifo(data) if what == "a pipe" else data.symlink_to("/dev/zero")
    (place / "structure.json").write_text(json.dumps(about))

    def never(self, path: Path) -> None:
        raise AssertionError

    monkeypatch.setattr(type(index), "load", never)
    info = index.open(made(), tmp_path).info
    assert (info.reused, info.notes[-1]) == (False, saved.DAMAGED)


def test_structures_of_two_users_do_not_meet(tmp_path, monkeypatch):
    index = INDEXES.create("hnsw")
    for user in ("one", "other"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / user))
        for reused in (False, True):
            info = index.open(made(), tmp_path / "indexes").info
            assert (info.reused, info.notes) == (reused, ())


def test_without_a_place_for_the_key_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        info = INDEXES.create("hnsw").open(made(), tmp_path / "indexes").info
        assert (info.reused, info.notes) == (False, (saved.UNKEYED,))
    assert not (tmp_path / "indexes").exists()


def test_a_build_that_was_killed_is_done_again_in_silence(tmp_path):
    index = INDEXES.create("hnsw")
    index.open(made(), tmp_path)
    (only(tmp_path) / "structure.json").unlink()
    info = index.open(made(), tmp_path).info
    assert (info.reused, info.notes) == (False, ())
    assert index.open(made(), tmp_path).info.reused


def test_what_decides_it_is_written_beside_it(tmp_path):
    INDEXES.create("hnsw,M=8").open(made(), tmp_path)
    place = only(tmp_path)
    about = json.loads((place / "structure.json").read_text())
    assert about["structure"]["M"] == 8
    assert about["vectors"] == {"sha256": saved.digest(made()), "shape": [200, 16]}
    assert about["bytes"] == (place / "structure").stat().st_size


def test_the_store_lists_and_prunes_it(tmp_path):
    INDEXES.create("hnsw,M=8").open(made(), tmp_path / "indexes")
    store = Store(tmp_path)
    (space,) = store.spaces()
    about = space.description
    assert (about["label"], about["role"], space.texts) == ("faiss HNSW", "index", len(made()))
    assert space.bytes == sum(file.stat().st_size for file in space.path.iterdir())
    assert [removed.path for removed in store.prune(0)] == [space.path]
    assert store.spaces() == []
    INDEXES.create("hnsw,M=8").open(made(), tmp_path / "indexes")
    (tmp_path / "indexes" / space.path.name / "structure.json").write_text("{}")
    (broken,) = store.spaces()
    assert (broken.description["label"], broken.texts) == ("unreadable", 0)
    assert [removed.path for removed in store.prune(0)] == [broken.path]


@pytest.mark.parametrize("spec", ["hnsw", "hnswlib", "usearch", "faiss:BFlat"])
def test_a_file_that_is_no_index(spec, tmp_path):
    path = tmp_path / "structure"
    path.write_bytes(b"no index at all")
    with pytest.raises(InputError, match="structure: not an index of this"):
        INDEXES.create(spec).load(path)


@pytest.mark.parametrize("spec", ["hnsw", "hnswlib", "usearch"])
def test_a_file_that_cannot_be_written(spec, tmp_path):
    index = INDEXES.create(spec)
    with pytest.raises(OSError, match=r"."):
        index.save(index.make(made(50), silent), tmp_path / "nowhere" / "structure")


def test_hnswlib_does_not_keep_part_of_a_file(tmp_path):
    index = INDEXES.create("hnswlib")
    built = index.make(made(50), silent)

    class Full:
        """A graph whose disk is full."""

        index_file_size = built.index_file_size

        def save_index(self, path):
            Path(path).write_bytes(b"part")

    with pytest.raises(OSError, match="hnswlib could not write the whole file"):
        index.save(Full(), tmp_path / "structure")


def test_an_index_below_a_file_is_built_and_not_kept(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "indexes"):
        info = INDEXES.create("hnsw").open(made(50), place).info
        assert (info.reused, info.notes[-1]) == (False, saved.UNKEPT)


def test_an_index_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "Input/output error")

    INDEXES.create("hnsw").open(made(50), tmp_path)
    monkeypatch.setattr(disk, "file_sha256", fail)
    with pytest.raises(StoreError, match="the index store cannot be used: Input/output error"):
        INDEXES.create("hnsw").open(made(50), tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_nothing_is_left_of_a_build_that_fails_to_be_written(tmp_path, monkeypatch, number):
    index = INDEXES.create("hnsw")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    info = index.open(made(50), tmp_path).info
    assert (info.reused, info.notes[-1]) == (False, saved.UNKEPT)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_no_distribution_brings_is_one_line(tmp_path, monkeypatch):
    index = INDEXES.create("hnswlib")
    monkeypatch.setattr(type(index), "library", "toygraphx")
    expected = r"^index \w+: no distribution 'toygraphx' is installed: install it, or name in `lib"
    for ask in (index.describe, lambda: index.open(made(), tmp_path)):
        with pytest.raises(InputError, match=expected):
            ask()
