from __future__ import annotations

from pathlib import Path

from harness.measures import definitions
from harness.measures.page import markdown

PAGE = Path(__file__).parents[2] / "docs" / "measures.md"


def test_the_page_is_made_of_what_is_registered():
    assert PAGE.read_text("utf-8") == markdown(), "harness measures --markdown > docs/measures.md"


def test_the_page_has_a_row_for_every_measure():
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert len(rows) == len(definitions())
    assert any(row.startswith("| `AP@K` | `AP` (@1000), `MAP` (@1000) | high |") for row in rows)
