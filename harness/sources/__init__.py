"""Where data comes from: each module registers sources that a task's spec can name."""

from __future__ import annotations

from harness.data import Data
from harness.registry import Registry

SOURCES: Registry[Data] = Registry("source", "harness.sources")
