"""A record of schema 2, field by field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

import harness.records.checks as checks
from harness.environment import Environment
from harness.pipeline.phases import Phase
from harness.records.fingerprints import apart_from_indexes, digest
from harness.records.measured_costs import MeasuredCosts
from harness.stats import Estimate
from harness.vectors import Representation

SCHEMA = 2


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
        device: What searched: cpu, or GPUs as in cuda:0+cuda:1; None where that is not known.
        library: Libraries and versions, for people.
    """

    spec: str
    full: str
    exact: bool
    bytes: int | None = None
    reused: bool | None = None
    device: str | None = None
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
    return digest(*parts)
