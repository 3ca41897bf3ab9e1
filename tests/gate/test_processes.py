"""Costs measured by processes: what one says, that tasks take turns, what fails."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.data import Role
from harness.encoders.hashing import Hashing
from harness.errors import HarnessError, InputError
from harness.gate import one_run
from harness.gate.one_run import CostRequest, measure_run
from harness.gate.processes import Processes
from harness.records.measured_costs import CostRun
from harness.session import Session
from harness.store import Store

TASK = "limit,docs=40,queries=12"


def test_a_real_process_measures_time_memory_and_the_machine(tmp_path):
    run, fingerprint = Processes(tmp_path, [], 2)._run(CostRequest("hashing,dim=8", TASK))
    assert fingerprint == dict(Hashing(8).fingerprint())
    assert 10 < run.cold_mb <= run.warm_mb < 1000
    times = (run.product_s, run.copy_s, run.loop_s, run.start_s, run.encode_s, run.query_s)
    assert all(1e-7 < seconds < 60 for seconds in times)
    talks = tmp_path / "talks.py"
    talks.write_text("import sys; print('be warned', file=sys.stderr)")
    with pytest.raises(HarnessError, match=r"^unknown encoder 'hashin'\. Did you"):
        Processes(tmp_path, [talks], 2)._run(CostRequest("hashin", TASK))


def test_what_is_encoded_is_a_sample_and_asked_are_queries(tmp_path, monkeypatch):
    monkeypatch.setattr(one_run, "SECONDS", 0.0)
    monkeypatch.setattr(one_run, "ROUNDS", 2)
    session, asked = Session(Store(tmp_path)), list[tuple[int, str]]()
    session.rank("hashing", TASK)  # its vectors are in the store from here
    encode = Hashing.encode

    def count(self, texts, role: Role):
        asked.append((len(texts), role))
        return encode(self, texts, role)

    monkeypatch.setattr(Hashing, "encode", count)
    measure_run(Session(Store(tmp_path)), CostRequest("hashing", TASK))
    sample, queries = [(16, "document"), (12, "query")], [(1, "query")] * 8
    assert asked == [*sample, *queries, *(sample + queries) * 2]


def test_seconds_of_texts_and_of_queries_by_hand(tmp_path, monkeypatch):
    """On a clock that moves while texts are encoded, 16 documents, 12 queries or one alone, and by
    a second for each megabyte that is copied.
    """
    Session(Store(tmp_path)).rank("hashing", TASK)
    now, encode = [0.0], Hashing.encode

    def tick(self, texts, role: Role):
        now[0] += {16: 10.0, 12: 4.0, 1: 3.0}[len(texts)]
        return encode(self, texts, role)

    def copy(made, a):
        now[0] += a.nbytes / 1e6

    monkeypatch.setattr(Hashing, "encode", tick)
    monkeypatch.setattr(np, "copyto", copy)
    monkeypatch.setattr(one_run, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(one_run, "waited_s", lambda: 0.0)
    run, _ = measure_run(Session(Store(tmp_path)), CostRequest("hashing", TASK))
    assert (run.start_s, run.encode_s, run.query_s) == (14, 14 / 28, 3)
    assert (run.product_s, run.loop_s) == (0, 0)
    assert run.copy_s > 1  # megabytes, or it is no work


def test_systems_of_several_parts_and_of_none(tmp_path, monkeypatch):
    monkeypatch.setattr(one_run, "SECONDS", 0.0)
    monkeypatch.setattr(one_run, "ROUNDS", 1)
    session = Session(Store(tmp_path))
    run, _ = measure_run(session, CostRequest("rrf:hashing+bm25", TASK))
    assert None not in (run.encode_s, run.query_s, run.warm_mb)
    rewritten, _ = measure_run(session, CostRequest("bm25", TASK, rewrite="rm3"))
    assert rewritten.encode_s is not None
    assert rewritten.query_s is None
    monkeypatch.setattr(Hashing, "paid", True)
    with pytest.raises(InputError, match="hashing is paid for each text"):
        measure_run(session, CostRequest("hashing", TASK))


def test_tasks_take_turns_and_the_first_run_of_each_does_not_count(tmp_path, monkeypatch):
    order = list[str]()

    def play(self, asked):
        order.append(asked.task)
        if asked.task == "c":
            raise HarnessError("no such thing")
        return CostRun(len(order), 1.0, 1.0), {}

    monkeypatch.setattr(Processes, "_run", play)
    found = Processes(tmp_path, [], 2).measure([CostRequest("m", task) for task in "abc"])
    assert order == ["a", "b", "c", "a", "b", "a", "b"]
    assert [[run.product_s for run in costs.runs] for costs, _ in found] == [[4, 6], [5, 7], []]
    assert [costs.why for costs, _ in found] == ["", "", "no such thing"]
