"""One evaluation, with all that is needed to believe and repeat it: JSON and Parquet on disk.

FOLDER/ENCODER/TASK-INDEX-STAMP-ID.json       the record
                                 .parquet     one row a query (or pair), one column a measure
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from harness import disk
from harness.arguments import read_arguments
from harness.disk import foreign
from harness.errors import InputError, RefusedWarning, name_fault, warn_caller
from harness.masking import mask_json
from harness.measures import definitions
from harness.records import checks, files, schema1
from harness.records.columns import read_columns
from harness.records.fingerprints import is_composite
from harness.records.schema2 import (
    SCHEMA,
    IndexRecord,
    LatencyRecord,
    PartRecord,
    Record,
    RewritingRecord,
    SystemRecord,
    TaskRecord,
    identity,
)
from harness.wording import count

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "SCHEMA",
    "IndexRecord",
    "LatencyRecord",
    "PartRecord",
    "Record",
    "RewritingRecord",
    "SystemRecord",
    "TaskRecord",
    "identity",
]
Loaded = TypeVar("Loaded")


def stamp() -> str:
    """Return the time now, in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@read_arguments
def save(record: Record, per_query: Mapping[str, Any], folder: str | Path) -> Path:
    """Write a record and its per-query values; return the path of the JSON file.

    The Parquet file is written first: a record that exists has its values.

    Args:
        record: What to write.
        per_query: Columns [q]: the ids of what was scored, then a measure each.
        folder: Of all records.

    Raises:
        HarnessError: Where the folder cannot be written.
    """
    parts = [
        record.task.spec,
        record.index.spec if record.index else "",
        re.sub(r"\W", "", record.created),
        record.id,
    ]
    name = "-".join(disk.slug(part) for part in parts if part)
    path = Path(folder) / disk.slug(record.name) / f"{name}.json"
    write(record, per_query, path)
    return path


@read_arguments
def write(record: Record, per_query: Mapping[str, Any], path: str | Path) -> None:
    """Write a record to a file of that name, and its per-query values beside it, as `save`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, table, buffer = Path(path), pa.table(dict(per_query)), BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    with disk.writing(path, "choose another folder (on the command line --out DIR)"):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(path.with_suffix(".parquet"), buffer.getbuffer())
        disk.write_whole(path, to_bytes(record))


def to_bytes(record: Record) -> bytes:
    """A record as its file holds it."""
    return (mask_json(record.model_dump_json(indent=2)) + "\n").encode()


@read_arguments
def load(path: str | Path) -> Record:
    """Read a record of any schema, as one of the newest.

    Raises:
        InputError: For a file that is not one, saying what is wrong.
    """
    return read(foreign.read_json(Path(path), "record"), str(path))


def read(data: object, where: str) -> Record:
    """Make a record of parsed JSON, of any schema.

    Args:
        data: What a file held.
        where: What errors begin with.

    Raises:
        InputError: Saying what is wrong.
    """
    found = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(data, dict) or found not in (1, SCHEMA):
        raise InputError(f"{where}: schema_version is {found!r:.40}: expected 1 or {SCHEMA}")
    try:
        checks.refuse_odd(data)
        return _read(schema1.upgrade(data) if found == 1 else data, old=found == 1)
    except ValidationError as error:
        raise InputError(f"{where}: {name_fault(error)}: not a record of this version") from None
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (AttributeError, KeyError, TypeError) as error:  # of what only schema 1 leaves open
        raise InputError(f"{where}: {error!r:.100}: not a record of schema {found}") from None


def _read(data: Mapping[str, Any], *, old: bool) -> Record:
    record = Record.model_validate(data)
    if "lower_is_better" not in record.model_fields_set:
        low = lower_is_better(record.scores, record.task.kind)
        record = record.model_copy(update={"lower_is_better": low})
    return _modern(record) if old else record


def lower_is_better(measures: Iterable[str], kind: str) -> list[str]:
    """Return those of the measures whose low values are good, as far as they are registered.

    Args:
        measures: Their names.
        kind: Of the task.
    """
    low = {one.name for one in definitions(kind) if one.better == "low"}
    return [name for name in measures if re.split(r"[(@:]", name)[0] in low]


def _modern(record: Record) -> Record:
    """A record whose full specs have today's names of parameters, and the id that goes with it."""
    from harness.encoders import ENCODERS
    from harness.indexes import INDEXES

    def index_of(part: PartRecord | Record) -> IndexRecord | None:
        index = part.index
        return index and index.model_copy(update={"full": INDEXES.modern(index.full)})

    system, full = record.system, ENCODERS.modern(record.system.full)
    made_of = system.fingerprint["parts"] if is_composite(system.fingerprint) else []
    parts = [
        {**part, "index": INDEXES.modern(part["index"])} if part.get("index") else part
        for part in made_of
    ]
    fingerprint = {**system.fingerprint, "parts": parts} if parts else system.fingerprint
    system = system.model_copy(update={"full": full, "fingerprint": fingerprint})
    new = {
        "system": system,
        "index": index_of(record),
        "parts": [part.model_copy(update={"index": index_of(part)}) for part in record.parts],
    }
    found = record.model_copy(update=new)
    if found == record:
        return record
    searched = None
    if found.depth is not None:
        searched = (found.index.full if found.index else "given", found.depth)
    id = identity(system, found.task, searched, found.rewriting, list(found.scores))
    return found.model_copy(update={"id": id})


@read_arguments
def load_all(paths: Sequence[str | Path]) -> list[tuple[Path, Record]]:
    """Read records from files and folders, in order of path, as `files.find` lists them.

    What a folder holds that is no record is left out, with a warning that counts and names it.

    Raises:
        InputError: Where a path names nothing, a file that is named is no record, or none is left.
    """
    return load_each(paths, load)


def load_each(
    paths: Sequence[str | Path], read: Callable[[Path], Loaded]
) -> list[tuple[Path, Loaded]]:
    """Read what belongs to each record, as `load_all` does. read: what is read of a file."""
    found, refused = dict[Path, Loaded](), list[str]()
    for path in paths:
        for file in files.find(path):
            try:
                found[file] = read(file)
            except InputError as error:
                if file == Path(path).expanduser():
                    raise
                refused.append(str(error))
    said = f"{count(len(refused), 'file')} left out, as no records: {'; '.join(refused[:3])}"
    said += "; ..." if len(refused) > 3 else ""
    if not found:
        none = said if refused else "expected *.json files"
        raise InputError(f"{', '.join(map(str, paths))}: no records: {none}")
    if refused:
        warn_caller(said, RefusedWarning)
    return [*found.items()]


@read_arguments
def per_query(path: str | Path) -> pa.Table:
    """Read the values of each query that belong to a record's file.

    Raises:
        InputError: Where they are lost or damaged.
    """
    file = Path(path).with_suffix(".parquet")
    try:
        return read_columns(file)
    except InputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise InputError(
            f"{file}: not readable: no such file; the values of each query stand in it, beside the "
            "record"
        ) from None
