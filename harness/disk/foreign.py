"""Files that others wrote: regular, of a bounded size, and read with one clear line of error."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import HarnessError, InputError, reason

LARGEST = 64 * 2**20  # bytes; no record, definition or description comes near


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """Read a regular file.

    A pipe or a device would never end, and what is behind a link is what counts.

    Args:
        path: The file, or a link to it.
        most: Bytes that it may have.

    Raises:
        InputError: It is not there, is none, is larger or cannot be read; where it is not there,
            a FileNotFoundError is the cause.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise InputError(f"{path}: {size:,} bytes: expected at most {most:,}")
        try:
            return file.read(most)
        except OSError as error:
            raise unreadable(path, error) from error


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to be read. Raises InputError as `read_bytes` does."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # noqa: SIM115 - the caller's
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:  # a NUL or a lone surrogate in the name
        raise InputError(f"{path!s:.100}: no name of a file: {reason(error)}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"{path}: not a regular file: expected one")
    return file


def unreadable(path: Path, error: OSError, kind: type[HarnessError] = InputError) -> HarnessError:
    """What the system says of a file that cannot be read, on one line. kind: of the error."""
    return kind(f"{path}: cannot be read: {error.strerror or reason(error)}")


def read_text(path: Path) -> str:
    """Read a regular file of UTF-8. Raises InputError as `read_bytes` does, or if it is none."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8: convert the file") from None


def read_json(path: Path, what: str = "JSON file") -> Any:
    """Read a file of JSON. Raises InputError as `read_bytes` does, or if it is none."""
    data = read_bytes(path)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:  # also of UTF-8, and numbers of 5,000 digits
        raise InputError(f"{path}: not a readable {what}: {reason(error)}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of TOML. Raises InputError as `read_bytes` does, or if it is none."""
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable TOML file: {reason(error)}") from None
