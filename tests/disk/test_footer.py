"""Footers of Parquet: the sizes that pyarrow tells of good files, and one error for all others."""

from __future__ import annotations

from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.disk import footer, parquet
from harness.disk.footer import NoFooterError, RowGroup, read_groups
from harness.errors import InputError


def written(table: pa.Table, **options: object) -> bytes:
    out = BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


TABLE = pa.table({
    "id": ["a", "b", "c"],
    "flag": [True, None, False],
    "half": pa.array([0.5, 1.5, -2.0], pa.float64()),
    "several": [["x", "y"], [], None],
})  # fmt: skip


def test_sizes_are_those_that_pyarrow_tells():
    data = written(TABLE, row_group_size=2)
    about = pq.ParquetFile(BytesIO(data)).metadata
    expected = []
    for group in (about.row_group(at) for at in range(about.num_row_groups)):
        columns = [group.column(at) for at in range(group.num_columns)]
        values = sum(column.num_values for column in columns)
        sizes = tuple(column.total_uncompressed_size for column in columns)
        expected.append(RowGroup(group.total_byte_size, values, sizes))
    assert read_groups(BytesIO(data)) == expected
    # three flat columns of 2 rows, and x, y and an empty list; of one row, and none
    assert [group.values for group in expected] == [3 * 2 + 3, 3 * 1 + 1]


def test_a_footer_of_many_groups_and_of_none():
    many = written(pa.table({"n": list(range(40))}), row_group_size=1)
    assert [group.values for group in read_groups(BytesIO(many))] == [1] * 40
    empty = read_groups(BytesIO(written(TABLE.slice(0, 0))))
    assert sum(group.values for group in empty) == 0


def test_sizes_that_do_not_fit_their_column_end_in_one_line(tmp_path):
    """pyarrow's accessor of such a column ends the process: text becomes a float in the schema."""
    data = written(pa.table({"id": ["a"], "text": ["b"]}))
    size = int.from_bytes(data[-8:-4], "little")
    head, foot = data[: -8 - size], data[-8 - size : -8]
    byte_array, float_ = b"\x15\x0c\x25\x02\x18\x04text", b"\x15\x08\x25\x02\x18\x04text"
    assert foot.count(byte_array) == 1
    path = tmp_path / "t.parquet"
    path.write_bytes(head + foot.replace(byte_array, float_) + data[-8:])
    with pytest.raises(InputError, match=r"t\.parquet: not a readable Parquet file: "):
        list(parquet.read_rows(path))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1",
        b"\x00\x00\x00\x00PAR1",  # no byte of a footer
        b"\x00\x09\x00\x00\x00PAR1",  # longer than the file
        b"\x00\x01\x00\x00\x00PARE",  # encrypted
        b"\x00\x01\x00\x00\x00PAR1",  # no groups
        b"\x49\x1c\x00\x02\x00\x00\x00PAR1",  # a group that ends at once
        b"\x49\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x0b\x00\x00\x00PAR1",  # 2^63 of them
        b"\x19\xf7\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x0b\x00\x00\x00PAR1",  # 2^63 numbers
        b"\x1c" * 100_000 + (100_000).to_bytes(4, "little") + b"PAR1",  # deep
    ],
)
def test_what_is_no_footer(data):
    with pytest.raises(NoFooterError, match="no footer of Parquet ends it"):
        read_groups(BytesIO(data))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        found = read_groups(BytesIO(data + len(data).to_bytes(4, "little") + footer.MAGIC))
    except NoFooterError:
        return
    assert all(group.bytes >= 0 and group.values >= 0 for group in found)
