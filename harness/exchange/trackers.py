"""Records as runs of experiment trackers: MLflow, and Weights & Biases in its offline mode.

A run holds what was measured (parameters), every score with its interval and the seconds of every
phase (metrics), what identifies record and data (tags), and the record itself (record.json).
Read in mlflow 3.17 and wandb 0.31; both are silenced, and neither reports on its user.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

from harness import disk
from harness.errors import HarnessError, reason
from harness.optional import load
from harness.records import Record

RECORD = "record.json"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a record, under names that every tracker allows."""

    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def entry(record: Record) -> TrackedRun:
    """A record as the run of a tracker.

    R@2 becomes R_at_2, R_at_2_low and R_at_2_high, the phase "load data" seconds_load_data; what
    is not defined is left out.
    """
    params = {
        "system": record.system.full,
        "task": record.task.source,
        "index": record.index and record.index.full,
        "depth": record.depth and str(record.depth),
        "rewriting": record.rewriting and record.rewriting.full,
        "main_measure": _key(record.main_measure),
    }
    scores = {
        _key(measure) + suffix: value
        for measure, score in record.scores.items()
        for suffix, value in (("", score.mean), ("_low", score.low), ("_high", score.high))
        if value is not None
    }
    seconds: dict[str, float] = {}
    for phase in record.phases:
        key = _key(f"seconds {phase.label}")
        seconds[key] = seconds.get(key, 0.0) + phase.wall_s
    commit = record.environment.commit
    changed = "-dirty" if record.environment.dirty else ""
    tags = {
        "record_id": record.id,
        "record_created": record.created,  # "created" alone is start_time in MLflow's filters
        **({"commit": f"{commit}{changed}"} if commit else {}),
        **{_key(f"data {part}"): digest for part, digest in record.task.fingerprint.items()},
    }
    return TrackedRun(
        name=f"{record.name} on {record.task.spec}",
        params={name: value for name, value in params.items() if value},
        metrics={**scores, **seconds},
        tags=tags,
    )


def _key(name: str) -> str:
    """Letters, digits and _ alone: the names that MLflow and W&B's queries both allow."""
    return re.sub(r"\W+", "_", name.replace("@", "_at_"), flags=re.ASCII).strip("_")


def save_mlflow(record: Record, uri: str, experiment: str) -> bool:
    """Write a record as a run of MLflow's; False where the experiment has it already.

    uri: a database (sqlite:///FILE.db) or a server. Files of a new experiment in SQLite go to
    mlruns/ beside the database. A run that was cut short counts as none. Raises InputError where
    MLflow is not installed, HarnessError where it refuses.
    """
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        RETRIES: os.environ.get(RETRIES, "2"),  # its 7 take minutes
    }
    with _quiet(quiet):
        mlflow = load("mlflow", "mlflow")
        if re.match(r"sqlite|postgresql|mysql|mssql", uri):
            load("sqlalchemy", "mlflow")  # without it MLflow denies that there are databases
        try:
            return _log(mlflow, record, uri, experiment)
        except Exception as error:  # noqa: BLE001 - of MLflow, a database or the network
            said = reason(error).partition(". ")[0]
            line = f"{uri}: MLflow cannot write: {said}; expected sqlite:///FILE.db or a server"
            raise HarnessError(re.sub(r"//[^/\s]*@", "//", line)) from None  # no password


def _log(mlflow: Any, record: Record, uri: str, experiment: str) -> bool:
    client, told = mlflow.MlflowClient(tracking_uri=uri), entry(record)
    known = client.get_experiment_by_name(experiment)
    id = known.experiment_id if known else client.create_experiment(experiment, _artifacts(uri))
    same = (
        f"tags.record_id = '{record.id}' and tags.record_created = '{record.created}' "
        "and attributes.status = 'FINISHED'"
    )
    if client.search_runs([id], same, max_results=1):
        return False
    end = datetime.fromisoformat(record.created).timestamp()
    start = end - sum(phase.wall_s for phase in record.phases)
    entities, at = mlflow.entities, round(end * 1000)
    run = client.create_run(id, start_time=round(start * 1000), run_name=told.name).info.run_id
    client.log_batch(
        run,
        [entities.Metric(name, value, at, 0) for name, value in told.metrics.items()],
        [entities.Param(name, value) for name, value in told.params.items()],
        [entities.RunTag(name, value) for name, value in told.tags.items()],
    )
    client.log_text(run, record.model_dump_json(indent=2), RECORD)
    client.set_terminated(run, "FINISHED", at)
    return True


def _artifacts(uri: str) -> str | None:
    """Where files of a new experiment go; MLflow itself would take the current folder."""
    scheme, _, path = uri.partition(":///")
    if scheme != "sqlite":
        return None
    return (Path(path.partition("?")[0]).resolve().parent / "mlruns").as_uri()


def save_wandb(record: Record, project: str, folder: Path) -> bool:
    """Write a record as an offline run of W&B's; False where the folder has it already.

    The run is FOLDER/wandb/offline-run-TIME-ID, which `wandb sync` uploads. ID follows from
    project and record, so that one exported and uploaded again replaces itself. Raises InputError
    where wandb is not installed, HarnessError where the folder cannot be written.
    """
    named = f"{project}\n{record.id}\n{record.created}"
    id, told = hashlib.sha256(named.encode()).hexdigest()[:16], entry(record)
    if any(folder.glob(f"wandb/offline-run-*-{id}/files/{RECORD}")):
        return False
    with _quiet({"WANDB_ERROR_REPORTING": "false"}):
        wandb = load("wandb", "wandb")
        try:
            (folder / "wandb").mkdir(parents=True, exist_ok=True)  # it would take another folder
            run = wandb.init(
                project=project,
                dir=str(folder),
                id=id,
                name=told.name,
                config={**told.params, **told.tags},
                mode="offline",
                settings=_unobtrusive(wandb),
            )
            with run:
                run.log(dict(told.metrics))
                file = Path(run.dir) / RECORD
                disk.write_whole(file, record.model_dump_json(indent=2).encode())
                run.save(str(file), base_path=run.dir, policy="now")
        except (wandb.Error, OSError, ValueError) as error:
            raise HarnessError(f"{folder}: W&B cannot write: {reason(error)}") from error
    return True


def _unobtrusive(wandb: Any) -> Any:
    """Settings under which nothing is shown, and nothing kept of the machine that exports."""
    return wandb.Settings(
        silent=True,
        host="-",  # unset, it would be this machine's name
        console="off",
        reinit="create_new",  # a run of the caller's goes on
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )


@contextmanager
def _quiet(environment: Mapping[str, str]) -> Iterator[None]:
    """Neither output nor warnings of a library, under these environment variables."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
