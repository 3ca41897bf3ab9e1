"""What tests of the gate share: sides of one task, a frozen baseline, examples of the manual."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from harness import gate
from harness.compare import side
from harness.gate import judge
from harness.gate.policy import Policy
from tests.comparable import saved

BASE = np.linspace(0.2, 0.8, 400)


def judged(tmp_path: Path, new, old=BASE, policy: Policy | None = None, **changes) -> gate.Gate:
    """A gate over one task."""
    saved(tmp_path / "old", {"nDCG@10": old})
    saved(tmp_path / "new", {"nDCG@10": new}, **changes)
    return judge(side([tmp_path / "old"]), side([tmp_path / "new"]), policy or Policy())


def frozen(tmp_path: Path) -> Path:
    """A baseline of two tasks."""
    for task in ("one", "two,k=3"):
        saved(tmp_path / "records", {"R@2": BASE}, task)
    gate.freeze([tmp_path / "records"], tmp_path / "base")
    return tmp_path / "base"


def examples(language: str) -> list[str]:
    page = Path(__file__).parents[2] / "docs" / "ci.md"
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.S)
