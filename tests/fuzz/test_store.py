"""What is kept between runs: shards, descriptions of spaces and structures, answers, cells."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness.encoders import Encoded
from harness.endpoints.answers import ResponseCache
from harness.endpoints.options import EndpointOptions
from harness.errors import StoreError
from harness.report import listings
from harness.rerankers.api import api
from harness.store import Store, held, shards
from harness.vectors import MultiVector, Sparse
from tests.fuzz.frame import Reader, fuzz
from tests.fuzz.mutations import DEEP

ASKED = {"url": "http://x", "body": {"model": "m", "messages": ["a"]}}
RERANKER = api("m", endpoint=EndpointOptions(url="http://127.0.0.1:9/v1"))
TEXTS = ["a", "b"]


def _shard(values: Any) -> bytes:
    """The bytes of a shard of two texts."""
    counts = np.array([1, 2], np.int32), np.array([False, True])
    arrays = shards.pack(Encoded(values, *counts), TEXTS)
    arrays[0]["key"] = shards.keys_of(TEXTS)
    out = BytesIO()
    for array in arrays:
        np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _read_shard(folder: Path, data: bytes) -> object:
    """Vectors of the texts that a shard holds; one that is set aside is refused."""
    shutil.rmtree(folder / "space", ignore_errors=True)
    path = folder / "space" / f"{hashlib.sha256(data).hexdigest()[:32]}.npy"
    path.parent.mkdir()
    path.write_bytes(data)
    shards.read_maker(path)
    found = held.look([path])
    if found.damaged or not len(found.keys):
        raise StoreError("set aside")
    unique = found.keys
    values = found.gather(unique, np.arange(len(unique)), folder).values
    if isinstance(values, Sparse):
        return unique.tolist(), values.matrix.indices.tolist(), values.matrix.data.tolist()
    if isinstance(values, MultiVector):
        return unique.tolist(), values.offsets.tolist(), values.values.tolist()
    return unique.tolist(), values.tolist()


def _arrays(data: bytes, most: int) -> list[np.ndarray]:
    """The first arrays of a file of them, by the format's own description."""
    found: list[np.ndarray] = []
    while len(found) < most:
        width = 2 if data[6] == 1 else 4
        size = int.from_bytes(data[8 : 8 + width], "little")
        header = ast.literal_eval(data[8 + width : 8 + width + size].decode("latin-1"))
        kind = np.dtype([tuple(each) for each in header["descr"]]
                        if isinstance(header["descr"], list) else header["descr"])  # fmt: skip
        start, count = 8 + width + size, int(np.prod(header["shape"], dtype=np.int64))
        found.append(np.frombuffer(data, kind, count, start).reshape(header["shape"]))
        data = data[start + count * kind.itemsize :]
    return found


def _expect_shard(data: bytes) -> object:
    rows = _arrays(data, 1)[0]
    unique, first = np.unique(rows["key"], return_index=True)
    rows_of = rows[first]
    if rows.dtype.names[-1] == "vector":
        return unique.tolist(), rows_of["vector"].tolist()
    items = _arrays(data, 2)[1]
    ends = np.cumsum(rows["length"])
    parts = [items[ends[at] - rows["length"][at] : ends[at]] for at in first]
    whole = np.concatenate(parts)
    if rows.dtype.names[-1] == "vocabulary":
        return unique.tolist(), whole["term"].tolist(), whole["weight"].tolist()
    return unique.tolist(), [0, *np.cumsum(rows_of["length"]).tolist()], whole.tolist()


def _read_space(folder: Path, data: bytes) -> object:
    place = folder / "store" / "embeddings" / "x"
    place.mkdir(parents=True, exist_ok=True)
    (place / "space.json").write_bytes(data)
    (row,) = listings.spaces(Store(folder / "store")).rows
    return list(row[1:4])


def _expect_space(data: bytes) -> object:
    found = json.loads(data)
    return [found["label"], found["role"], found["prompt"]]


def _read_structure(folder: Path, data: bytes) -> object:
    place = folder / "store" / "indexes" / "x"
    place.mkdir(parents=True, exist_ok=True)
    (place / "structure.json").write_bytes(data)
    (row,) = listings.spaces(Store(folder / "store")).rows
    if row[1] == "unreadable":
        raise StoreError("unreadable")
    return row[1], row[4]


def _expect_structure(data: bytes) -> object:
    found = json.loads(data)
    return found["structure"]["kind"], found["vectors"]["shape"][0]


def _read_answer(folder: Path, data: bytes) -> object:
    answers = ResponseCache(folder / "answers")
    answers.folder.mkdir(exist_ok=True)
    answers._path(ASKED).write_bytes(data)
    found = answers.find(ASKED)
    if found is None:
        raise StoreError("not kept")
    return found


def _expect_answer(data: bytes) -> object:
    found = json.loads(data)
    assert found["asked"] == ASKED
    return found["answer"]


def _read_scores(folder: Path, data: bytes) -> object:
    """Scores of an answer that is itself JSON; damaged ones are none."""
    answers = ResponseCache(folder / "answers")
    answers.keep(RERANKER._describe_request("q"), data.decode("utf-8", "replace"))
    found = RERANKER._read_kept(answers, "q")
    if not found:
        raise StoreError("not kept")
    return found


def _expect_scores(data: bytes) -> object:
    found = json.loads(data.decode("utf-8", "replace"))
    assert all(type(score) in (int, float) and abs(score) < 3.5e38 for score in found.values())
    return {digest: float(score) for digest, score in found.items()}


SPACE = {"label": "hashing", "role": "query", "prompt": "query: ", "encoder": {"dim": 8}}
STRUCTURE = {
    "bytes": 4,
    "sha256": "0" * 64,
    "structure": {"kind": "hnsw", "M": 16},
    "vectors": {"sha256": "1" * 64, "shape": [1000, 8]},
}
SHARDS = (
    _shard(np.array([[1, 2, 3], [4, 5, 6.5]], np.float32)),
    _shard(Sparse(csr_matrix(np.array([[0, 2, 0], [1, 0, 3]], np.float32)))),
    _shard(MultiVector(np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([0, 1, 3]))),
)
READERS = [
    Reader("shard", _read_shard, _expect_shard, SHARDS,
           (b"", b"\x93NUMPY", SHARDS[0][:-1], SHARDS[1].replace(b"'term'", b"'tErm'"))),
    Reader("space.json", _read_space, _expect_space, (json.dumps(SPACE).encode(),),
           (b"[" * DEEP, b'{"label": "a"}', b'{"label": 1, "role": 2, "prompt": 3}')),
    Reader("structure.json", _read_structure, _expect_structure, (json.dumps(STRUCTURE).encode(),),
           (b"[" * DEEP, b"{}", b"", json.dumps(STRUCTURE).replace("[1000, 8]", '"12"').encode(),
            json.dumps(STRUCTURE).replace('"hnsw"', "null").encode())),
    Reader("answer", _read_answer, _expect_answer,
           (json.dumps({"asked": ASKED, "answer": "yes"}).encode(),),
           (b"[" * DEEP, b"1", b'{"asked": 1, "answer": "no"}')),
    Reader("scores", _read_scores, _expect_scores, (b'{"aa": 0.5, "bb": -1.25}',),
           (b"1", b"{", b"[" * DEEP, b'{"a": "1"}', b'{"a": [1]}', b'{"a": 1e999}', b'"a"')),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_store(reader, tmp_path):
    fuzz(reader, tmp_path)
