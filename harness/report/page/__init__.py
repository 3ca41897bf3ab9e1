"""The leaderboard as one HTML file: opens from disk, asks no network, holds all that it shows.

    page.html, style.css, script.js     joined here; nothing else is needed to read the page
    content.py                          what the script draws, as JSON

Text from the data stands in the page as JSON without "<", and the script makes text nodes of it. A
content security policy admits this script by its digest and no other, and no network.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from harness import disk
from harness.disk import foreign
from harness.errors import InputError
from harness.masking import mask_all
from harness.progress import Progress, silent
from harness.report.findings import load_findings, study_folder
from harness.report.page.content import content
from harness.wording import count

if TYPE_CHECKING:
    from harness.board import Board
    from harness.board.standings import Standings

TITLE = "Leaderboard"
LIMIT = 3_000_000  # bytes of a page
LARGE = 400_000  # of a figure


def write(
    board: Board,
    standings: Standings,
    path: Path,
    *,
    texts: Callable[[str], Mapping[str, str]] | None = None,
    figures: Sequence[Path] = (),
    progress: Progress = silent,
) -> int:
    """Write the page; returns its size in bytes.

    texts: query text by query id for the name of a task; figures: SVG files, each with the name
    of its file, or of its folder where that is figure.svg, as its title; or folders of studies,
    with what they found.

    A page is at most 3 MB: scores and figures always, then scores of single queries and records
    as far as there is room, and a note says what was left out. Raises InputError for a figure
    that is not readable SVG of at most 400 kB, and where the scores alone have no room,
    HarnessError where the page cannot be written.
    """
    fixed = {"figures": [_figure(figure) for figure in figures]}
    room = LIMIT - len(render(TITLE, fixed))
    whole = content(board, standings, room=room, folder=path.parent, texts=texts, progress=progress)
    data = render(TITLE, {**whole, **fixed})
    if len(data) > LIMIT:
        held = {"system": board.systems, "task": board.tasks, "figure": figures}
        parts = ", ".join(count(len(all), noun) for noun, all in held.items())
        raise InputError(
            f"{path}: {parts} make a page of {len(data) / 1e6:.1f} MB: at most 3 MB; choose fewer"
        )
    with disk.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(path, data)
    return len(data)


def render(title: str, data: Mapping[str, Any]) -> bytes:
    """The page that shows some content."""
    parts = {name: _part(name) for name in ("page.html", "style.css", "script.js")}
    digest = base64.b64encode(hashlib.sha256(parts["script.js"].encode()).digest()).decode()
    text = json.dumps(mask_all(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    page = Template(parts["page.html"]).substitute(
        title=escape(title),
        style=parts["style.css"],
        script=parts["script.js"],
        digest=f"sha256-{digest}",
        data=text.replace("<", "\\u003c"),
    )
    return page.encode("utf-8", "replace")


def _part(name: str) -> str:
    return (files(__name__) / name).read_text("utf-8")


def _figure(path: Path) -> dict[str, str]:
    folder = study_folder(path)
    if folder is not None:
        path = folder / "figure.svg"
    data = foreign.read_bytes(path, LARGE)
    if b"<svg" not in data[:2000]:
        raise InputError(f"{path}: not an SVG figure: expected a file that holds <svg")
    title = path.parent.name if path.stem == "figure" else path.stem
    if folder is not None:
        title = load_findings(folder).findings.headline
    return {"title": title, "svg": base64.b64encode(data).decode()}
