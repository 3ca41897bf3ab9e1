"""Where data comes from: each module registers sources that a task's spec can name."""

from __future__ import annotations

from harness.spec import Registry
from harness.types import Data

SOURCES: Registry[Data] = Registry("source", "harness.sources")
