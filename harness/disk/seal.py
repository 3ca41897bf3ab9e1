"""What this user's own runs wrote is known by a keyed digest; nobody else can make one.

Some libraries trust the files that they read: hostile bytes end the process, or worse. A folder of
files may be shared, copied or downloaded, so the key lies apart from it, in the user's own state
folder, and is readable by the user alone.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from harness import disk
from harness.disk import foreign
from harness.errors import InputError

KEY_BYTES = 32


def key_path() -> Path | None:
    """Where the key lies: below $XDG_STATE_HOME, else ~/.local/state; None without a home."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(state).expanduser() / "retrieval-harness" / "key"
    except RuntimeError:
        return None


def user_key() -> bytes | None:
    """The user's own key, made at its first use; None where there is no place to keep one."""
    path = key_path()
    if path is None:
        return None
    try:
        return _read(path) or _make(path)
    except (OSError, ValueError):  # read-only, or a NUL in the name
        return None


def sign(key: bytes, value: object) -> str:
    """A digest of a value that is JSON, as 64 hexadecimal digits, that only the key's owner makes.

    Args:
        key: The user's own.
        value: Equal values have equal digests, whatever the order of their keys.
    """
    return hmac.new(key, json.dumps(value, sort_keys=True).encode(), "sha256").hexdigest()


def is_signed(key: bytes, value: object, seal: object) -> bool:
    """Whether a seal, which may be anything that a file held, is the value's."""
    return isinstance(seal, str) and seal.isascii() and hmac.compare_digest(sign(key, value), seal)


def _read(path: Path) -> bytes | None:
    """The key; None where there is none, or one that others know or that is damaged."""
    try:
        about = path.lstat()
        key = foreign.read_bytes(path, KEY_BYTES)
    except (FileNotFoundError, InputError):
        return None
    private = stat.S_ISREG(about.st_mode) and not about.st_mode & 0o077
    return key if private and about.st_uid == os.geteuid() and len(key) == KEY_BYTES else None


def _make(path: Path) -> bytes | None:
    """Make a key, whole or not at all; of several processes the first one's stays.

    Raises OSError where it cannot be kept.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk.sweep(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=disk.HIDDEN, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:  # mkstemp lets nobody else read it
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and _read(path) is None:  # known to others, or damaged
            os.replace(temporary, path)
        else:
            with suppress(FileExistsError):  # another process was faster
                os.link(temporary, path)
        disk.flush(path.parent)
        return _read(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
