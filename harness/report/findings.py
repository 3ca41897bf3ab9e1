"""What a study found, as a page and on disk: tables, JSON, a Parquet file a frame, the figure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from harness import disk
from harness.arguments import read_arguments
from harness.disk import foreign
from harness.errors import InputError, name_fault, reason
from harness.frames import Frame, Table
from harness.frames.charts import draw, image
from harness.frames.saved import from_plain
from harness.masking import mask, mask_all
from harness.records.files import NUMBERS, PAGE
from harness.report.tables import write
from harness.shown import escape_markdown, quote_code
from harness.studies import Findings

SCHEMA = 1


@dataclass(frozen=True)
class About:
    """What was studied, by which study and when.

    Args:
        study: The study's full spec, with all its options.
        systems: Specs.
        task: A spec.
        seed: Of what was drawn.
        created: When it ended, UTC.
        environment: Machine and versions.
    """

    study: str
    systems: tuple[str, ...]
    task: str
    seed: int
    created: str
    environment: Mapping[str, Any]


class _Numbers(BaseModel):
    """What a study's folder tells of it."""

    schema_: int = Field(alias="schema")
    study: str
    systems: list[str]
    task: str
    seed: int
    created: str
    environment: dict[str, Any]
    headline: str
    frames: list[dict[str, Any]]
    notes: list[str]


def tables(findings: Findings) -> list[Table]:
    """What a page shows: the frames that are to be seen, then the notes."""
    shown = [frame.table() for frame in findings.frames if frame.shown]
    if findings.notes:
        shown.append(Table("Notes", [""], [[note] for note in findings.notes]))
    return shown


def page(findings: Findings, about: About) -> str:
    """The page as Markdown: headline, what was run, tables with what their columns mean."""
    parts = [
        f"# {escape_markdown(findings.headline)}",
        f"{quote_code(f'harness study {shlex.quote(about.study)}')} {_describe(about)}",
    ]
    for frame in findings.frames:
        if frame.shown:
            parts += [write([frame.table()], "markdown"), *_meanings(frame)]
    if findings.charts:
        parts.append("![figure](figure.png)")
    if findings.notes:
        notes = map(escape_markdown, findings.notes)
        parts.append("### Notes\n\n" + "\n".join(f"* {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _describe(about: About) -> str:
    systems = ", ".join(map(quote_code, about.systems))
    return f"on {systems}, {quote_code(about.task)}, seed {about.seed}; {about.created}"


def _meanings(frame: Frame) -> list[str]:
    """What columns mean and which values are better, where they say so."""
    better = {"high": "higher is better", "low": "lower is better", "": ""}
    said = [
        f"* **{escape_markdown(column.name)}**: "
        + escape_markdown("; ".join(filter(None, (column.about, better[column.better]))))
        for column in frame.columns
        if column.about and not frame.turned
    ]
    return ["\n".join(said)] if said else []


def plain(findings: Findings, about: About) -> dict[str, Any]:
    """A study as what JSON can hold: what `load_findings` reads."""
    said = mask_all({**asdict(about), "headline": findings.headline, "notes": list(findings.notes)})
    return {"schema": SCHEMA, **said, "frames": [frame.plain() for frame in findings.frames]}


@read_arguments
def save(folder: str | Path, findings: Findings, about: About) -> list[Path]:
    """Write a study's files, all or none, in place of those of another one that stood there.

    Returns:
        Their paths, the numbers last.

    Raises:
        HarnessError: where the folder cannot be written.
    """
    files = {PAGE: page(findings, about).encode()}
    files |= {f"{frame.name}.parquet": frame.parquet() for frame in findings.frames}
    if findings.charts:
        figure = draw(findings.charts, mask(findings.headline))
        files |= {"figure.png": image(figure, "png"), "figure.svg": image(figure, "svg")}
    files[NUMBERS] = (json.dumps(plain(findings, about), indent=2, allow_nan=False) + "\n").encode()
    folder = Path(folder)
    with disk.writing(folder):
        old = [path.name for path in [*folder.glob("*.parquet"), *folder.glob("figure.*")]]
        disk.write_folder(folder, files, drop=[name for name in old if name not in files])
    return [folder / name for name in files]


@read_arguments
def study_folder(path: str | Path) -> Path | None:
    """The folder of a study that a path names, or its numbers in it; None for any other path."""
    path = Path(path)
    folder = path.parent if path.name == NUMBERS else path
    return folder if (folder / NUMBERS).is_file() else None


@dataclass(frozen=True)
class Saved:
    """A study that was read back: its findings without charts, and what it is about."""

    about: About
    findings: Findings


@read_arguments
def load_findings(folder: str | Path) -> Saved:
    """Read what `save` wrote.

    Raises:
        InputError: for a folder without a study, or one of a later schema.
    """
    path = Path(folder) / NUMBERS
    try:
        data = foreign.read_json(path, "study")
        match data:
            case {"schema": int(found)} if found > SCHEMA:
                raise InputError(
                    f"{path}: of schema {found}: this version reads {SCHEMA}; upgrade harness"
                )
        read = _Numbers.model_validate(data, strict=True)
        about = About(
            read.study, tuple(read.systems), read.task, read.seed, read.created, read.environment
        )
        frames = [from_plain(frame) for frame in read.frames]
        return Saved(about, Findings(read.headline, frames, (), read.notes))
    except ValidationError as error:
        raise InputError(f"{path}: not a study's numbers: {name_fault(error)}") from None
    except ValueError as error:
        raise InputError(f"{path}: not a study's numbers: {reason(error)}") from error
