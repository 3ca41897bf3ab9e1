"""Records in MLflow and W&B: what was written is read back with their own formats."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness import records
from harness.api import evaluate
from harness.environment import Environment
from harness.errors import HarnessError, InputError
from harness.exchange import trackers
from harness.optional import install
from harness.pipeline.phases import Phase
from harness.records import Record, RewritingRecord
from harness.stats import Estimate


@cache
def measured() -> Record:
    task = "limit,docs=40,queries=9,k=2,attributes=5"
    return evaluate("hashing,dim=64", task, measures=["R@2", "nDCG@10"]).record


def known() -> Record:
    """A record with numbers that are written out here."""
    return measured().model_copy(
        update={
            "id": "0123456789ab",
            "created": "2026-01-02T03:04:05.500000Z",
            "scores": {
                "R@2": Estimate(mean=0.5, low=0.25, high=0.75),
                "nDCG@10": Estimate(mean=None, low=None, high=None),
            },
            "phases": [
                Phase("load", "", "data", 0.5, 0.5, 1.0),
                Phase("encode", "", "", 1.25, 1.0, 1.0),
                Phase("encode", "", "", 0.25, 1.0, 1.0),
            ],
            "environment": Environment(commit="abc123", dirty=True),
        }
    )


METRICS = {
    "R_at_2": 0.5,
    "R_at_2_low": 0.25,
    "R_at_2_high": 0.75,
    "seconds_load_data": 0.5,
    "seconds_encode": 1.5,
}
NAME = "hashing,dim=64 on limit,docs=40,queries=9,k=2,attributes=5"


def tags() -> dict[str, str]:
    data = {f"data_{part}": digest for part, digest in known().task.fingerprint.items()}
    assert set(data) == {"data_corpus", "data_queries", "data_qrels"}
    return {
        "record_id": "0123456789ab",
        "record_created": "2026-01-02T03:04:05.500000Z",
        "commit": "abc123-dirty",
        **data,
    }


def test_what_a_tracker_is_told():
    told = trackers.entry(known())
    assert told.name == NAME
    assert told.metrics == METRICS
    assert told.tags == tags()
    assert told.params == {
        "system": known().system.full,
        "task": known().task.source,
        "index": "exact,block=262144",
        "depth": "10",
        "main_measure": "R_at_2",
    }


def test_what_is_not_known_is_left_out():
    rewriting = RewritingRecord(spec="prf", full="prf,terms=5", details={})
    changes = {"depth": None, "index": None, "rewriting": rewriting, "environment": Environment()}
    told = trackers.entry(known().model_copy(update=changes))
    assert set(told.params) == {"system", "task", "rewriting", "main_measure"}
    assert told.params["rewriting"] == "prf,terms=5"
    assert "commit" not in told.tags
    clean = known().model_copy(update={"environment": Environment(commit="abc123", dirty=False)})
    assert trackers.entry(clean).tags["commit"] == "abc123"


@pytest.mark.parametrize(("name", "save"), [
    ("mlflow", lambda folder: trackers.save_mlflow(known(), f"sqlite:///{folder}/m.db", "e")),
    ("wandb", lambda folder: trackers.save_wandb(known(), "p", folder)),
])  # fmt: skip
def test_without_the_library_one_line_says_how_to_get_it(name, save, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as error:
        save(tmp_path)
    assert str(error.value) == (
        f"{name} cannot be imported (import of {name} halted; None in sys.modules): "
        + install(name)
    )


def test_the_environment_is_as_before(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv(trackers.RETRIES, "5")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    with pytest.raises(InputError):
        trackers.save_mlflow(known(), "sqlite:///m.db", "e")
    assert os.environ[trackers.RETRIES] == "5"
    assert "MLFLOW_DISABLE_TELEMETRY" not in os.environ


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of this process to anything but itself fail the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1")
        assert local, f"connection to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def mlflow(no_network: None) -> Any:
    """MLflow with its database, loaded as the harness loads it: silently, without telemetry."""
    with trackers._quiet({"MLFLOW_DISABLE_TELEMETRY": "true"}):
        pytest.importorskip("sqlalchemy")
        return pytest.importorskip("mlflow")


def runs(mlflow: Any, uri: str, experiment: str) -> list[Any]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow(mlflow, tmp_path, monkeypatch, capfd):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    uri = f"sqlite:///{tmp_path}/m.db"
    assert trackers.save_mlflow(known(), uri, "trials")
    (run,) = runs(mlflow, uri, "trials")
    assert run.info.run_name == NAME
    assert run.info.status == "FINISHED"
    # 2026-01-02T03:04:05.5 less the two seconds of all phases
    assert (run.info.start_time, run.info.end_time) == (1767323043500, 1767323045500)
    assert run.data.metrics == METRICS
    assert run.data.params == trackers.entry(known()).params
    assert run.data.tags.items() >= tags().items()
    (file,) = tmp_path.rglob("record.json")
    assert records.load(file) == known()
    assert file.is_relative_to(tmp_path / "mlruns")
    assert list((tmp_path / "cwd").iterdir()) == []
    assert capfd.readouterr() == ("", "")

    assert not trackers.save_mlflow(known(), uri, "trials")
    assert len(runs(mlflow, uri, "trials")) == 1
    later = known().model_copy(update={"created": "2026-01-02T03:04:06.500000Z"})
    assert trackers.save_mlflow(later, uri, "trials")
    assert trackers.save_mlflow(known(), uri, "others")
    assert (len(runs(mlflow, uri, "trials")), len(runs(mlflow, uri, "others"))) == (2, 1)

    # one that was cut short is no export
    mlflow.MlflowClient(tracking_uri=uri).set_terminated(run.info.run_id, "FAILED")
    assert trackers.save_mlflow(known(), uri, "trials")
    assert not trackers.save_mlflow(known(), uri, "trials")


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_what_mlflow_refuses(mlflow, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"/m.db: MLflow cannot write: .*; expected sqlite:///"):
        trackers.save_mlflow(known(), f"sqlite:///{tmp_path}/file/m.db", "e")
    (tmp_path / "file").write_text("no database" * 100)
    with pytest.raises(HarnessError, match=r"/file: MLflow cannot write: .*not a database; expect"):
        trackers.save_mlflow(known(), f"sqlite:///{tmp_path}/file", "e")
    with pytest.raises(HarnessError, match=r"^ftp://host/x: MLflow cannot write: .*ftp") as error:
        trackers.save_mlflow(known(), "ftp://me:secret@host/x", "e")
    assert "secret" not in str(error.value)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(InputError, match=r"^sqlalchemy cannot be imported .*\[mlflow\]'$"):
        trackers.save_mlflow(known(), f"sqlite:///{tmp_path}/m.db", "e")


def logged(file: Path) -> list[bytes]:
    """The records of a run's .wandb file: a LevelDB log after a header of seven bytes.

    Blocks of 32 KiB hold chunks: checksum, length and type (1 whole, 2 first, 3 middle, 4 last).
    """
    data, at, found = file.read_bytes(), 7, [b""]
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        found[-1] += data[at + 7 : at + 7 + length]
        if kind in (1, 4):
            found.append(b"")
        at += 7 + length
    return found[:-1]


@pytest.fixture
def wandb(no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """W&B with every folder of its own inside the test's."""
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "own"))
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with trackers._quiet({"WANDB_ERROR_REPORTING": "false"}):
        library = pytest.importorskip("wandb")
    yield library
    library.teardown()


@pytest.mark.filterwarnings("ignore")  # W&B's own
def test_wandb(wandb, tmp_path, capfd):
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    out = tmp_path / "out"
    assert trackers.save_wandb(known(), "trials", out)
    wandb.teardown()  # its service writes on after a run is finished
    (folder,) = (out / "wandb").glob("offline-run-*")
    assert records.load(folder / "files" / "record.json") == known()
    (file,) = folder.glob("run-*.wandb")
    entries = [protocol.Record.FromString(data) for data in logged(file)]
    (run,) = (one.run for one in entries if one.WhichOneof("record_type") == "run")
    assert (run.project, run.display_name) == ("trials", NAME)
    assert (run.host, run.git.commit) == ("-", "")
    config = {one.key: json.loads(one.value_json) for one in run.config.update}
    told = trackers.entry(known())
    assert {k: v for k, v in config.items() if k != "_wandb"} == {**told.params, **told.tags}
    (history,) = (one.history for one in entries if one.WhichOneof("record_type") == "history")
    values = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in history.item}
    assert {k: v for k, v in values.items() if not k.startswith("_")} == METRICS
    assert [file.path for one in entries for file in one.files.files] == ["record.json"]
    assert entries[-1].WhichOneof("record_type") == "exit"
    assert [one.name for one in (folder / "files").iterdir()] == ["record.json"]
    assert capfd.readouterr() == ("", "")
    for one in out.rglob("*"):
        assert not one.is_file() or b"f" * 40 not in one.read_bytes(), one

    assert not trackers.save_wandb(known(), "trials", out)
    assert len(list((out / "wandb").glob("offline-run-*"))) == 1
    later = known().model_copy(update={"created": "2026-01-02T03:04:06.500000Z"})
    assert trackers.save_wandb(later, "trials", out)
    assert trackers.save_wandb(known(), "others", out)
    assert len(list((out / "wandb").glob("offline-run-*"))) == 3


@pytest.mark.filterwarnings("ignore")  # W&B's own
def test_what_wandb_refuses(wandb, tmp_path):
    with pytest.raises(HarnessError, match=r"W&B cannot write: Invalid project name 'a/b'"):
        trackers.save_wandb(known(), "a/b", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"file: W&B cannot write: .*Not a directory"):
        trackers.save_wandb(known(), "p", tmp_path / "file")
