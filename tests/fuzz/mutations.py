"""Small valid files, damaged: what is drawn, hypothesis makes smaller where it finds a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

DEEP = 3000  # more brackets than Python follows
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\w.+-]+|\s+|.', re.DOTALL)
PAIRS = {ord("{"): ord("}"), ord("["): ord("]")}

# what stands in place of a word, a number, a text or a bracket with all within
HOSTILE = (
    b"null", b"true", b"false", b"0", b"-0", b"-1", b"1.5", b"1e999", b"-1e308", b"1_0", b"0x10",
    b"+1", b"007", b"inf", b"NaN", b"-Infinity", b"9" * 400, b"9" * 5000, b"\xd9\xa1",
    b'""', b'" "', b'"a"', b'"12"', b"'a'", b'"\\ud800"', b'"\\u0000"', b'"\xe2\x80\xa8"',
    b"[]", b"{}", b"[1]", b"[[]]", b'["a", 1]', b'{"a": 1}', b"[null]", b"[" * DEEP,
    b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b'"' + b"\xe4\xb8\xad" * 50_000 + b'"',
    b"\0", b"\r", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"\x1c",
    b"\xc2\xa0", b"\xff", b"\xed\xa0\x80", b"\x1b[2J", b"\xe2\x80\xae", b"e\xcc\x81",
    b'"', b"'", b",", b"\t", b"%", b"=", b":", b"#", b"..", b"2026-01-01", b"x" * 100_000,
)  # fmt: skip


@st.composite
def damaged(draw: Draw, seeds: Sequence[bytes]) -> bytes:
    """One of the files with up to four faults."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.sampled_from(MUTATORS))(draw, data)
    return data


def _flip(draw: Draw, data: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(data) - 1)))
    return data[:at] + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in data[at : at + 1]) \
        + data[at + 1 :]  # fmt: skip


def _put(draw: Draw, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(HOSTILE) | st.binary(max_size=4)) + data[at:]


def _cut(draw: Draw, data: bytes) -> bytes:
    low, high = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    return draw(st.sampled_from([data[:low], data[high:], data[:low] + data[high:]]))


def _token(draw: Draw, data: bytes) -> bytes:
    """A word, a text or a blank is dropped, doubled, changed with another, or replaced."""
    tokens = TOKEN.findall(data) or [b""]
    at, other = (draw(st.integers(0, len(tokens) - 1)) for _ in range(2))
    how = draw(st.sampled_from(["replace", "drop", "double", "swap"]))
    if how == "swap":
        tokens[at], tokens[other] = tokens[other], tokens[at]
    else:
        hostile = draw(st.sampled_from(HOSTILE)) if how == "replace" else b""
        tokens[at] = {"replace": hostile, "drop": b"", "double": tokens[at] * 2}[how]
    return b"".join(tokens)


def _span(draw: Draw, data: bytes) -> bytes:
    """A bracket with all that is within becomes something else."""
    starts = [at for at, byte in enumerate(data[:20_000]) if byte in PAIRS]
    if not starts:
        return data
    at, depth = draw(st.sampled_from(starts)), 0
    for end in range(at, len(data)):
        depth += (data[end] == data[at]) - (data[end] == PAIRS[data[at]])
        if not depth:
            break
    return data[:at] + draw(st.sampled_from(HOSTILE)) + data[end + 1 :]


def _line(draw: Draw, data: bytes) -> bytes:
    """A line is dropped, doubled or put elsewhere."""
    lines = data.splitlines(keepends=True) or [b""]
    line = lines.pop(draw(st.integers(0, len(lines) - 1)))
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(draw(st.integers(0, len(lines))), line)
    return b"".join(lines)


MUTATORS = (_token, _span, _line, _flip, _put, _cut)

COLUMNS = (
    pa.array([None, None]), pa.array([1, 2]), pa.array([0.5, float("nan")]),
    pa.array([True, False]),
    pa.array(["a", None]), pa.array(["", "b"]), pa.array([b"\xff", b"a"]), pa.array([["a"], []]),
    pa.array([{"a": 1}, None]), pa.array([2**63, 1], pa.uint64()), pa.array([10**18, 0]),
    pa.array([1, 2], pa.timestamp("ns")), pa.array([1, 2], pa.duration("s")),
    pa.array([1, 2], pa.date32()), pa.array(["a", "a"]).dictionary_encode(),
    pa.array([1, 2], pa.float16()), pa.array([1, 2], pa.decimal128(38, 3)), pa.nulls(2),
    pa.array([float("inf"), 1e308]),
    pa.array([b"\xff", b"\xfe"]).view(pa.string()),  # texts that are no UTF-8
)  # fmt: skip


@st.composite
def damaged_tables(draw: Draw, seeds: Sequence[bytes]) -> bytes:
    """One of the Parquet files, with other columns, or with other bytes."""
    data: bytes = draw(st.sampled_from(seeds))
    if draw(st.booleans()):
        table = pq.read_table(BytesIO(data))
        names, columns = list(table.column_names), list(table.columns)
        rows = pa.array([row % 2 for row in range(len(table))])
        for _ in range(draw(st.integers(1, 2))):
            at = draw(st.integers(0, len(names) - 1))
            how = draw(st.sampled_from(["replace", "drop", "twice", "name"]))
            if how == "replace":
                columns[at] = draw(st.sampled_from(COLUMNS)).take(rows)
            elif how == "drop" and len(names) > 1:
                del names[at], columns[at]
            elif how == "twice":
                names.append(names[at])
                columns.append(draw(st.sampled_from(COLUMNS)).take(rows))
            else:
                names[at] = draw(st.sampled_from(["", "\0", "x", names[0], "a.b", "\u202e"]))
        return write_table(pa.Table.from_arrays(columns, names))
    for _ in range(draw(st.integers(1, 3))):
        data = draw(st.sampled_from((_flip, _put, _cut)))(draw, data)
    return data


def write_table(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file."""
    out = BytesIO()
    pq.write_table(table, out)
    return out.getvalue()
