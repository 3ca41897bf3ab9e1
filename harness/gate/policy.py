"""What counts as a regression: the policy of a gate, as a value and as a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.disk import foreign
from harness.errors import InputError
from harness.registry import unknown

Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class TaskPolicy(_Table):
    """What one task may lose, where that differs from the others."""

    absolute: Amount | None = None
    relative: Share | None = None
    detectable: Amount | None = None


class CostPolicy(_Table):
    """Candidate over baseline, the geometric mean over tasks: throughput at least, others at most.

    throughput: texts encoded a second. start: until the first texts are encoded. latency: of a
    query alone. memory: peak of a process, loading and encoding (cold) and searching (warm).
    noise: how far a measured ratio may be off for what repeated runs do not show; it widens
    intervals. runs: processes that measure each task. machines: whether times of different
    machines are compared.
    """

    throughput: Ratio | None = None
    start: Ratio | None = None
    latency: Ratio | None = None
    memory: Ratio | None = None
    dimension: Ratio | None = None
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.1
    runs: Annotated[int, Field(ge=2, le=1000)] = 5
    machines: Literal["same", "any"] = "same"


class Policy(_Table):
    """What counts as a regression.

    A score may fall by the larger of `absolute` and `relative` times the baseline's. alpha: of the
    one-sided tests of a larger fall, corrected over tasks. detectable: the largest true drop that a
    task may be too small to show (with power 0.8) and still pass. required: tasks that must be
    measured, by default all of the baseline. prompts: whether the same model may come with others.
    """

    absolute: Amount = 0.01
    relative: Share = 0.0
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    correction: Literal["holm", "benjamini-hochberg", "none"] = "holm"
    detectable: Amount = 0.1
    prompts: Literal["same", "any"] = "same"
    required: list[str] | None = None
    cost: CostPolicy = CostPolicy()
    tasks: dict[str, TaskPolicy] = {}


def read_policy(path: Path) -> Policy:
    """Read a policy from a TOML file.

    Raises:
        InputError: Naming the key and what was expected.
    """
    try:
        return Policy.model_validate(foreign.read_toml(path))
    except ValidationError as error:
        first = error.errors()[0]
        *above, key = first["loc"]
        if first["type"] == "extra_forbidden":
            models: dict[str, type[BaseModel]] = {"cost": CostPolicy, "tasks": TaskPolicy}
            model = models[str(above[0])] if above else Policy
            raise InputError(f"{path}: {unknown('key', str(key), model.model_fields)}") from None
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where} = {first['input']!r}: {first['msg']}") from None
