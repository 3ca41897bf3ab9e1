"""What CI accepts as not run: a table always, a failure where the reason is not listed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SKIPS = """
import pytest

def test_one():
    pytest.skip({!r})

@pytest.mark.parametrize("n", [1, 2])
def test_two(n):
    pytest.importorskip("no_such_library")
"""


def run_skipping(folder: Path, why: str, *options: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(
        "from tests.skips import pytest_addoption, pytest_sessionfinish, pytest_terminal_summary\n"
    )
    (folder / "test_a.py").write_text(SKIPS.format(why))
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder), *options]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_table_counts_tests_by_reason(tmp_path):
    status, out = run_skipping(tmp_path, "no shared data 'med' in data/: set HARNESS_SHARED_DATA")
    assert status == 0
    assert "    2  test_a.py                                 could not import 'no_such_lib" in out
    assert "    1  test_a.py                                 no shared data 'med' in data/" in out


def test_what_is_not_listed_fails_the_run(tmp_path):
    why = "no shared data 'med' in data/: set HARNESS_SHARED_DATA"
    assert run_skipping(tmp_path, why, "--listed-skips", "-k", "one")[0] == 0
    status, out = run_skipping(tmp_path, why, "--listed-skips")
    assert status == 1
    assert "skipped, and not listed in tests/skips.py: could not import 'no_such_library'" in out
    assert run_skipping(tmp_path, "no browser", "--listed-skips", "-k", "one")[0] == 1
