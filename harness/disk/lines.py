"""Lines of files that others wrote, plain or packed by gzip, in bounded memory."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from harness.disk import foreign
from harness.errors import InputError, reason

LONGEST = 2**28  # bytes of a line: a document of 50 MB, whatever of it is escaped
RATIO = 64  # of what is unpacked to its file: text has 3 to 5, TREC's runs have 10
BLANK = 64  # bytes that a blank line of a packed file counts for: nothing packs better


def largest_unpacked(size: int) -> int:
    """Bytes that a packed file of a size may hold: one that holds more is made to fill memory."""
    return max(foreign.LARGEST, RATIO * size)


def refuse_bomb(where: str, unpacked: int, most: int) -> None:
    """Raise InputError where a file unpacks to more than it may."""
    if unpacked > most:
        raise InputError(
            f"{where}: unpacks to more than {most:,} bytes, which text never does: if it is right, "
            "give it as JSON Lines or TSV that are not packed"
        )


def read_lines(
    path: Path, errors: str = "strict", longest: int = LONGEST
) -> Iterator[tuple[str, str]]:
    """Yield ("file:line", text) for every line, blank ones too, each with its end.

    Args:
        path: A regular file; .gz is unpacked. A byte order mark at its beginning is left out.
        errors: What becomes of bytes that are not UTF-8, as `bytes.decode` has it.
        longest: Bytes that a line may have.

    Raises:
        InputError: The file cannot be read, is cut off, or unpacks to far more than text does; a
            line is too long, or not UTF-8; lines end with carriage returns alone.
    """
    for number, data in enumerate(_read_binary(path, longest), 1):
        try:
            text = data.decode("utf-8-sig" if number == 1 else "utf-8", errors)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}:{number}: byte {error.start} is not UTF-8: convert the file"
            ) from None
        yield f"{path}:{number}", text


def _read_binary(path: Path, longest: int) -> Iterator[bytes]:
    number = 0
    try:
        with foreign.open_regular(path) as raw:
            packed, most, stream = path.suffix == ".gz", None, raw
            if packed:
                most = largest_unpacked(os.fstat(raw.fileno()).st_size)
                stream = io.BufferedReader(gzip.GzipFile(fileobj=raw))
            for line in _split(stream, path, longest, most):
                number += 1
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}:{number}: the compressed file is damaged ({reason(error)}): fetch it again"
        ) from None
    except OSError as error:
        raise foreign.unreadable(path, error) from None


def _split(
    stream: BinaryIO | io.BufferedReader, path: Path, longest: int, most: int | None = None
) -> Iterator[bytes]:
    """Yield lines. most: bytes that all of them may have."""
    number = total = 0
    longest = min(longest, most or longest)
    while line := stream.readline(longest + 1):
        number += 1
        total += len(line) if len(line) > 2 else BLANK
        if most:
            refuse_bomb(f"{path}:{number}", total, most)
        if len(line) > longest:
            raise InputError(f"{path}:{number}: expected lines of at most {longest:,} bytes")
        if number == 1 and b"\r" in line.rstrip(b"\r\n"):
            raise InputError(
                f"{path}:1: lines end with carriage returns alone: convert them to newlines"
            )
        yield line
