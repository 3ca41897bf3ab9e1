"""Records on disk: whole, exact, and refused in one line when they are something else."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
from pydantic import ValidationError

from harness import disk, records
from harness.api import evaluate
from harness.errors import HarnessError, InputError
from harness.evaluation import Evaluation
from harness.stats import Estimate, without_nan

TASK = "limit,docs=40,queries=9,k=2,attributes=5"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Evaluation:
    return evaluate("hashing,dim=64", TASK, measures=["nDCG@10", "R@2", "RR@10"])


def test_a_record_comes_back_as_it_was(made, tmp_path):
    path = records.save(made.record, made.per_query, tmp_path)
    assert records.load(path) == made.record
    assert records.load_all([tmp_path]) == [(path, made.record)]
    assert sorted(p.suffix for p in tmp_path.rglob("*.*")) == [".json", ".parquet"]


def test_values_of_each_query_average_to_the_score_to_the_bit(made, tmp_path):
    table = records.per_query(records.save(made.record, made.per_query, tmp_path))
    assert table.column_names == ["query_id", "nDCG@10", "R@2", "RR@10"]
    assert table.column("query_id").to_pylist() == [f"query_{i}" for i in range(9)]
    for name, score in made.record.scores.items():
        assert table.column(name).to_numpy().mean() == score.mean
        assert score.low <= score.mean <= score.high


def test_the_name_of_a_file_says_what_it_holds(made, tmp_path):
    path = records.save(made.record, made.per_query, tmp_path)
    digits = "".join(c for c in made.record.created if c.isalnum())
    task = "limit_docs=40_queries=9_k=2_attributes=5"
    assert path.relative_to(tmp_path).as_posix() == (
        f"hashing_dim=64/{task}-exact-{digits}-{made.record.id}.json"
    )


@pytest.mark.parametrize(
    ("spec", "folder"),
    [
        ("st:../../etc/passwd", "st_.._.._etc_passwd"),
        ("../../x", "x"),
        ("..", "_"),
        ("/", "_"),
        ("bm25,k1=0.9", "bm25_k1=0.9"),
    ],
)
def test_no_spec_leads_out_of_the_folder(spec, folder):
    assert disk.slug(spec) == folder


def test_a_long_spec_has_a_short_name_of_its_own():
    one, other = disk.slug("a" * 81), disk.slug("a" * 82)
    assert one.startswith("a" * 60)
    assert len(one) == len(other) == 72
    assert one != other
    assert disk.slug("a" * 80) == "a" * 80


def test_two_records_never_share_a_name(made, tmp_path):
    again = evaluate("hashing,dim=64", TASK, measures=["nDCG@10", "R@2", "RR@10"])
    assert again.record.id == made.record.id
    paths = {records.save(e.record, e.per_query, tmp_path) for e in (made, again)}
    assert len(paths) == 2


def test_a_record_says_what_it_was_made_from(made):
    record = made.record
    assert record.schema_version == 2
    assert record.system.full == "hashing,dim=64"
    assert record.system.representation == "dense"
    assert record.system.dim == 64
    assert record.task.source == (
        "limit,attributes=5,docs=40,k=2,pattern=dense,queries=9,relevant=0,seed=0,synonyms=false"
    )
    assert sorted(record.task.fingerprint) == ["corpus", "qrels", "queries"]
    assert all(len(value) == 64 for value in record.task.fingerprint.values())
    assert record.index.full == "exact,block=262144"
    assert record.depth == 10
    assert record.main_measure == "nDCG@10"
    assert record.main == record.scores["nDCG@10"]
    assert record.bootstrap == {"seed": 0, "resamples": 1000, "level": 0.95}
    environment = record.environment
    assert environment.packages["numpy"] == np.__version__
    assert environment.thread_variables["OMP_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"]
    assert environment.cpus >= 1
    assert environment.memory_gb > 0.1
    assert all((environment.python, environment.platform, environment.processor))


def test_fingerprints_of_data_follow_its_content(made):
    other = evaluate("hashing,dim=64", f"{TASK},seed=1", measures=["R@2"]).record
    same = evaluate("bm25", TASK, measures=["R@2"]).record
    assert same.task.fingerprint == made.record.task.fingerprint
    assert other.task.fingerprint["corpus"] != made.record.task.fingerprint["corpus"]


def test_rewriting_is_part_of_what_was_evaluated(made):
    """The same id for the same scores: what decides a rewriting's results changes it."""

    def identity(rewriting: records.RewritingRecord | None) -> str:
        record = made.record
        return records.identity(record.system, record.task, ("exact", 2), rewriting, ["R@2"])

    def rewriting(spec: str, full: str, **details: str) -> records.RewritingRecord:
        return records.RewritingRecord(spec=spec, full=full, details=details)

    plain, average = identity(None), identity(rewriting("average", "average,depth=3"))
    assert identity(rewriting("average,depth=3", "average,depth=3")) == average
    others = [
        rewriting("average", "average,depth=4"),
        rewriting("average", "average,depth=3", prompt="x"),
    ]
    assert len({plain, average, *map(identity, others)}) == 4


def test_a_record_cannot_be_changed(made):
    with pytest.raises(ValidationError):
        made.record.id = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.record = None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a readable record: Expecting value"),
        ('{"id": "x"', "not a readable record: "),
        ("[1, 2]", "schema_version is None: expected 1 or 2"),
        ('{"scores": {"ndcg": 0.3}}', "schema_version is None: expected 1 or 2"),
        ('{"schema_version": 3}', "schema_version is 3: expected 1 or 2"),
        ('{"schema_version": 1}', "id: Field required: not a record of this version"),
        ('{"schema_version": 2}', "id: Field required: not a record of this version"),
        ("[" * 100_000, "not a readable record: "),
    ],
)
def test_another_file_is_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        records.load(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"scores": {"R@2": {"mean": "high", "low": 0, "high": 1}}}, "scores.R@2.mean: "),
        ({"main_measure": None}, "main_measure: "),
    ],
)
def test_a_record_that_was_edited_is_refused_where_it_is_wrong(made, change, message, tmp_path):
    path = records.save(made.record, made.per_query, tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as error:
        records.load(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a readable record"):
        records.load(path)
    with pytest.raises(InputError, match="no such record or folder"):
        records.load_all([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no records: expected \*\.json files"):
        records.load_all([tmp_path / "empty"])


def test_values_that_are_lost_or_damaged_are_named(made, tmp_path):
    path = records.save(made.record, made.per_query, tmp_path)
    path.with_suffix(".parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"\.parquet: not readable: "):
        records.per_query(path)
    path.with_suffix(".parquet").unlink()
    with pytest.raises(InputError, match=r"\.parquet: not readable: "):
        records.per_query(path)


def test_a_folder_that_cannot_be_written_is_one_line(made, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError) as error:
        records.save(made.record, made.per_query, tmp_path / "file" / "out")
    assert str(error.value).endswith(
        ".json: cannot be written: Not a directory; choose another folder (on the command line "
        "--out DIR)"
    )


def test_a_record_that_exists_has_its_values(made, tmp_path, monkeypatch):
    """The values are written first: a kill between the two leaves no record without them."""
    written = []
    write = disk.write_whole

    def once(path, data):
        if written:
            raise KeyboardInterrupt
        written.append(path.suffix)
        write(path, data)

    monkeypatch.setattr(disk, "write_whole", once)
    with pytest.raises(KeyboardInterrupt):
        records.save(made.record, made.per_query, tmp_path)
    assert written == [".parquet"]
    assert list(tmp_path.rglob("*.json")) == []


def test_scores_are_not_rounded_and_nan_is_none():
    assert without_nan(1 / 3, 0.1, float("nan")) == Estimate(0.3333333333333333, 0.1, None)


def test_a_score_that_is_not_finite_is_no_record(made):
    data = made.record.model_dump()
    data["scores"]["R@2"] = Estimate(float("inf"), 0, 1)
    with pytest.raises(ValidationError):
        records.Record.model_validate(data)
