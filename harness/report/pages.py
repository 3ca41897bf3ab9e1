"""A study on disk: its numbers as JSON and Markdown, its figure as PNG and SVG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import disk
from harness.errors import HarnessError, reason
from harness.frames import Table
from harness.report.tables import write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(
    folder: Path, study: Any, about: dict[str, Any], tables: Sequence[Table], figure: Figure
) -> list[Path]:
    """Write a study's files, all or none; returns their paths. Other files of the folder stay.

    study: a frozen dataclass that JSON can hold; about: what else its JSON says. Raises
    HarnessError where the folder cannot be written.
    """
    whole = {**asdict(study), **about}
    files = {
        "numbers.json": (json.dumps(whole, indent=2, allow_nan=False) + "\n").encode(),
        "page.md": (write(tables, "markdown") + "\n").encode(),
        "figure.png": _drawn(figure, "png"),
        "figure.svg": _drawn(figure, "svg"),
    }
    try:
        disk.write_folder(folder, files)
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written: {error.strerror or reason(error)}"
        ) from error
    return [folder / name for name in files]


def _drawn(figure: Figure, kind: str) -> bytes:
    """A figure's file; the same bytes for the same figure."""
    import matplotlib

    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "retrieval-harness"}):
        figure.savefig(
            buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else {}
        )
    return buffer.getvalue()
