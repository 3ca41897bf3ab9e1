"""Records that a harness of schema 1 wrote, read as those of today and set beside them.

tests/schema1 holds them as they were written: of `hashing` with two indexes, of systems of several
parts, of a run file; and the first baselines of minilm and bm25.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import board, records
from harness.api import evaluate, evaluate_run
from harness.board.entries import of_record
from harness.compare import side
from harness.errors import InputError
from harness.gate import judge
from harness.gate.policy import Policy
from harness.records import PartRecord, Record
from harness.store import Store

WRITTEN = Path(__file__).parent / "schema1"
RESULTS = Path(__file__).parents[2] / "results"
TASK = "limit,docs=40,queries=9,k=2,attributes=5"
SYSTEMS = {
    "exact": "hashing",
    "int8": "hashing@int8",
    "rerank": "rerank:hashing,first=bm25,depth=5",
    "rrf": "rrf:[convex:bm25+hashing,weights=0.4+0.6]+[hashing@int8]",
}
MEASURED = {
    "created",
    "phases",
    "latency",
    "environment",
    "counts",
    "ties",
    "makers",
}  # differ from run to run


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def old(name: str) -> Record:
    return records.load(WRITTEN / f"{name}.json")


def new(name: str, store: Store) -> Record:
    return evaluate(SYSTEMS[name], TASK, measures=["R@2"], latency=3, store=store).record


def without_counts(part: PartRecord) -> PartRecord:
    """A part without what differs from run to run, and what was not written of its index."""
    index = part.index and part.index.model_copy(update={"spec": "", "device": None})
    return part.model_copy(update={"counts": {}, "index": index})


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_old_record_says_what_a_new_one_of_the_same_evaluation_says(name, store):
    before, after = old(name), new(name, store)
    kept = set(Record.model_fields) - MEASURED - {"parts"}
    searched = after.model_dump(include=kept)
    if searched["index"]:
        searched["index"]["device"] = None  # which schema 1 did not tell
    assert before.model_dump(include=kept) == searched
    assert list(map(without_counts, before.parts)) == list(map(without_counts, after.parts))
    assert set(before.counts) == set(after.counts)
    assert before.latency.queries == after.latency.queries == 3
    assert (before.name, before.exact, before.subject) == (after.name, after.exact, after.subject)


@pytest.mark.parametrize("name", SYSTEMS)
def test_phases_are_the_same_but_for_models_and_vectors_that_are_there_already(name, store):
    def said(record: Record) -> list[tuple[str, ...]]:
        return [
            (phase.label, phase.kind, phase.part, phase.of, phase.unit, phase.purpose)
            for phase in record.phases
            if (phase.kind, phase.of) != ("load", "model")
            and not (name == "rrf" and phase.part == "hashing@int8" and phase.kind != "search")
        ]

    assert said(old(name)) == said(new(name, store))


def test_a_run_file_has_no_index(tmp_path):
    before = old("run")
    assert (before.system.source, before.index, before.depth) == ("run", None, 2)
    assert before.name == "run:a.run"
    path = tmp_path / "a.run"  # what schema 1 scored with 0 answers no query
    path.write_text("query_0 Q0 x 1 1 t\n")
    with pytest.raises(InputError, match="no results for the 9 judged queries, as 'query_0'"):
        evaluate_run(path, TASK, measures=["R@2"])
    path.write_text("query_0\tQ0\tAgatha Agarwal\t1\t1\tt\n")
    after = evaluate_run(path, TASK, measures=["R@2"]).record
    assert after.system.full == f"run:{tmp_path.name}/a.run"  # which schema 1 did not tell
    assert (after.system.source, after.index, after.depth) == ("run", None, 2)


def test_a_model_alone_in_numbers():
    """384 numbers of 4 bytes for 46 documents, which the record did not tell."""
    record = old("minilm")
    assert (record.system.representation, record.system.dim) == ("dense", 384)
    assert record.index.model_dump() == {
        "spec": "exact", "full": "exact,block=262144", "exact": True, "bytes": None, "reused": None,
        "device": None, "library": {},
    }  # fmt: skip
    assert (record.depth, record.usage, record.makers, record.parts) == (20, {}, [], [])
    assert record.task.license == "MIT (generated)"
    assert record.main.mean == 0.155
    assert record.environment.processor == "AMD EPYC"
    cost = of_record(record).cost
    assert cost["index_bytes"] == 4 * 384 * 46
    assert cost["texts_per_s"] == pytest.approx(1046 / (2.839394362003077 + 3.9740803290005715))
    assert cost["search_ms"] == pytest.approx(0.04098132999934023)


def test_phases_of_tuning_and_of_plugins():
    data = json.loads((WRITTEN / "rrf.json").read_text())
    data["phases"] = [
        {"name": name, "wall_s": 1, "cpu_s": 1, "peak_mb": 1, "items": 0, "unit": ""}
        for name in ("load dev", "tune on dev: bm25: search", "a: retrieve", "read run", "encode")
    ]
    phases = records.read(data, "x").phases
    assert [(phase.kind, phase.part, phase.of, phase.purpose) for phase in phases] == [
        ("load", "", "dev", "answer"),
        ("search", "bm25", "", "tuning"),
        ("load", "a", "retrieve", "answer"),
        ("load", "", "run", "answer"),
        ("encode", "", "", "answer"),
    ]


@pytest.mark.parametrize("part", ["system", "task", "search", "phases", "scores"])
@pytest.mark.parametrize("value", ["x", 1, [], ["x"], {"spec": "x"}])
def test_what_is_broken_is_refused_in_one_line(part, value, tmp_path):
    path = tmp_path / "record.json"
    data = json.loads((WRITTEN / "rerank.json").read_text()) | {part: value}
    path.write_text(json.dumps(data | ({"scores": value} if part != "scores" else {})))
    with pytest.raises(InputError, match="not a record of this version") as error:
        records.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("details", [{"parts": {"a": 1}}, {"parts": [1, {"name": "x"}]}])
def test_parts_of_a_plugin_may_have_been_anything(details):
    data = json.loads((WRITTEN / "exact.json").read_text())
    data["search"]["details"] = {**details, "weights": [0.5]}
    record = records.read(data, "x")
    assert (record.parts, record.weights) == ([], [0.5])


def test_old_and_new_share_a_board(store, tmp_path):
    """The new one of the same evaluation replaces the old one, and the old approximate one stands
    beside the new exact one.
    """
    shutil.copytree(WRITTEN, tmp_path / "records")
    found = evaluate("hashing", TASK, measures=["R@2"], store=store)
    records.save(found.record, found.per_query, tmp_path / "records")
    made = board.load([tmp_path / "records"])
    assert (made.refused, made.older) == ((), 1)
    assert made.entries["hashing", TASK].created == found.record.created
    assert made.beside_exact("hashing @ int8") == (0.0, 0.25)


@pytest.mark.parametrize("model", ["minilm", "bm25"])
@pytest.mark.parametrize("old_first", [True, False])
def test_the_gate_holds_either_schema_to_the_other(model, old_first, tmp_path):
    """The same scores to the bit, by the values of each query that are kept in results/; the ends
    of intervals are sums in an order that the library chooses.
    """
    for name, record in (("old", WRITTEN / f"{model}.json"), ("new", RESULTS / model)):
        (tmp_path / name).mkdir()
        path = record if name == "old" else record / "limit-small.json"
        shutil.copy(path, tmp_path / name / "limit-small.json")
        values = RESULTS / model / "limit-small.parquet"
        shutil.copy(values, tmp_path / name / "limit-small.parquet")
    assert json.loads((tmp_path / "new" / "limit-small.json").read_text())["schema_version"] == 2
    before, after = (records.load(tmp_path / n / "limit-small.json") for n in ("old", "new"))
    assert before.id == after.id
    assert before.scores.keys() == after.scores.keys()
    for name, score in before.scores.items():
        assert score.mean == after.scores[name].mean
        ends = after.scores[name].low, after.scores[name].high
        assert (score.low, score.high) == pytest.approx(ends, rel=1e-15)
    sides = [side([tmp_path / name]) for name in ("old", "new")]
    held, candidate = sides if old_first else sides[::-1]
    found = judge(held, candidate, Policy(absolute=0.0))
    assert [verdict.status for verdict in found.verdicts] == ["same"]
    assert found.exit_status == 0
