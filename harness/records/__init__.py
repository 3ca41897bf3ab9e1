"""One evaluation, with all that is needed to believe and repeat it: JSON and Parquet on disk.

FOLDER/ENCODER/TASK-INDEX-STAMP-ID.json       the record
                                 .parquet     one row a query (or pair), one column a measure
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from harness import disk
from harness.arguments import read_arguments
from harness.disk import foreign
from harness.environment import Environment
from harness.errors import HarnessError, InputError, RefusedWarning, reason, warn_caller
from harness.masking import mask_json
from harness.measures import definitions
from harness.pipeline.phases import Phase
from harness.records import checks, files, schema1
from harness.records.columns import read_columns
from harness.records.fingerprints import apart_from_indexes, digest, is_composite
from harness.records.measured_costs import MeasuredCosts
from harness.stats import Estimate
from harness.vectors import Representation
from harness.wording import count

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 2
Loaded = TypeVar("Loaded")


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always"
    )


class SystemRecord(_Frozen):
    """What was measured.

    Attributes:
        spec: As asked.
        full: Short names replaced, defaults filled in; "own:NAME" of an object.
        source: A name of the registry, an object that was handed over, or a run file.
        fingerprint: What decides its results, as JSON; only compared, never read.
        representation: What an encoder makes of texts; None for what only ranks.
        similarity: Of an encoder's vectors.
        dim: Dimensions of its vectors.
        parameters: Numbers in the weights of a local model; None where that is not known.
        prompts: By role.
        prompt_names: By role, what the model calls its prompt, or the parameter that gives it.
    """

    spec: str
    full: str
    source: Literal["registry", "object", "run"] = "registry"
    fingerprint: dict[str, Any]
    representation: Representation | None = None
    similarity: str | None = None
    dim: int | None = None
    parameters: int | None = None
    prompts: dict[str, str] = {}
    prompt_names: dict[str, str] = {}


class TaskRecord(_Frozen):
    """The task. fingerprint: SHA-256 of the content of its parts."""

    spec: str
    source: str
    kind: str
    family: str
    fingerprint: dict[str, str]
    exclude_self: bool
    license: str
    reference: str


class RewritingRecord(_Frozen):
    """How queries were rewritten before they were searched with. details: what decides it."""

    spec: str
    full: str
    details: dict[str, Any]


class IndexRecord(_Frozen):
    """The index that served a system, or all of its parts together.

    Attributes:
        spec: As asked.
        full: Defaults filled in.
        exact: Whether it finds what an exhaustive search would.
        bytes: Memory of what is searched; None where that is not known.
        reused: Whether its structure was read from the store; None where none is kept.
        library: Libraries and versions, for people.
    """

    spec: str
    full: str
    exact: bool
    bytes: int | None = None
    reused: bool | None = None
    library: dict[str, Any] = {}


class PartRecord(_Frozen):
    """One part of a system made of others.

    Attributes:
        system: Its spec, after those of the parts that it is within: "outer: inner", as in phases.
        index: What served it; None where it is made of parts itself, or searches nothing.
        counts: Of the part alone.
        usage: What the part alone paid for at endpoints, by name.
        bytes: Memory of what is searched.
        weights: Of its own parts, where their scores are weighed.
    """

    system: str
    index: IndexRecord | None = None
    counts: dict[str, int | None] = {}
    usage: dict[str, float] = {}
    bytes: int | None = None
    weights: list[float] = []

    def nest(self, outer: str) -> PartRecord:
        """Return the same part of a part."""
        return self.model_copy(update={"system": f"{outer}: {self.system}"})


class LatencyRecord(_Frozen):
    """Milliseconds that single queries took, asked one by one: median, 95th percentile."""

    p50_ms: float
    p95_ms: float
    queries: int


class Record(_Frozen):
    """One evaluation of one system on one task.

    Attributes:
        depth: Results kept for each query; None where nothing is searched.
        index: What served the system; None where nothing is searched, or a run file was scored.
        parts: Of a system made of others, inner ones after the one that holds them.
        weights: Of its direct parts, where their scores are weighed.
        candidates: Whether the task names what is ranked for each query.
        ties: Share of the queries whose last result within the main measure's cut-off scores as the
            next does; None where nothing is searched.
        costs: Measured for a gate; None where they were not.
        lower_is_better: Those of the scores whose low values are good.
        usage: What was paid for at endpoints, by name (tokens, cost).
        makers: What made the vectors, each once: device, threads, versions of libraries; empty
            for what is not known.
    """

    schema_version: int = SCHEMA
    id: str
    created: str
    system: SystemRecord
    task: TaskRecord
    depth: int | None = None
    index: IndexRecord | None = None
    rewriting: RewritingRecord | None = None
    parts: list[PartRecord] = []
    weights: list[float] = []
    candidates: bool = False
    ties: float | None = None
    latency: LatencyRecord | None = None
    costs: MeasuredCosts | None = None
    main_measure: str
    scores: dict[str, Estimate]
    lower_is_better: list[str] = []
    counts: dict[str, int | None]
    usage: dict[str, float] = {}
    warnings: list[str]
    phases: list[Phase]
    makers: list[dict[str, str]] = []
    bootstrap: dict[str, float]
    environment: Environment

    @field_validator("created")
    @classmethod
    def _check_time(cls, created: str) -> str:
        return checks.check_time(created)

    @model_validator(mode="after")
    def _check_main(self) -> Record:
        if self.main_measure not in self.scores:
            raise ValueError(f"main_measure {self.main_measure!r} is not among the scores")
        return self

    @property
    def name(self) -> str:
        """What was chosen: the model, how queries were rewritten, an index that is not exact."""
        rewriting = f" + {self.rewriting.spec}" if self.rewriting else ""
        index = self.index.spec if self.index else "exact"
        return f"{self.system.spec}{rewriting}" + ("" if index == "exact" else f" @ {index}")

    @property
    def main(self) -> Estimate:
        """The score that the task is ranked by."""
        return self.scores[self.main_measure]

    def sign(self, measure: str = "") -> int:
        """1 where high values of a measure are good, -1 where low ones are; of the main one for "".

        Scores times their sign are larger the better: all that orders systems goes by these.
        """
        return -1 if (measure or self.main_measure) in self.lower_is_better else 1

    @property
    def exact(self) -> bool:
        """Whether nothing that was searched could be missed."""
        return self.index is None or self.index.exact

    @property
    def subject(self) -> str:
        """A digest of what was asked of what, the same for exact and approximate siblings."""
        rewriting = self.rewriting
        return digest(
            apart_from_indexes(self.system.fingerprint),
            self.system.prompts,
            rewriting and [rewriting.full, rewriting.details],
            [self.task.fingerprint, self.task.exclude_self, self.main_measure],
        )


def identity(
    system: SystemRecord,
    task: TaskRecord,
    searched: tuple[str, int] | None,
    rewriting: RewritingRecord | None,
    measures: Sequence[str],
) -> str:
    """Return an id that is equal for two evaluations that must give the same scores.

    The id does not depend on the schema: its inputs are those of schema 1.

    Args:
        system: What was measured.
        task: On what.
        searched: The index's full spec ("given" for a run file) and the depth, if searched.
        rewriting: How queries were rewritten, if they were.
        measures: The main one first.
    """
    parts = [
        {"fingerprint": system.fingerprint, "prompts": system.prompts},
        {"fingerprint": task.fingerprint, "exclude_self": task.exclude_self},
        searched and {"full": searched[0], "depth": searched[1]},
        list(measures),
        *([{"full": rewriting.full, "details": rewriting.details}] if rewriting else []),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_whole(path.with_suffix(".parquet"), buffer.getbuffer())
        disk.write_whole(path, to_bytes(record))
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written: {error.strerror or reason(error)}; "
            "choose another folder (on the command line --out DIR)"
        ) from error


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
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{where}: {field}: {first['msg']}: not a record of this version"
        ) from None
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
