"""Parquet of others: what unpacks to gigabytes is refused in one line and in little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.disk import parquet
from harness.errors import InputError

LONG, ROWS = 1 << 22, 256  # a gigabyte within one batch
MOST_MB = 500  # of a whole process: 440 are taken, of which libraries take 80
COLLECTION = "from harness.sources import files; list(files.rows(path))"
WORDS = "from harness.encoders import word_vectors as w; w.word_vectors(str(path.parent)).load()"
CODE = """
import sys
from pathlib import Path
from harness.errors import InputError
from harness.pipeline.phases import peak_mb
path = Path(sys.argv[1])
try:
    {read}
except InputError as error:
    print(error)
print(peak_mb())
"""


def write_shared(path: Path, **options: Any) -> None:
    """One text, kept once for all rows, also where they are read."""
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), ["x" * LONG])
    pq.write_table(pa.table({"text": rows}), path, compression="zstd", **options)


def write_equal(path: Path) -> None:
    """One text, kept once for all rows, and read as many."""
    write_shared(path, store_schema=False)


def write_prefixes(path: Path) -> None:
    """Texts that all begin like the first."""
    how = {"text": "DELTA_BYTE_ARRAY"}
    table = pa.table({"text": ["x" * LONG + str(number) for number in range(128)]})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, column_encoding=how)


def write_nothings(path: Path) -> None:
    """One row, a list of many nothings."""
    n = 1 << 27
    nothings = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.nulls(n, pa.int8()))
    pq.write_table(pa.table({"text": nothings}), path, compression="zstd")


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_shared, COLLECTION),
        (write_equal, COLLECTION),
        (write_prefixes, COLLECTION),
        (write_nothings, COLLECTION),
        (write_equal, WORDS),
    ],
)
def test_what_unpacks_to_gigabytes_is_refused_in_little_memory(
    tmp_path: Path, write: Callable[[Path], None], read: str
) -> None:
    path = tmp_path / "words.parquet"
    write(path)
    assert path.stat().st_size < 500_000
    np.save(tmp_path / "rows.npy", np.ones((1, 2), np.float32))
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(read=read), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    said, peak = run.stdout.splitlines()
    assert said.startswith(f"{path}: unpacks to more than 67,108,864 bytes, which text never does")
    assert float(peak) < MOST_MB


def test_rows_of_a_dictionary_and_of_lists(tmp_path: Path) -> None:
    colours = pa.array(["red", "blue", "red"]).dictionary_encode()
    inner = pa.StructArray.from_arrays([colours], ["of"])
    table = pa.table({"a": colours, "b": inner, "c": [[1], None, []]})
    pq.write_table(table, path := tmp_path / "a.parquet")
    assert list(parquet.read_rows(path)) == [
        (f"{path} row 1", {"a": "red", "b": {"of": "red"}, "c": [1]}),
        (f"{path} row 2", {"a": "blue", "b": {"of": "blue"}, "c": None}),
        (f"{path} row 3", {"a": "red", "b": {"of": "red"}, "c": []}),
    ]


@pytest.mark.parametrize("name", ["text", ""])
def test_two_columns_of_one_name_are_refused(tmp_path, name):
    pq.write_table(pa.table([["a"], ["b"]], names=[name, name]), path := tmp_path / "t.parquet")
    with pytest.raises(InputError, match=f"2 columns '{name}': expected one"):
        list(parquet.read_rows(path))


def test_rows_that_a_damaged_page_loses_are_missed(tmp_path):
    """A byte of the second column's page header: no values in place of two."""
    path = tmp_path / "t.parquet"
    table = pa.table({"id": ["q1", "q2"], "text": ["d1", "d2"]})
    pq.write_table(table, path, compression="none", data_page_version="1.0")
    data = path.read_bytes()
    at = data.rindex(b"\x04\x15\x10\x15\x06\x15\x06", 0, data.rindex(b"schema"))
    assert [row for _, row in parquet.read_rows(path)] == table.to_pylist()
    path.write_bytes(data[:at] + b"\x00" + data[at + 1 :])
    with pytest.raises(InputError, match=r"t\.parquet: 0 rows where its footer tells of 2 rows: d"):
        list(parquet.read_rows(path))
