"""Structures of indexes that are kept: a library reads them only as this user's runs wrote them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.disk import seal
from harness.errors import StoreError
from harness.indexes import INDEXES, Searcher
from harness.indexes.saved import DAMAGED, FileIndex, _Place, digest
from harness.progress import silent
from harness.vectors import Dense
from tests.fuzz.frame import Reader, fuzz
from tests.fuzz.mutations import DEEP

KEY = bytes(range(seal.KEY_BYTES))
VECTORS = Dense(np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32))
LIBRARIES = ("hnsw,M=4", "hnswlib,M=4", "usearch,M=4")


@dataclass(frozen=True)
class Kept:
    """A structure as it is kept: the file, its description, what it was built from and with."""

    index: FileIndex
    structure: bytes
    description: bytes
    about: Mapping[str, Any]

    @classmethod
    def of(cls, spec: str) -> Kept:
        """Build an index."""
        index = INDEXES.create(spec)
        assert isinstance(index, FileIndex)
        vectors = {"sha256": digest(VECTORS), "shape": [60, 8]}
        about = {"vectors": vectors, "structure": dict(index.build_key())}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "structure"
            index.save(index.make(VECTORS, silent), path)
            described = _Place(Path(folder), about, KEY).describe(path)
            return cls(index, path.read_bytes(), described, about)

    def read(self, name: str, folder: Path, data: bytes) -> object:
        """What is found with a file of the two in place of the other's; StoreError: built anew."""
        files = {"structure": self.structure, "structure.json": self.description, name: data}
        place = folder / seal.sign(KEY, self.about)[:32]
        place.mkdir(exist_ok=True)
        for each, held in files.items():
            (place / each).write_bytes(held)
        searcher = self.index.open(VECTORS, folder)
        if not searcher.info.reused:
            assert searcher.info.notes == (DAMAGED,)
            assert _search(searcher)  # the one that was built anew
            raise StoreError(DAMAGED)
        return _search(searcher)

    def expect_structure(self, data: bytes) -> object:
        """What the index finds that was written; nothing else may be read."""
        assert data == self.structure
        return self.expect()

    def expect_description(self, data: bytes) -> object:
        """The same with any description that has the seal."""
        assert json.loads(data)["seal"] == json.loads(self.description)["seal"]
        return self.expect()

    def expect(self) -> object:
        """What it finds as it was written."""
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(self.structure)
            return _search(self.index.searcher(self.index.load(Path(file.name)), VECTORS))


def _search(searcher: Searcher) -> object:
    run = searcher.search(Dense(VECTORS.values[:5]), 3, silent).run
    return run.docs.tolist(), run.scores.tolist()


@pytest.mark.parametrize("name", ["structure", "structure.json"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_structures(library, name, tmp_path, monkeypatch):
    monkeypatch.setattr(seal, "user_key", lambda: KEY)
    kept = Kept.of(library)
    seeds, expected, refused = {
        "structure": (kept.structure, kept.expect_structure, (b"", kept.structure[:-1])),
        "structure.json": (kept.description, kept.expect_description, (b"", b"{}", b"[" * DEEP)),
    }[name]
    fuzz(Reader(library, partial(kept.read, name), expected, (seeds,), refused), tmp_path)
