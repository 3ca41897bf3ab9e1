"""Real data for tests, kept outside the repository; what is absent is skipped with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(
    os.environ.get("HARNESS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
).resolve()


def shared(name: str) -> Path:
    """A folder or file of the shared data; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no shared data {name!r} in {SHARED.name}/: set HARNESS_SHARED_DATA")
    return path
