"""Files that are whole or absent."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from harness.errors import HarnessError, InputError, reason

STALE_S = 3600  # a temporary file of this age belongs to no running process
HIDDEN = ".harness-"  # what names of unfinished files and folders begin with
ATTEMPTS = 20  # at making a folder that others remove
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2

_swept: dict[Path, float] = {}  # when leftovers were last looked for in a folder


def cache_root() -> Path:
    """$HARNESS_CACHE, else retrieval-harness in the user's cache folder.

    Raises:
        InputError: There is neither, as this user has no home folder.
    """
    try:
        if own := os.environ.get("HARNESS_CACHE"):
            return Path(own).expanduser()
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(cache).expanduser() / "retrieval-harness"
    except RuntimeError:
        raise InputError(
            "this user has no home folder to keep embeddings in: set HARNESS_CACHE to a folder"
        ) from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(value: object, default: Callable[[Any], object] | None = None) -> str:
    """SHA-256 of a value that is JSON, whatever the order of its keys.

    default: what becomes of values that are none, as of json.dumps.
    """
    text = json.dumps(value, sort_keys=True, default=default)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def writing(
    place: Path, remedy: str = "", kind: type[HarnessError] = HarnessError
) -> Iterator[None]:
    """Turn what the system refuses into one line.

    Args:
        place: What cannot be written.
        remedy: What to do.
        kind: Of the error that is raised for an OSError.
    """
    try:
        yield
    except OSError as error:
        why = "; ".join(filter(None, [error.strerror or reason(error), remedy]))
        raise kind(f"{place}: cannot be written: {why}") from error


@contextmanager
def create(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written so that its name never stands for part of it: also after kill -9.

    The data goes to a hidden name beside it, is flushed to the disk and renamed. What a killed
    write left in the folder goes.

    Raises:
        OSError: The file cannot be written; what had the name keeps it.
    """
    sweep(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=HIDDEN, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    flush(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, while others make or remove the same. Raises OSError."""
    for left in reversed(range(ATTEMPTS)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError):  # it was removed between two steps
            if not left or (folder.exists() and not folder.is_dir()):
                raise
        else:
            return


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all, as `create` does. Raises OSError."""
    with create(path) as file:
        file.write(data)


def write_folder(folder: Path, files: Mapping[str, bytes], drop: Collection[str] = ()) -> None:
    """Write files that belong together: all of them are there or none, also after kill -9.

    The folder is built beside, with what else lies in it, and swapped in one step. Where the file
    system cannot do that, a run that is killed between two renames leaves no folder: `recover`,
    or the next write, brings the old one back.

    Args:
        folder: It need not be there; it cannot be a mount point.
        files: Content by name; a file of that name is replaced.
        drop: Names of files that go.

    Raises:
        OSError: The folder cannot be written; what was there stays.
    """
    make_folder(folder)
    folder = folder.resolve()
    recover(folder)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=HIDDEN, suffix=".part"))
    try:
        for path in folder.iterdir():
            if path.name not in files and path.name not in drop:
                _link_all(path, made / path.name)
        for name, data in files.items():
            write_whole(made / name, data)
        os.chmod(made, stat.S_IMODE(folder.stat().st_mode))
        flush(made)
        _swap(made, folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)  # after the swap: what was there before


def recover(folder: Path) -> None:
    """End what write_folder began where it was killed, and sweep what it left. Raises OSError."""
    before = _before(folder.resolve())
    sweep(before.parent)
    if before.is_dir():
        if folder.is_dir() and any(folder.iterdir()):
            shutil.rmtree(before)
        else:
            os.rename(before, folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that its name never stands for part of it.

    Killed meanwhile, it leaves what `sweep` removes. Raises OSError where it stays.
    """
    hidden = tempfile.mkdtemp(dir=folder.parent, prefix=HIDDEN, suffix=".removed")
    try:
        os.rename(folder, hidden)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def sweep(folder: Path, *, again: bool = False) -> None:
    """Remove what killed runs of this program left in a folder, where it can be removed.

    A process looks once an hour, or `again`. Folders may be shared by machines, so that no process
    can be asked whether it lives: what nobody wrote to for an hour belongs to none.
    """
    now = time.time()
    if not again and now - _swept.get(folder, -STALE_S) < STALE_S:
        return
    _swept[folder] = now
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            path, ours = Path(entry.path), entry.name.startswith(HIDDEN)
            if ours and (path.suffix == ".removed" or (path.suffix == ".part" and is_stale(path))):
                discard(path)


def discard(path: Path) -> None:
    """Remove a file or a folder where that is possible."""
    with suppress(OSError):  # a read-only folder, or another process was faster
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def is_stale(path: Path) -> bool:
    """Whether nothing was written to a file, or into a folder, for an hour."""
    try:
        inside = list(path.iterdir()) if path.is_dir() else []
        last: float = max(one.lstat().st_mtime for one in (path, *inside))
    except OSError:  # somebody is at work there
        return False
    return time.time() - last > STALE_S


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name; nothing where it is not there, also if it went just now."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def flush(folder: Path) -> None:
    """Have the names in a folder written to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link_all(path: Path, target: Path) -> None:
    """Give a file, or all files of a folder, a second name, or a copy where there are no links."""
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, target, symlinks=True, copy_function=_link)
    else:
        _link(path, target)


def _link(path: str | Path, target: str | Path) -> None:
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, target, follow_symlinks=False)


def _swap(made: Path, folder: Path) -> None:
    """Let two folders change their names, or put the first in the place of the other."""
    if _exchange(made, folder):
        return
    before = _before(folder)
    os.rename(folder, before)
    try:
        os.rename(made, folder)
    except OSError:
        os.rename(before, folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2  # of Linux
    except AttributeError:
        return False
    names = AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other)
    return bool(rename(*names, RENAME_EXCHANGE) == 0)


def _before(folder: Path) -> Path:
    return folder.with_name(f"{HIDDEN}{folder.name}.before")


def slug(text: str) -> str:
    """A spec as part of a file name: readable, and never another folder."""
    clean = re.sub(r"[^A-Za-z0-9.=_-]+", "_", text).strip("._") or "_"
    return (
        clean if len(clean) <= 80 else clean[:60] + hashlib.sha256(text.encode()).hexdigest()[:12]
    )
