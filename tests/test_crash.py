"""Real processes killed in the middle of encoding: whole shards stay, and nothing else counts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from harness.records import per_query
from harness.store import Store

# an encoder that says each text it encodes and takes its time where SLOW is set
PLUGIN = """
    import os, time
    from dataclasses import dataclass

    from harness import encoders, store
    from harness.encoders import ENCODERS
    from harness.encoders.hashing import Hashing

    encoders.AT_ONCE = 2
    store.Store.__init__.__defaults__ = (4, store.DEFAULT_LIMIT, 0.0)  # texts in a shard

    @ENCODERS.register("slow")
    @dataclass(frozen=True)
    class Slow(Hashing):
        def encode(self, texts, role):
            with open(os.environ["SEEN"], "a") as seen:
                for text in texts:
                    seen.write(f"{role} {text}\\n")
            time.sleep(float(os.environ.get("SLOW", "0")))
            return super().encode(texts, role)
"""
TASK = "limit,docs=40,queries=9,k=2,attributes=5"


class Place:
    """A folder with a plugin, a store and records, and the command that uses them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.plugin = folder / "slow.py"
        self.plugin.write_text(textwrap.dedent(PLUGIN))
        self.store = Store(folder / "store")

    def start(self, slow: float = 0) -> subprocess.Popen[str]:
        words = ["eval", "-m", "slow,dim=64", "-t", TASK, "--plugin", str(self.plugin), "--json"]
        places = ["--cache", str(self.store.root), "--out", str(self.folder / "records")]
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *words, *places],
            env={**os.environ, "SEEN": str(self.folder / "seen"), "SLOW": str(slow)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> dict:
        process = self.start()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        (record,) = json.loads(out)
        return record

    def interrupted(self, signum: int, shards: int = 3) -> tuple[int, str]:
        """Send a signal once some shards lie there; returns exit status and standard error."""
        process = self.start(slow=0.2)  # much is left to do, however late the signal
        deadline = time.monotonic() + 60
        while len(self.shards()) < shards and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signum)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    def seen(self) -> list[str]:
        return (self.folder / "seen").read_text().splitlines()

    def shards(self) -> list[Path]:
        return sorted(self.store.root.glob("embeddings/*/*.npy"))

    def stored(self) -> set[bytes]:
        rows = [np.load(path) for path in self.shards()]
        return {bytes(row["key"]).ljust(16, b"\0") + row["vector"].tobytes()
                for part in rows for row in part}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, dict]:
    """An uninterrupted run."""
    place = Place(tmp_path_factory.mktemp("crash") / "whole")
    return place, place.run()


def test_a_run_without_a_crash_encodes_each_text_once(whole):
    place, record = whole
    assert len(place.seen()) == len(set(place.seen())) == 49
    assert record["counts"]["documents_encoded_now"] == 40
    assert record["counts"]["queries_encoded_now"] == 9
    assert len(place.shards()) == 10 + 3


def test_after_kill_9_only_what_is_missing_is_encoded_and_nothing_differs(whole, tmp_path):
    reference, expected = whole
    place = Place(tmp_path / "killed")
    status, _ = place.interrupted(signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not (place.folder / "records").exists()
    kept = sum(len(np.load(path)) for path in place.shards())
    assert 12 <= kept < 40
    assert place.store.verify() == (len(place.shards()), [])

    before = len(place.seen())
    record = place.run()
    missing = place.seen()[before:]
    assert len(missing) == len(set(missing)) == 49 - kept
    assert record["counts"]["documents_encoded_now"] == 40 - kept
    assert record["id"] == expected["id"]
    assert record["scores"] == expected["scores"]
    assert place.stored() == reference.stored()
    assert [p.name for p in place.shards()] == [p.name for p in reference.shards()]
    tables = [
        per_query(next(p.folder.glob("records/*/*.json"))).to_pydict() for p in (place, reference)
    ]
    assert tables[0] == tables[1]


def test_half_a_shard_under_a_temporary_name_is_never_read(whole, tmp_path):
    reference, expected = whole
    place = Place(tmp_path / "half")
    place.run()
    victims = place.shards()[:2]
    for path in victims:  # as after a kill between write and rename
        path.rename(path.with_name(f".{path.stem}.part"))
    before = len(place.seen())
    record = place.run()
    assert 0 < len(place.seen()) - before <= 8
    assert record["scores"] == expected["scores"]
    assert record["warnings"] == expected["warnings"]
    assert place.stored() == reference.stored()


def test_ctrl_c_exits_130_with_one_line_and_keeps_whole_shards(whole, tmp_path):
    _, expected = whole
    place = Place(tmp_path / "interrupted")
    status, err = place.interrupted(signal.SIGINT)
    assert status == 130
    assert err == (
        "interrupted: whole shards and records are kept; run the same command to go on\n"
    )
    assert list(place.folder.rglob("*.part")) == []
    kept = sum(len(np.load(path)) for path in place.shards())
    assert kept >= 12
    record = place.run()
    assert record["counts"]["documents_encoded_now"] == 40 - kept
    assert record["scores"] == expected["scores"]
