"""Where data comes from: each module registers sources that a task's spec can name."""

from __future__ import annotations

from harness.spec import Registry
from harness.types import Pairs, Retrieval

SOURCES: Registry[Retrieval | Pairs] = Registry("source", "harness.sources")
