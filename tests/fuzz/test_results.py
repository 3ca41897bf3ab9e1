"""Results: records, the values of each query, MTEB's files, studies and their cells."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import board, records
from harness.analysis import insertion
from harness.api import evaluate
from harness.cli import board as cli_board
from harness.disk import foreign
from harness.evaluation import Evaluation
from harness.exchange import mteb
from harness.frames import Column, Frame
from harness.frames.saved import from_plain, read_parquet
from harness.records import Record
from harness.records.item_values import read_items
from harness.report import findings, tables
from harness.stats import Estimate
from tests.fuzz.frame import Reader, fuzz, in_file
from tests.fuzz.mutations import DEEP, damaged_tables, write_table

STYLES = ("markdown", "latex")
SCHEMA1 = Path(__file__).parents[1] / "records" / "schema1"
MTEB = {
    "task_name": "T",
    "dataset_revision": "r1",
    "mteb_version": "2.0.0",
    "scores": {
        "test": [
            {"main_score": 0.5, "ndcg_at_10": 0.5, "hf_subset": "en", "languages": ["eng-Latn"]},
            {"main_score": 0.25, "ndcg_at_10": 0.25, "hf_subset": "de", "languages": ["deu-Latn"]},
        ],
        "dev": [{"main_score": -1, "hf_subset": "default", "languages": []}],
    },
    "evaluation_time": 3.5,
    "date": 1700000000.25,
}


@cache
def _made() -> Evaluation:
    task = "limit,docs=40,queries=9,k=2,attributes=5"
    return evaluate("hashing,dim=64", task, measures=["R@2", "nDCG@10"])


def _record() -> bytes:
    return _made().record.model_dump_json().encode()


def _show(path: Path) -> Record:
    """A record, after all that shows one has shown it."""
    record = records.load(path)
    board.of_record(record, path)
    for shown in ([*tables.scores([record]), *tables.families([record])], tables.details(record)):
        for style in STYLES:
            tables.write(shown, style)
    return record


def _read_record(path: Path) -> object:
    record = _show(path)
    set_fields = record.model_dump(mode="json", exclude_unset=True)
    set_fields.pop("lower_is_better", None)
    return _plain(set_fields)


def _expect_record(data: bytes) -> object:
    found = json.loads(data)
    found.pop("lower_is_better", None)
    return _plain(found)


def _plain(value: Any) -> Any:
    """JSON whose numbers are floats, keys in order."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in sorted(value.items())}
    if isinstance(value, list):
        return list(map(_plain, value))
    return float(value) if type(value) is int else value


def _read_old(path: Path) -> object:
    record = _show(path)
    means = {name: score.mean for name, score in record.scores.items()}
    return record.system.spec, record.task.spec, _plain(means)


def _expect_old(data: bytes) -> object:
    found = json.loads(data)
    means = {key: score["mean"] for key, score in found["scores"].items()}
    return found["system"]["spec"], found["task"]["spec"], _plain(means)


NUMBERS = {"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
NUMBERS |= {"halffloat", "float", "double"}  # columns of other types are none of values


def _values() -> bytes:
    return write_table(pa.table(dict(_made().per_query)))


def _read_values(path: Path) -> object:
    found = read_items(path, _made().record)
    return found.ids, {name: values.tolist() for name, values in found.columns.items()}


def _expect_values(data: bytes) -> object:
    table = pq.ParquetFile(BytesIO(data)).read()
    assert len(set(table.column_names)) == table.num_columns
    columns = {
        name: np.array([float(one) for one in table.column(name).to_pylist()]).tolist()
        for name in _made().record.scores
        if name in table.column_names and str(table.schema.field(name).type) in NUMBERS
    }
    for name, values in columns.items():
        assert np.mean(values) == pytest.approx(_made().record.scores[name].mean, abs=1e-6)
    return list(map(str, table.column(0).to_pylist())), columns


def _read_mteb(path: Path) -> object:
    result = mteb.read(foreign.read_json(path))
    mteb.measure(result.parts)
    parts = [(part.split, part.subset, part.languages, part.main) for part in result.parts]
    return result.task, parts


def _expect_mteb(data: bytes) -> object:
    found = json.loads(data)
    parts = [
        (split, row["hf_subset"], tuple(row["languages"]), float(row["main_score"]))
        for split, rows in found["scores"].items()
        for row in rows
    ]
    return found["task_name"], parts


FINDINGS = {
    "schema": 1, "study": "ann", "systems": ["a", "b"], "task": "t", "seed": 0, "created": "",
    "environment": {}, "headline": "a is best", "notes": ["few queries"],
    "frames": [Frame("Scores", [Column("system"), Column("nDCG@10", "estimate", "high"),
                                Column("n", "count")],
                     [["a", Estimate(0.5, 0.25, 0.75), 3], ["b", None, None]], name="s").plain()],
}  # fmt: skip


def _read_findings(path: Path) -> object:
    found = findings.load_findings(path.parent)
    frames = found.findings.frames
    for frame in frames:
        tables.write([frame.table()], "markdown")
    rows = [
        [[asdict(cell) if isinstance(cell, Estimate) else cell for cell in row] for row in one.rows]
        for one in frames
    ]
    return found.about.study, list(found.about.systems), found.findings.headline, rows


def _expect_findings(data: bytes) -> object:
    found = json.loads(data)
    rows = [frame["rows"] for frame in found["frames"]]
    return found["study"], found["systems"], found["headline"], rows


def _read_frame(path: Path) -> object:
    frame = read_parquet(path)
    tables.write([frame.table()], "markdown")
    return len(frame.rows)


def _expect_frame(data: bytes) -> object:
    table = pq.ParquetFile(BytesIO(data)).read()
    json.loads(table.schema.metadata[b"harness.frame"])
    return table.num_rows


def _read_families(path: Path) -> object:
    return cli_board._read_families(path)


DEEPEST = (b"[" * DEEP, b'{"schema_version":' * DEEP)
READERS = [
    Reader("record", in_file("r.json", _read_record), _expect_record, (_record(),),
           (*DEEPEST, b"", b"1", b"{}", b"\xff")),
    *(
        Reader(f"record of schema 1, {path.stem}", in_file("r.json", _read_old), _expect_old,
               (path.read_bytes(),), DEEPEST)
        for path in sorted(SCHEMA1.glob("*.json"))
    ),
    Reader("values", in_file("r.parquet", _read_values), _expect_values, (_values(),), (b"",),
           damage=damaged_tables),
    Reader("mteb", in_file("T.json", _read_mteb), _expect_mteb, (json.dumps(MTEB).encode(),),
           (*DEEPEST, b"", b"{}")),
    Reader("numbers.json", in_file("numbers.json", _read_findings), _expect_findings,
           (json.dumps(FINDINGS).encode(),), (*DEEPEST, b"", b"{}", b"[]", b"1")),
    Reader("frame", in_file("f.parquet", _read_frame), _expect_frame,
           (from_plain(FINDINGS["frames"][0]).parquet(),), (b"",), damage=damaged_tables),
    Reader("families", in_file("f.json", _read_families), json.loads, (b'{"STS12": "STS"}',),
           (*DEEPEST, b"[]", b'{"a": 1}')),
    Reader("labels", in_file("l.json", insertion._labels),
           lambda data: {id: str(label) for id, label in json.loads(data).items()},
           (b'{"d1": "a", "d2": 3}',), (*DEEPEST, b"[]")),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_results(reader, tmp_path):
    fuzz(reader, tmp_path)
