from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.disk.lines import read_lines
from harness.errors import InputError
from harness.sources import files
from tests.sources.writing import complaint, write_bytes, write_rows

QUICK = settings(max_examples=100, deadline=None, derandomize=True)


def read(path: Path) -> list[tuple[str, files.Row]]:
    return list(files.rows(path))


def error(path: Path) -> str:
    """What reading a file complains of, the folder cut off."""
    return complaint(lambda: read(path)).replace(f"{path.parent}{os.sep}", "")


def test_every_row_comes_with_its_line(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.jsonl", b'{"x": 1}\n\n  \n{"x": 2}')
    assert read(path) == [(f"{path}:1", {"x": 1}), (f"{path}:4", {"x": 2})]
    path = write_bytes(tmp_path / "a.tsv", b"x\ty\n\n1\t2\n")
    assert read(path) == [(f"{path}:3", {"x": "1", "y": "2"})]
    path = write_bytes(tmp_path / "a.csv", b'\nx,y\n1,2\n\n3,"a\nb"\n')
    assert read(path) == [
        (f"{path}:3", {"x": "1", "y": "2"}),
        (f"{path}:6", {"x": "3", "y": "a\nb"}),
    ]
    path = write_rows(tmp_path / "a.parquet", [{"x": 1}, {"x": 2}])
    assert read(path) == [(f"{path} row 1", {"x": 1}), (f"{path} row 2", {"x": 2})]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_leave_no_trace(
    tmp_path: Path, name: str, mark: bytes, end: bytes
) -> None:
    path = write_bytes(tmp_path / name, mark + end.join([b'{"x": "\xc3\xa9 "}', b"", b'{"x": 2}']))
    assert read(path) == [(f"{path}:1", {"x": "é "}), (f"{path}:3", {"x": 2})]


def test_table_header_after_a_byte_order_mark(tmp_path: Path) -> None:
    for name, data in {
        "a.tsv": b"\xef\xbb\xbfx\ty\r\n1\t2\r\n",
        "a.csv": b"\xef\xbb\xbfx,y\r\n1,2\r\n",
    }.items():
        assert [row for _, row in read(write_bytes(tmp_path / name, data))] == [
            {"x": "1", "y": "2"}
        ]


def test_separators_of_unicode_do_not_end_a_line(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.jsonl", '{"x": "a\u2028b\x85c\x0bd"}\n{"x": 2}\n'.encode())
    # a control character must be escaped in JSON: only the others may stand there
    assert "a.jsonl:1: broken JSON: Invalid control character" in error(path)
    path = write_bytes(tmp_path / "b.jsonl", '{"x": "a\u2028b\x85c"}\n{"x": 2}\n'.encode())
    assert [row["x"] for _, row in read(path)] == ["a\u2028b\x85c", 2]
    path = write_bytes(tmp_path / "b.tsv", "x\ty\na\u2028b\tc\x85\x0bd\n".encode())
    assert [row for _, row in read(path)] == [{"x": "a\u2028b", "y": "c\x85\x0bd"}]


def test_quotes_are_ordinary_in_tsv(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.tsv", b'x\ty\n"a\t"" b\n')
    assert [row for _, row in read(path)] == [{"x": '"a', "y": '"" b'}]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b'{"x": 1}\n{"x": \n', "a.jsonl:2: broken JSON: Expecting value"),
        ("a.jsonl", b'{"x": 1} {"x": 2}\n', "a.jsonl:1: broken JSON: Extra data"),
        pytest.param("a.jsonl", b"[" * 200_000, "a.jsonl:1: broken JSON: ", id="deep"),
        ("a.jsonl", b'{"x": ' + b"1" * 5000 + b"}", "a.jsonl:1: broken JSON: Exceeds the limit"),
        ("a.jsonl", b'\n["x"]\n', "a.jsonl:2: expected a JSON object, got list"),
        ("a.jsonl", b"null\n", "a.jsonl:1: expected a JSON object, got NoneType"),
        ("a.jsonl", b'{"x": 1}\n{"x": "\xff"}', "a.jsonl:2: byte 7 is not UTF-8"),
        ("a.jsonl.gz", b'{"x": "\xe9"}', "a.jsonl.gz:1: byte 7 is not UTF-8"),
        ("a.tsv", b"x\ty\n1\t2\n1\t2\t3\n", "a.tsv:3: 3 fields: expected 2"),
        ("a.tsv", b"x\ty\n1\n", "a.tsv:2: 1 field: expected 2"),
        ("a.csv", b"x,y\n1,2\n\n1,2,3\n", "a.csv:4: 3 fields: expected 2"),
        ("a.csv", b"x,y\n1\n", "a.csv:2: 1 field: expected 2"),
        ("a.csv", b'x,y\n1,2\n"1"2,3\n', "a.csv:3: broken CSV: ',' expected after '\"'"),
        ("a.csv", b'x,y\n1,"2\n3,4\n', "a.csv:3: broken CSV: unexpected end of data"),
        ("a.csv", b"x,y\n1,\xff\n", "a.csv:2: byte 2 is not UTF-8"),
        ("a.parquet", b"PAR1", "a.parquet: not a readable Parquet file: "),
        ("a.parquet", b"", "a.parquet: not a readable Parquet file: "),
        ("a.xml", b"<x/>", "a.xml: unknown suffix: expected jsonl, csv, tsv, parquet"),
        ("a", b"x", "a: unknown suffix: expected jsonl, csv, tsv, parquet"),
        ("a.gz", b"x", "a.gz: unknown suffix: expected jsonl, csv, tsv, parquet"),
    ],
)
def test_what_cannot_be_read_names_file_and_line(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    assert error(write_bytes(tmp_path / name, data)).startswith(expected)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.parquet"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    assert name in error(tmp_path / name)
    assert "o such file" in error(tmp_path / name)


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    assert error(tmp_path / "a.jsonl") == "a.jsonl: cannot be read: Is a directory"


def test_truncated_gzip_never_passes_for_a_short_file(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"x": hash_like(i)}) + "\n" for i in range(2000))
    data = gzip.compress(rows.encode(), mtime=0)
    path = tmp_path / "a.jsonl.gz"
    for kept in (3, 12, len(data) // 2, len(data) - 8, len(data) - 1):
        path.write_bytes(data[:kept])
        assert "the compressed file is damaged" in error(path)
    path.write_bytes(data)
    assert len(read(path)) == 2000


def hash_like(i: int) -> int:
    return i * 2654435761 % 2**32


def test_damaged_gzip(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b'{"x": "' + bytes(range(97, 123)) * 9 + b'"}\n', mtime=0))
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b'{"x": 1}\n')
    assert "a.jsonl.gz:0: the compressed file is damaged (Not a gzipped file" in error(path)
    data[-6] ^= 1  # the checksum
    path.write_bytes(data)
    assert "the compressed file is damaged (CRC check failed" in error(path)


def test_damaged_parquet(tmp_path: Path) -> None:
    rows = [{"_id": str(i), "text": f"text {hash_like(i)}"} for i in range(1000)]
    path = write_rows(tmp_path / "a.parquet", rows)
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert error(path).startswith("a.parquet: not a readable Parquet file: ")
    path.write_bytes(data[:10] + b"\x07" * 3000 + data[3010:])
    assert error(path).startswith("a.parquet: not a readable Parquet file: ")


def test_parquet_text_that_is_not_utf_8(tmp_path: Path) -> None:
    buffers = pa.array([b"\xff\xfe"]).buffers()
    table = pa.table({"x": pa.Array.from_buffers(pa.string(), 1, buffers)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert error(tmp_path / "a.parquet").startswith("a.parquet: not a readable Parquet file: 'utf")


def test_find_takes_suffixes_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").touch()
    (tmp_path / "a.csv").mkdir()
    (tmp_path / "a.jsonl").touch()
    assert files.find(tmp_path, "a", [".csv", ".tsv", ".jsonl"]) == tmp_path / "a.tsv"
    message = complaint(lambda: files.find(tmp_path, "b", [".csv", ".tsv"]))
    assert message == f"{tmp_path}: no b file: expected one of b.csv, b.tsv"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"k": 5}, "here: 'k' is 5: expected text"),
        ({"k": None}, "here: 'k' is None: expected text"),
        ({"k": ["a"]}, "here: 'k' is ['a']: expected text"),
        ({"k": list(range(9999))}, "here: 'k' is [0, 1, 2, 3, 4, 5, ...]: expected text"),
        ({"a": 1, "b\n": 2}, r"here: 'k' is missing (found: 'a', 'b\n'): expected text"),
        ({"k": "a\ud800b"}, "here: 'k' holds a lone surrogate: not valid Unicode"),
    ],
)
def test_field_that_is_not_text(row: files.Row, expected: str) -> None:
    assert complaint(lambda: files.text(row, "k", "here")) == expected


def test_default_stands_in_for_what_is_absent_or_null_only() -> None:
    assert files.text({}, "k", "here", default="d") == "d"
    assert files.text({"k": None}, "k", "here", default="d") == "d"
    assert files.text({"k": ""}, "k", "here", default="d") == ""
    assert complaint(lambda: files.text({"k": 0}, "k", "here", default="d")).startswith("here: 'k'")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("high", "'k' is 'high': expected a finite number"),
        ("", "'k' is '': expected a finite number"),
        ("nan", "'k' is 'nan': expected a finite number"),
        (float("nan"), "'k' is nan: expected a finite number"),
        (float("inf"), "'k' is inf: expected a finite number"),
        ("-Infinity", "'k' is '-Infinity': expected a finite number"),
        pytest.param(10**400, "expected a finite number", id="10**400"),
        ("1e400", "'k' is '1e400': expected a finite number"),
        ("1_0", "'k' is '1_0': expected a finite number"),
        (" 4 ", "'k' is ' 4 ': expected a finite number"),
        ("1\n", r"'k' is '1\n': expected a finite number"),
        ("\uff11", "'k' is '\uff11': expected a finite number"),
        ("\u0661", "'k' is '\u0661': expected a finite number"),
        ("0x10", "'k' is '0x10': expected a finite number"),
        ("infinity", "'k' is 'infinity': expected a finite number"),
        ("1,5", "'k' is '1,5': expected a finite number"),
        ("e5", "'k' is 'e5': expected a finite number"),
        (".", "'k' is '.': expected a finite number"),
        (True, "'k' is True: expected a finite number"),
        (None, "'k' is None: expected a finite number"),
        ([1], "'k' is [1]: expected a finite number"),
    ],
)
def test_field_that_is_not_a_finite_number(value: object, expected: str) -> None:
    message = complaint(lambda: files.number({"k": value}, "k", "a.jsonl:7"))
    assert message.startswith("a.jsonl:7: ")
    assert message.endswith(expected)


def test_numbers_are_read_as_written() -> None:
    values = [3, 0.5, "2", "-1.25", "1e-3", "4."]
    found = [files.number({"k": value}, "k", "here") for value in values]
    assert found == [3, 0.5, 2, -1.25, 0.001, 4]
    message = complaint(lambda: files.number({"a": 1}, "k", "here"))
    assert message == "here: 'k' is missing (found: 'a'): expected a finite number"


# what is not changed on reading


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_line_ends_within_a_cell_of_csv_stay(tmp_path: Path, name: str) -> None:
    data = b'x,y\r\n"a\r\nb","c\nd"\r\n"e\rf","g\r\r\n"\r\n'
    assert [row for _, row in read(write_bytes(tmp_path / name, data))] == [
        {"x": "a\r\nb", "y": "c\nd"},
        {"x": "e\rf", "y": "g\r\r\n"},
    ]


ODD_TEXT = " a\u2028\x85\x1c\x0b\x00\ufeff\u3000b\t"


def test_no_character_of_a_text_goes(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.jsonl", json.dumps({"x": ODD_TEXT + "\r\n"}).encode())
    assert read(path)[0][1] == {"x": ODD_TEXT + "\r\n"}
    path = write_bytes(tmp_path / "a.csv", f"x,y\n{ODD_TEXT},\ufeff\n".encode())
    assert read(path)[0][1] == {"x": ODD_TEXT, "y": "\ufeff"}
    path = write_bytes(tmp_path / "a.tsv", f"x\ty\n{ODD_TEXT.strip()}\t \n\t\n".encode())
    assert [row for _, row in read(path)] == [
        {"x": ODD_TEXT.strip(), "y": " "},
        {"x": "", "y": ""},
    ]


def test_cells_of_csv_may_be_long(tmp_path: Path) -> None:
    text = "a b, " * 100_000
    path = write_bytes(tmp_path / "a.csv", f'x,y\n"{text}",1\n'.encode())
    assert read(path)[0][1] == {"x": text, "y": "1"}


def test_tsv_that_is_quoted_throughout(tmp_path: Path) -> None:
    data = b'"query-id"\t"corpus-id"\t"score"\r\n"q\t1"\t"say ""a"""\t"1"\r\n"q2"\t"b"\t2\r\n'
    assert read(write_bytes(tmp_path / "a.tsv", data)) == [
        (f"{tmp_path / 'a.tsv'}:2", {"query-id": "q\t1", "corpus-id": 'say "a"', "score": "1"}),
        (f"{tmp_path / 'a.tsv'}:3", {"query-id": "q2", "corpus-id": "b", "score": "2"}),
    ]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.jsonl", b'{"x": 1, "x": 2}\n', "a.jsonl:1: broken JSON: 'x' stands twice in an object"),
        ("a.jsonl", b'{"y": {"x": 1, "x": 1}}\n', "a.jsonl:1: broken JSON: 'x' stands twice"),
        ("a.jsonl", '{"x": 1}\n\u00a0\n'.encode(), "a.jsonl:2: broken JSON: Expecting value"),
        ("a.jsonl", b'{"x": 1}\r{"x": 2}\r', "a.jsonl:1: lines end with carriage returns alone"),
        ("a.csv", b"x,y\r1,2\r", "a.csv:1: lines end with carriage returns alone"),
        ("a.tsv", b"x\ty\r1\t2\r", "a.tsv:1: lines end with carriage returns alone"),
        ("a.tsv", b'"x"\t"y"\n"1\t2\n', "a.tsv:2: broken CSV: unexpected end of data"),
        ("a.csv", b"x,x\n1,2\n", "a.csv:1: 2 columns 'x': expected one"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    tmp_path: Path, name: str, data: bytes, expected: str
) -> None:
    assert error(write_bytes(tmp_path / name, data)).startswith(expected)


def test_parquet_with_a_column_twice(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert error(tmp_path / "a.parquet") == "a.parquet: 2 columns 'x': expected one"


def test_ids_may_be_whole_numbers() -> None:
    found = [files.identifier({"k": value}, "k", "here") for value in (3, -7, 10**30, "007", "1.0")]
    assert found == ["3", "-7", "1" + "0" * 30, "007", "1.0"]
    for value in (True, 3.0, None, [3]):
        message = complaint(lambda value=value: files.identifier({"k": value}, "k", "here"))
        assert message == f"here: 'k' is {value!r}: expected text"
    assert complaint(lambda: files.identifier({"k": ""}, "k", "here")).startswith("here: 'k' is em")


def test_json_of_one_array_or_of_lines(tmp_path: Path) -> None:
    rows = [{"x": "007"}, {"x": "2024-01-02 10:00:00"}]
    path = write_bytes(tmp_path / "a.json", json.dumps(rows, indent=1).encode())
    assert list(files.read_json(path)) == [
        (f"{path} row 1", {"x": "007"}),
        (f"{path} row 2", {"x": "2024-01-02 10:00:00"}),
    ]
    path = write_bytes(tmp_path / "b.json", b'\n{"x": 1}\n{"x": 2}\n')
    assert list(files.read_json(path)) == [(f"{path}:2", {"x": 1}), (f"{path}:3", {"x": 2})]
    path = write_bytes(tmp_path / "c.json", b"[1]")
    message = complaint(lambda: list(files.read_json(path)))
    assert message == f"{path} row 1: expected a JSON object, got int"


# what is made to fill memory


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz", "a.parquet"])
def test_what_is_no_regular_file(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert error(tmp_path / name) == f"{name}: not a regular file: expected one"
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    assert error(tmp_path / name) == f"{name}: not a regular file: expected one"


@pytest.mark.parametrize("line", [b"a" * 1000, b"\n"])
def test_gzip_that_unpacks_to_far_more_than_text_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    monkeypatch.setattr("harness.disk.foreign.LARGEST", 2000)
    path = write_bytes(tmp_path / "a.jsonl.gz", line * 100_000)
    most = max(2000, 64 * path.stat().st_size)
    assert f": unpacks to more than {most:,} bytes, which text never does" in error(path)


def test_text_may_unpack_to_a_certain_size_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = b'{"x": "' + b"a" * 99_000 + b'"}\n'
    path = write_bytes(tmp_path / "a.jsonl.gz", row)
    assert 64 * path.stat().st_size < len(row)
    assert len(read(path)) == 1


def test_lines_have_a_longest_length(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.txt", b"123456\n1234567\n")
    assert [line for _, line in read_lines(path, longest=8)] == ["123456\n", "1234567\n"]
    with pytest.raises(InputError, match=r"a.txt:2: expected lines of at most 7 bytes"):
        list(read_lines(path, longest=7))


def test_a_packed_file_may_have_some_blank_lines_and_not_any_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.disk.foreign.LARGEST", 6400 + 9)
    path = write_bytes(tmp_path / "a.jsonl.gz", b"\n" * 100 + b'{"x": 1}\n')
    assert read(path) == [(f"{path}:101", {"x": 1})]
    write_bytes(path, b"\n" * 101)
    assert error(path).startswith("a.jsonl.gz:101: unpacks to more than 6,409 bytes")


@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_that_unpacks_to_far_more_than_text_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dictionary: bool
) -> None:
    monkeypatch.setattr("harness.disk.foreign.LARGEST", 2000)
    path = tmp_path / "a.parquet"
    table = pa.table({"x": ["a" * 1000] * 5000})
    pq.write_table(table, path, compression="zstd", use_dictionary=dictionary)
    most = max(2000, 64 * path.stat().st_size)
    assert error(path).startswith(f"a.parquet: unpacks to more than {most:,} bytes, which text")


# beside readers of a few lines each

JSON = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=9),
    max_size=3,
)


@QUICK
@given(st.lists(JSON, max_size=5), st.booleans(), st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_json_lines_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[files.Row], ascii: bool, end: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    path.write_bytes(end.join(json.dumps(row, ensure_ascii=ascii).encode() for row in rows))
    assert [row for _, row in files.rows(path)] == rows


@QUICK
@given(st.binary(max_size=60), st.sampled_from(["jsonl", "csv", "tsv", "jsonl.gz", "parquet"]))
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes(data)
    try:
        lines = [where for where, _ in files.rows(path)]
    except InputError as error:
        lines = [str(error)]
    assert [line.splitlines() for line in lines] == [[line] for line in lines]
    assert all(line.startswith(str(path)) for line in lines)


CELL = st.text(st.sampled_from('a"\u2028\x85\x1c\x00\ufeff ,\t\r\né'), max_size=6)


@QUICK
@given(st.lists(st.tuples(CELL, CELL), max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_quoted_tables_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], end: str
) -> None:
    """Written by hand: every cell quoted, quotes doubled, so that any text may stand in it."""
    for name, comma in {"round.csv": ",", "round.tsv": "\t"}.items():
        path = tmp_path_factory.getbasetemp() / name
        lines = [
            comma.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row)
            for row in [("x", "y"), *cells]
        ]
        path.write_bytes("".join(line + end for line in lines).encode())
        assert [tuple(row.values()) for _, row in files.rows(path)] == cells


PLAIN = st.text(st.sampled_from('a"\u2028\x85\x1c\x00\ufeff ,é'), max_size=6)


@QUICK
@given(st.lists(st.tuples(PLAIN, PLAIN), max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_plain_tsv_reads_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], end: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.tsv"
    path.write_bytes("".join("\t".join(row) + end for row in [("x", "y"), *cells]).encode())
    assert [tuple(row.values()) for _, row in files.rows(path)] == cells


@QUICK
@given(st.text(st.sampled_from("0123456789.+-eE_ xnaif\uff11"), max_size=7))
def test_numbers_are_decimals_and_nothing_else(text: str) -> None:
    """Beside Python's own reader, which takes more."""
    try:
        expected = float(text) if set(text) <= set("0123456789.+-eE") else None
    except ValueError:
        expected = None
    if expected is None or abs(expected) >= 1e300:
        complaint(lambda: files.number({"k": text}, "k", "here"))
    else:
        assert files.number({"k": text}, "k", "here") == expected
