"""One session: data and vectors are loaded once, arrays stay, grids go on where they were."""

from __future__ import annotations

import numpy as np
import pytest

from harness import results
from harness.data import Queries
from harness.errors import InputError
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
