"""Frames: exact round trips, how values are written, verbs, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.frames import Column, Frame, formats
from harness.frames.saved import from_plain, read_parquet
from harness.stats import Estimate, estimate

COLUMNS = [
    Column("system", about="what is ranked"),
    Column("queries", "count"),
    Column("score", "estimate", "high", digits=2),
    Column("fits", "flag"),
    Column("seconds", "seconds", "low"),
]
ROWS = [
    ("bm25", 30, Estimate(0.5, 0.4, 0.6), True, 1.25),
    ("minilm", 1200, Estimate(0.25), False, None),
    ("none", None, None, None, 0.5),
]
FRAME = Frame("Scores", COLUMNS, ROWS, name="scores")

finite = st.floats(allow_nan=False, allow_infinity=False)
estimates = st.builds(Estimate, finite, st.none() | finite, st.none() | finite)
rows = st.lists(
    st.tuples(
        st.none() | st.text(max_size=5),
        st.none() | st.integers(-(2**62), 2**62),
        st.none() | estimates,
        st.none() | st.booleans(),
        st.none() | finite,
    ),
    max_size=4,
)


@given(rows, st.booleans())
def test_a_frame_is_read_back_exactly(cells, turned):
    frame = Frame("“T”", COLUMNS, cells, name="t", turned=turned, shown=not turned)
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(frame.parquet())
        assert read_parquet(Path(file.name)) == frame
    assert from_plain(json.loads(json.dumps(frame.plain(), allow_nan=False))) == frame


def test_a_file_is_read_back(tmp_path):
    (tmp_path / "scores.parquet").write_bytes(FRAME.parquet())
    assert read_parquet(tmp_path / "scores.parquet") == FRAME
    assert FRAME.parquet() == FRAME.parquet()


def test_parquet_is_what_other_tools_read():
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(pa.BufferReader(FRAME.parquet()))
    assert table.column_names == [
        "system", "queries", "score", "score_low", "score_high", "fits", "seconds",
    ]  # fmt: skip
    assert table["score_low"].to_pylist() == [0.4, None, None]
    assert table.schema.field("queries").type == pa.int64()
    about = json.loads(table.schema.metadata[b"harness.frame"])
    assert about["schema"] == 1
    assert about["columns"][2] == {
        "name": "score", "unit": "estimate", "better": "high", "about": "", "digits": 2,
    }  # fmt: skip


def test_pandas_has_columns_for_bounds():
    made = FRAME.to_pandas()
    assert list(made["score"][:2]) == [0.5, 0.25]
    assert math.isnan(made["score_high"][1])
    assert made.attrs["schema"] == 1
    assert made.attrs["columns"][0]["about"] == "what is ranked"


def test_numpy_s_numbers_are_numbers():
    columns = [Column("n", "count"), Column("x", "score"), Column("f", "flag")]
    frame = Frame("t", columns, [(np.int32(3), np.float32(0.5), np.bool_(True))], name="t")
    assert frame.rows == ((3, 0.5, True),)
    assert [type(cell) for cell in frame.rows[0]] == [int, float, bool]


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        (Column("c"), "a", "a"),
        (Column("c"), None, ""),
        (Column("c", "flag"), False, "no"),
        (Column("c", "count"), 12345, "12,345"),
        (Column("c", "count"), None, "–"),
        (Column("c", "bytes"), 2048, "2,048"),
        (Column("c", "number"), 0.123456, "0.1235"),
        (Column("c", "number"), -20.5, "-20.5"),
        (Column("c", "number", digits=1), 1234.56, "1,234.6"),
        (Column("c", "score"), 0.61234, "0.6123"),
        (Column("c", "difference"), 0.01, "+0.0100"),
        (Column("c", "share"), 0.055, "5.5%"),
        (Column("c", "share", digits=0), 0.5, "50%"),
        (Column("c", "relative"), -0.1, "-10.0%"),
        (Column("c", "estimate"), Estimate(0.62, 0.6, 0.65), "0.6200 [0.6000, 0.6500]"),
        (Column("c", "estimate", digits=0), Estimate(5, 4, 6), "5 [4, 6]"),
        (Column("c", "change"), Estimate(-0.08, -0.09, 0.01), "-0.0800 [-0.0900, +0.0100]"),
        (Column("c", "change"), Estimate(0.5), "+0.5000"),
        (Column("c", "p"), 0.0004, "< 0.001"),
        (Column("c", "p"), 1.0, "1.000"),
        (Column("c", "ms"), 1.234, "1.23"),
        (Column("c", "seconds"), 12.34, "12.3"),
        (Column("c", "rate"), 1234.5, "1,234"),
    ],
)
def test_how_values_are_written(column, cell, expected):
    assert column.write(cell) == expected


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("number", "-1e-05"),
        ("score", "0.0000"),
        ("difference", "+0.0000"),
        ("relative", "+0.0%"),
        ("rate", "0"),
    ],
)
def test_what_rounds_to_nothing_has_no_hyphen(unit, expected):
    assert formats.write(-0.00001, unit) == expected


def test_an_interval_has_no_negative_zero():
    estimate = Estimate(-0.00001, -0.00002, 0.0)
    assert formats.interval(estimate, signed=True) == "+0.0000 [+0.0000, +0.0000]"


def test_every_unit_is_written():
    for unit in set(formats.UNITS) - {"text", "link", *formats.INTERVALS}:
        assert Column("c", unit).write(1)


def test_a_table():
    table = FRAME.table()
    assert table.header == ["system", "queries", "score", "fits", "seconds"]
    assert table.rows[0] == ["bm25", "30", "0.50 [0.40, 0.60]", "yes", "1.2"]
    assert table.rows[2] == ["none", "–", "–", "", "0.5"]
    assert table.numeric == {1, 2, 4}
    assert FRAME.table(room=2).header == ["system", "queries"]


def test_a_turned_table_has_a_row_a_column():
    columns = [Column("set"), Column("vectors", "count", about="looked at"), Column("x", "share")]
    rows = [("documents", 10, 0.5), ("reference", None, 1)]
    table = Frame("Vectors", columns, rows, name="v", turned=True).table()
    assert table.header == ["set", "documents", "reference", "meaning"]
    assert table.rows == [["vectors", "10", "–", "looked at"], ["x", "50.0%", "100.0%", ""]]
    assert table.numeric == {1, 2}


def test_verbs():
    assert FRAME["queries"] == (30, 1200, None)
    assert FRAME.numbers("score")[:2] == [0.5, 0.25]
    assert FRAME.estimates("score") == [Estimate(0.5, 0.4, 0.6), Estimate(0.25)]
    assert FRAME.where("system", "none", "bm25")["system"] == ("bm25", "none")
    assert FRAME.sorted_by("score")["system"] == ("minilm", "bm25", "none")
    assert FRAME.sorted_by("queries", descending=True)["queries"] == (1200, 30, None)
    assert FRAME.select("seconds", "system").rows[0] == (1.25, "bm25")
    assert FRAME.with_column(Column("k", "count"), [1, 2, 3]).records()[2]["k"] == 3
    assert FRAME.where("system", "bm25").shown
    assert len(FRAME) == 3


def test_a_pivot():
    columns = [Column("task"), Column("k", "count"), Column("score", "score", about="mean")]
    long = Frame("l", columns, [("a", 1, 0.1), ("b", 1, 0.2), ("a", 10, 0.3)], name="l")
    wide = long.pivot("task", "k", "score", title="Wide", name="wide")
    assert wide.table().header == ["task", "1", "10"]
    assert wide.rows == (("a", 0.1, 0.3), ("b", 0.2, None))
    assert wide.column("10").unit == "score"
    with pytest.raises(ValueError, match="two values of a, 1"):
        Frame("l", columns, [("a", 1, 0.1), ("a", 1, 0.2)], name="l").pivot(
            "task", "k", "score", title="", name="w"
        )


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        (["a", "a"], (1, 2), "two columns have one name"),
        (["a", "b"], (1,), "1 cells, 2 columns"),
        (["a"], (math.nan,), "holds nan: expected a number or None"),
        (["a"], (math.inf,), "holds inf"),
        (["a"], (10**400,), "holds 1000"),
    ],
)
def test_what_is_no_frame(columns, row, message):
    with pytest.raises(ValueError, match=message):
        Frame("t", [Column(name, "number") for name in columns], [row], name="t")


def test_what_is_no_value_of_a_column():
    for unit, cell in (("text", 1), ("flag", "no"), ("estimate", 0.5), ("count", 0.5)):
        with pytest.raises(TypeError):
            Frame("t", [Column("c", unit)], [(cell,)], name="t")
    with pytest.raises(ValueError, match="holds 9223372036854775808: expected a number or None"):
        Frame("t", [Column("c", "count")], [(2**63,)], name="t")
    with pytest.raises(InputError, match="unit 'scores': expected one of"):
        Column("c", "scores")
    with pytest.raises(KeyError, match="has no column 'model': system, queries"):
        FRAME["model"]


def test_what_holds_no_frame(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("no")
    for name, message in (
        ("other.parquet", "not a frame"),
        ("text.parquet", "not a readable Parquet file"),
        ("none.parquet", "cannot be read: No such file"),
    ):
        with pytest.raises(InputError, match=message):
            read_parquet(tmp_path / name)
    for name, wrong in (("rows", ""), ("title", 1), ("shown", 1), ("columns", [{"name": "a"}])):
        with pytest.raises(InputError, match=f"not a frame: {name}"):
            from_plain({**FRAME.plain(), name: wrong})
    with pytest.raises(InputError, match="a frame of schema 2: this version reads 1"):
        from_plain({**FRAME.plain(), "schema": 2})


def test_an_estimate():
    found = estimate(np.array([0.0, 0.5, 1.0]), 7)
    assert found.mean == 0.5
    assert 0 <= found.low < 0.5 < found.high <= 1
    assert Estimate(0.5, 0.1, 0.9).significant
    assert Estimate(-0.5, -0.9, -0.1).significant
    assert not Estimate(0.5, -0.1, 0.9).significant
    assert not Estimate(0.5).significant
