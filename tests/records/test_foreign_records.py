"""Records that others wrote: what is strange is refused and named, and stops no command."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import harness
from harness import board, records
from harness.api import evaluate
from harness.errors import InputError, RefusedWarning
from harness.records import Record, columns

TASK = "limit,docs=40,queries=9,k=2,attributes=5"


@cache
def real(model: str = "bm25") -> harness.Evaluation:
    return evaluate(model, TASK, measures=["R@2"])


def changed(**fields: Any) -> str:
    return json.dumps({**json.loads(real().record.model_dump_json()), **fields})


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def index(**fields: Any) -> dict[str, Any]:
    return {"spec": "exact", "full": "exact", "exact": True, **fields}


STRANGE = {
    "main": (changed(main_measure="x"), "main_measure 'x' is not among the scores"),
    "bytes": (changed(index=index(bytes="many")), "index.bytes: Input should be a valid integer"),
    "size": (changed(index=index(bytes=10**30)), "index.bytes: 1000000000000000000000000000000: "),
    "latency": (changed(latency=[1, 2]), "latency: "),
    "parts": (changed(parts=[{"system": "a", "counts": "many"}]), "parts.0.counts: "),
    "counts": (changed(counts="many"), "counts: "),
    "created": (changed(created="yesterday"), "created: Value error, Invalid isoformat string"),
    "local": (changed(created="2026-01-01T00:00:00+05:00"), "expected a time in UTC, as 2026-01"),
    "compact": (changed(created="20260101T000000Z"), "expected a time in UTC, as 2026-01"),
    "when": (changed(created=20260101), "created: Input should be a valid string"),
    "nan": (changed(scores={"R@2": {"mean": float("nan")}}), "scores.R@2.mean: nan: expected a "),
    "large": (changed(scores={"R@2": {"mean": 1e300}}), "scores.R@2.mean: 1e+300: expected a "),
    "long": (changed(system=10**400), "system: 1000000000000000000000000000000000000000: expected"),
    "deep": (changed(bootstrap={"x": nested(70)}), "nested more than 64 levels deep"),
    "old": (json.dumps({"schema_version": 1, "search": {"details": []}}), "not a record of schema"),
    "times": (
        json.dumps({"schema_version": 1, "search": {"details": {"latency_ms": {"p95": 1}}}}),
        "p50",
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_strange_is_refused_and_named(name, tmp_path):
    text, why = STRANGE[name]
    path = tmp_path / "strange.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        records.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert why in str(caught.value)


def test_one_strange_record_stops_no_command(run, tmp_path):
    for model in ("bm25", "hashing,dim=64"):
        records.save(real(model).record, real(model).per_query, tmp_path / "records")
    one, other = sorted((tmp_path / "records").iterdir())
    for folder in (one, other):
        for name, (text, _) in STRANGE.items():
            (folder / f"{name}.json").write_text(text)
        os.mkfifo(folder / "pipe.json")
        (folder / "zero.json").symlink_to("/dev/zero")
    both = tmp_path / "records"
    for words in (
        ["show", both],
        ["compare", one, other],
        ["export", "mteb", both, "-o", tmp_path / "mteb"],
        ["baseline", "freeze", one, "-o", tmp_path / "base"],
        ["gate", one, "-b", tmp_path / "base"],
        ["leaderboard", both, "--html", tmp_path / "page.html"],
    ):
        done = run(*words)
        assert done.status == 0, done.err
        if words[0] == "leaderboard":
            assert "36 files refused" in done.out
        else:
            many = "36" if both in words else "18"
            assert f"{many} files left out, as no records: {one}" in done.err
    with pytest.warns(RefusedWarning, match=r"^36 files left out, as no records: "):
        assert len(harness.load(both)) == 2


@pytest.mark.parametrize(("files", "end"), [(3, "expected 1 or 2"), (4, "; ...")])
def test_the_first_three_files_that_are_no_records_are_named(files, end, tmp_path):
    for i in range(files):
        (tmp_path / f"{i}.json").write_text("{}")
    with pytest.raises(InputError, match=f"no records: {files} files left out") as caught:
        records.load_all([tmp_path])
    assert str(caught.value).count(".json") == 3
    assert str(caught.value).endswith(end)


def test_a_phase_of_no_time_has_no_rate(run, tmp_path):
    record = real().record
    phases = [{**json.loads(record.model_dump_json())["phases"][0], "wall_s": 0, "items": 5}]
    (tmp_path / "a.json").write_text(changed(phases=phases))
    assert run("show", tmp_path / "a.json").status == 0


@pytest.mark.parametrize("parts", [1, [], [{}], [{"fingerprint": {}}], [{"prompts": {}}], ["a"]])
def test_a_fingerprint_that_only_looks_composite_is_compared(run, tmp_path, parts):
    known = real().record
    fingerprint = {"retriever": "rrf:a+b", "parts": parts}
    system = known.system.model_copy(update={"spec": "strange", "fingerprint": fingerprint})
    strange = known.model_copy(update={"system": system})
    paths = [records.save(one, real().per_query, tmp_path / "all") for one in (known, strange)]
    assert run("compare", *paths).status == 0
    assert run("leaderboard", tmp_path / "all").status == 0


def write_columns(path: Path, **values: Any) -> Path:
    pq.write_table(pa.table(values), path.with_suffix(".parquet"))
    return path


def test_columns_are_ids_and_numbers(tmp_path):
    path = tmp_path / "a.json"
    write_columns(path, query_id=["q", "p"], x=[1.0, 0.5], text=["a", "b"], many=[[1], [2, 3]])
    assert records.per_query(path).to_pydict() == {"query_id": ["q", "p"], "x": [1.0, 0.5]}
    write_columns(path, pair=[0, 1], gold=[1, 0])
    assert records.per_query(path).column_names == ["pair", "gold"]
    write_columns(path, x=[[1], [2]])
    with pytest.raises(InputError, match=r"a\.parquet: x is of type list.*: expected ids"):
        records.per_query(path)
    twice = pa.table([["q"], [1.0], [2.0]], names=["query_id", "x", "x"])
    pq.write_table(twice, path.with_suffix(".parquet"))
    with pytest.raises(InputError, match="columns query_id, x, x: expected different names"):
        records.per_query(path)


def test_ids_that_are_no_text_are_refused(tmp_path):
    broken = pa.array([b"q\xff", b"p"]).view(pa.string())
    path = write_columns(tmp_path / "a.json", query_id=broken, x=[1.0, 0.5])
    with pytest.raises(InputError, match=r"a\.parquet: not readable: .*UTF8"):
        records.per_query(path)


@pytest.mark.parametrize("ids", [[], ["q", None], [None, None]])
def test_ids_that_are_none_have_no_bytes(ids, tmp_path):
    path = tmp_path / "a.json"
    write_columns(path, query_id=pa.array(ids, pa.string()), x=[1.0] * len(ids))
    assert records.per_query(path).column("query_id").to_pylist() == ids


def test_how_many_rows_there_are_is_known_before_they_are_read(tmp_path, monkeypatch):
    """20 million equal rows are a file of less than a megabyte."""
    path = write_columns(tmp_path / "a.json", query_id=["q"] * 9, x=[1.0] * 9)
    monkeypatch.setattr(columns, "ROWS", 8)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    with pytest.raises(InputError, match="9 rows of 2 columns: expected at most 8 rows"):
        records.per_query(path)


def test_long_ids_that_are_equal_are_not_unpacked(tmp_path, monkeypatch):
    path = write_columns(tmp_path / "a.json", query_id=["q" * 100] * 9, x=[1.0] * 9)
    monkeypatch.setattr(columns, "IDS", 899)
    with pytest.raises(InputError, match="900 bytes of ids: expected at most 899"):
        records.per_query(path)


def test_an_id_that_is_long_is_not_read(tmp_path, monkeypatch):
    """One id of a gigabyte is a file of 34 kB."""
    path = write_columns(tmp_path / "a.json", query_id=["q" * 1000], x=[1.0])
    monkeypatch.setattr(columns, "IDS", 899)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    with pytest.raises(InputError, match="bytes of ids: expected at most 899"):
        records.per_query(path)


def test_a_page_reads_no_folder_that_a_foreign_record_names(run, tmp_path):
    """Texts are shown where they are asked for, and then of the very data alone."""
    private = tmp_path / "private"
    (private / "qrels").mkdir(parents=True)
    (private / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n')
    (private / "queries.jsonl").write_text('{"_id": "query_0", "text": "SECRET"}\n')
    (private / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nquery_0\td\t1\n")
    for model in ("bm25", "hashing,dim=64"):
        known: Record = real(model).record
        task = known.task.model_copy(update={"spec": f"folder:{private}"})
        foreign = known.model_copy(update={"task": task})
        records.save(foreign, real(model).per_query, tmp_path / "records")
    for more in ([], ["--texts"]):
        page = tmp_path / "page.html"
        done = run("leaderboard", tmp_path / "records", "--html", page, *more)
        assert done.status == 0, done.err
        assert "SECRET" not in page.read_text("utf-8")
    assert board.load([tmp_path / "records"]).systems == ("bm25", "hashing,dim=64")
