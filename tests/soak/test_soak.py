"""A sample of the kills; `make soak` kills at every operation."""

from __future__ import annotations

import subprocess
import sys


def test_what_is_killed_is_whole_or_absent_and_ends_the_same_when_run_again():
    words = ["eval", "baseline freeze --replace", "models pull", "--most", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[:3] for line in done.stdout.splitlines()[2:]]
    assert rows == [
        ["| eval", "2", "0"],
        ["| baseline freeze --replace", "2", "0"],
        ["| models pull", "2", "0"],
    ]
