"""One session: data and vectors are loaded once, arrays stay, grids go on where they were."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import pytest

from harness import results
from harness.data import Queries
from harness.encoders import ENCODERS, user_model
from harness.errors import InputError
from harness.indexes.hnsw import Hnsw
from harness.rewriting import REWRITERS, Rewritten, TextRewriter
from harness.session import Session
from harness.store import Store
from harness.tasks import catalog
from tests.fakes import beir


@pytest.fixture
def task(tmp_path):
    """Three documents, two queries; each query's document shares a word with it."""
    beir(
        tmp_path / "small",
        {"a": "apple", "b": "banana", "c": "cherry"},
        {"q1": "apple pie", "q2": "banana split"},
        [("q1", "a", 1), ("q2", "b", 1)],
    )
    return f"folder:{tmp_path / 'small'}"


@pytest.fixture
def session(tmp_path):
    return Session(Store(tmp_path / "store"), cells=tmp_path / "cells")


def test_data_are_loaded_once(session, task, monkeypatch):
    loaded, load = [], catalog.TaskEntry.load
    monkeypatch.setattr(
        catalog.TaskEntry, "load", lambda entry: loaded.append(entry.spec) or load(entry)
    )
    for model in ("hashing", "bm25"):
        session.evaluate(model, task, measures=["RR@10"])
    assert len(loaded) == 1


def test_vectors_are_those_of_the_model_and_stay_as_they_are(session, task):
    scaled, raw = session.vectors("hashing", task), session.vectors("hashing", task, scaled=False)
    assert np.allclose(np.linalg.norm(scaled.arrays["documents"], axis=1), 1)
    assert session.vectors("hashing", task).documents is scaled.documents
    with pytest.raises(ValueError, match="read-only"):
        raw.arrays["documents"][0] = 0


def test_a_ranking_and_its_values(session, task):
    found = session.task(task, ["RR@10"])
    run = session.rank("bm25", found).run
    assert run.docs[:, 0].tolist() == [0, 1]
    assert session.values(run, found).tolist() == [1.0, 1.0]
    assert session.estimate(session.values(run, found)).mean == 1.0
    assert session.search(session.vectors("hashing", task), 1).docs.tolist() == [[0], [1]]


def swapped(task):
    """The task with its queries changed places: each asks for the other's document."""
    queries = task.collection.queries
    texts = list(reversed(queries.texts))
    return task.changed("swapped", queries=Queries(queries.ids, texts))


def test_a_grid_is_systems_by_variants_by_queries(session, task):
    plain = session.task(task, ["RR@10"])
    grid = session.grid(["bm25", "hashing"], [plain, swapped(plain)])
    assert grid.values.shape == (2, 2, 2)
    assert grid.values[:, 0].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert grid.values[0, 1].tolist() == [0.0, 0.0]  # bm25 finds the other one alone
    assert [variant.name for variant in grid.variants] == [task, f"{task} (swapped)"]
    assert grid.cells[0][1].record.task.spec == f"{task} (swapped)"


def test_a_grid_that_was_killed_goes_on_where_it_was(session, task, monkeypatch):
    plain = session.task(task, ["RR@10"])
    first = session.grid(["bm25"], [plain])
    evaluated, evaluate = [], Session.evaluate

    def counted(self, system, asked, **options):
        evaluated.append((system, asked.label))
        return evaluate(self, system, asked, **options)

    monkeypatch.setattr(Session, "evaluate", counted)
    again = Session(session.store, cells=session.cells)
    grid = again.grid(["bm25", "hashing"], [plain, swapped(plain)])
    assert evaluated == [("bm25", "swapped"), ("hashing", ""), ("hashing", "swapped")]
    assert grid.cells[0][0].values.tolist() == first.cells[0][0].values.tolist()
    assert grid.cells[0][0].run.docs.tolist() == first.cells[0][0].run.docs.tolist()
    assert grid.cells[0][0].record == first.cells[0][0].record


def test_a_fresh_session_replaces_cells(session, task, monkeypatch):
    plain = session.task(task, ["RR@10"])
    first = session.grid(["bm25"], [plain]).cells[0][0].record
    [path] = session.cells.glob("*.json")
    os.utime(path, (time.time() - 60,) * 2)
    fresh = Session(Store(session.store.root, since=time.time() - 30), cells=session.cells)
    made = fresh.grid(["bm25"], [plain]).cells[0][0].record
    assert made.created > first.created
    assert fresh.grid(["bm25"], [plain]).cells[0][0].record == made  # once in a run
    assert session.grid(["bm25"], [plain]).cells[0][0].record == made


@dataclass(frozen=True)
class Spelled(TextRewriter):
    """Queries as they are, by what lies in a file."""

    def rewrite(self, texts, progress, *, root=None):
        return Rewritten(list(texts))


@pytest.mark.parametrize(
    ("described", "asked"), [(Hnsw, {"index": "hnsw"}), (Spelled, {"rewrite": "spelled"})]
)
def test_a_cell_is_known_by_what_indexes_and_rewritings_say_of_themselves(
    session, task, monkeypatch, described, asked
):
    REWRITERS.names()
    monkeypatch.setattr(REWRITERS, "_entries", dict(REWRITERS._entries))
    REWRITERS.register("spelled")(Spelled)
    plain = session.task(task, ["RR@10"])
    first = session.grid(["hashing"], [plain], **asked).cells[0][0].record
    assert session.grid(["hashing"], [plain], **asked).cells[0][0].record == first
    monkeypatch.setattr(described, "describe", lambda self: {"version": "next"})
    again = session.grid(["hashing"], [plain], **asked).cells[0][0].record
    assert again.created > first.created


def test_what_has_no_fingerprint_is_not_known_to_another_process(session, task, monkeypatch):
    ENCODERS.names()
    monkeypatch.setattr(ENCODERS, "_entries", dict(ENCODERS._entries))
    user_model.register("letters")(lambda texts: np.array([[len(text), 1.0] for text in texts]))
    plain = session.task(task, ["RR@10"])
    first = session.grid(["letters"], [plain]).cells[0][0].record
    assert session.grid(["letters"], [plain]).cells[0][0].record == first
    monkeypatch.setattr("harness.systems.PROCESS", "another")
    assert session.grid(["letters"], [plain]).cells[0][0].record.created > first.created


def test_cells_are_records_that_can_be_compared(session, task):
    plain = session.task(task, ["RR@10"])
    session.grid(["bm25", "hashing"], [plain])
    found = results.load(session.cells)
    assert found.systems == ("bm25", "hashing")
    [difference] = found.compare("bm25", "hashing").differences
    assert (difference.items, difference.a, difference.b) == (2, 1.0, 1.0)


@pytest.mark.parametrize("damage", ["json", "parquet", "npz"])
def test_a_damaged_cell_is_made_anew(session, task, damage):
    plain = session.task(task, ["RR@10"])
    first = session.grid(["bm25"], [plain])
    [path] = session.cells.glob(f"*.{damage}")
    path.write_bytes(path.read_bytes()[:40])
    grid = session.grid(["bm25"], [plain])
    assert grid.values.tolist() == first.values.tolist()
    assert grid.cells[0][0].record != first.cells[0][0].record  # made at another time


def test_what_is_wrong_is_said_before_anything_is_computed(session, task):
    plain = session.task(task)
    with pytest.raises(InputError, match="unknown model 'bm52'"):
        session.grid(["bm25", "bm52"], [plain])
    with pytest.raises(InputError, match="no system is named"):
        session.grid([], [plain])
    with pytest.raises(InputError, match="expected dense ones"):
        session.vectors("bm25", task)
    with pytest.raises(InputError, match="name it alone"):
        session.vectors("minilm@hnsw", task)


def test_suites_are_their_tasks(session):
    small = ["limit-small", "limit-1k"]
    assert session.expand("core") == session.expand("limit-small+core") == small
    assert session.expand("[limit,docs=9,queries=5]+core") == ["limit,docs=9,queries=5", *small]
    with pytest.raises(InputError, match="unknown suite 'cores'"):
        session.expand("suite:cores")
