"""Processes and threads that share a store: any mix of them ends right."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from harness.api import evaluate
from harness.data import Role
from harness.disk import lease
from harness.encoders import Encoded
from harness.encoders.hashing import Hashing
from harness.indexes import INDEXES, saved
from harness.indexes.hnsw import Hnsw
from harness.progress import silent
from harness.store import Store
from harness.store.held import LostError
from harness.vectors import Dense
from tests.fakes import Counting

TEXTS = [f"word{i} text" for i in range(8)]
TASK = "limit,docs=40,queries=9,k=2,attributes=5"

WORKER = """
    import json, sys, time
    from pathlib import Path
    from harness.encoders.hashing import Hashing
    from harness.api import evaluate
    from harness.store import Store, plan

    plan.BATCH, encode = 2, Hashing.encode

    def slowly(self, texts, role):
        time.sleep(0.002)
        return encode(self, texts, role)

    Hashing.encode = slowly
    what, store = sys.argv[1], Store(Path(sys.argv[2]), shard=4)
    evaluate("hashing", TASK, "hnsw", store=Store(Path(sys.argv[2]) / "warm"))  # all is imported
    print("ready", flush=True)
    until = time.monotonic() + float(sys.stdin.readline())
    scores, failures, done = set(), [], 0
    while time.monotonic() < until or done < 3:
        try:
            if what == "prune":
                store.prune(0)
            elif what == "verify":
                _, damaged = store.verify()
                assert not damaged, damaged
                store.spaces()
            else:
                model, index = what.split()
                record = evaluate(model, TASK, index, store=store).record
                assert not [w for w in record.warnings if "damaged" in w], record.warnings
                scores.add(json.dumps({k: v.mean for k, v in record.scores.items()}))
        except Exception as error:
            failures.append(repr(error))
        done += 1
    print(json.dumps([done, sorted(scores), failures]))
"""


def run_all(jobs: Sequence[str], root: Path, seconds: float) -> list[list[str]]:
    """Run jobs in processes of their own, which begin at once; the scores of each."""
    code = textwrap.dedent(WORKER).replace("TASK", repr(TASK))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, what, str(root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for what in jobs
    ]  # fmt: skip
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
    for process in running:
        assert process.stdin is not None
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
    found = []
    for process in running:
        out, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
        done, scores, failures = json.loads(out)
        assert failures == []
        assert done >= 3
        found.append(scores)
    return found


def test_processes_that_evaluate_prune_and_verify_end_right(tmp_path):
    wanted, store = [], Store(tmp_path / "alone")
    models = ["hashing,dim=64 exact", "hashing,dim=64 hnsw", "hashing,dim=16 hnsw"]
    for what in models:
        model, index = what.split()
        record = evaluate(model, TASK, index, store=store).record
        wanted.append([json.dumps({k: v.mean for k, v in record.scores.items()})])
    found = run_all([*models, "prune", "prune", "verify"], tmp_path / "shared", 4)
    assert found == [*wanted, [], [], []]


def together(*jobs: Callable[[], object]) -> None:
    """Run jobs in threads at once; the first exception is raised here."""
    errors = list[BaseException]()
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> None:
        try:
            barrier.wait()
            job()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("locks", [True, False])
def test_threads_that_fetch_prune_and_verify_end_right(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    store, until = Store(tmp_path, shard=2), time.monotonic() + 2
    wanted = {dim: Hashing(dim).encode(TEXTS, "document").values for dim in (4, 8)}

    def fetching(dim: int) -> Callable[[], None]:
        def job() -> None:
            while time.monotonic() < until:
                made = store.plan(Hashing(dim), TEXTS, "document").fetch().encoded.values
                np.testing.assert_array_equal(made, wanted[dim])

        return job

    def pruning() -> None:
        while time.monotonic() < until:
            store.prune(0)

    def verifying() -> None:
        while time.monotonic() < until:
            assert store.verify()[1] == []

    together(*map(fetching, (4, 4, 8, 8)), pruning, pruning, verifying)


def test_threads_that_evaluate_and_prune_end_right(tmp_path):
    wanted = evaluate("hashing,dim=64", TASK, "hnsw", store=Store(tmp_path / "alone")).record.scores
    store, until = Store(tmp_path / "shared", shard=4), time.monotonic() + 2

    def evaluating() -> None:
        while time.monotonic() < until:
            found = evaluate("hashing,dim=64", TASK, "hnsw", store=store).record
            assert found.scores == wanted
            assert saved.DAMAGED not in found.warnings

    def pruning() -> None:
        while time.monotonic() < until:
            store.prune(0)

    together(evaluating, evaluating, evaluating, pruning)


@dataclass(frozen=True)
class Losing(Hashing):
    """An encoder during whose work a shard of the store goes, or all of them."""

    root: Path = Path()
    how: str = "shard"
    calls: list[int] = field(default_factory=list)

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        found = super().encode(texts, role)
        self.calls.append(len(texts))
        shards = sorted(self.root.glob("embeddings/*/*.npy"))
        if len(self.calls) == 4:
            if self.how == "shard":
                shards[0].unlink()
            elif self.how == "folder":
                while shards[0].parent.exists():  # a shard may be written into it meanwhile
                    shutil.rmtree(shards[0].parent, ignore_errors=True)
            else:  # another shard's content under this name
                shards[0].write_bytes(shards[1].read_bytes())
        return found


@pytest.mark.parametrize("how", ["shard", "folder", "content"])
def test_a_shard_that_goes_while_others_are_made_is_made_again(tmp_path, how):
    store = Store(tmp_path, shard=2)
    encoder = Losing(8, tmp_path, how)
    plan = store.plan(encoder, TEXTS, "document")
    found = plan.fetch()
    np.testing.assert_array_equal(found.encoded.values, Hashing(8).encode(TEXTS, "document").values)
    assert found.made >= 10
    again = store.plan(encoder, TEXTS, "document").fetch()
    assert again.made == 0
    np.testing.assert_array_equal(again.encoded.values, found.encoded.values)


def test_a_shard_that_changes_between_plan_and_fetch_is_made_again(tmp_path):
    store = Store(tmp_path, shard=2)
    whole = store.plan(Counting(), TEXTS, "document").fetch().encoded.values
    encoder = Counting()
    plan = store.plan(encoder, TEXTS, "document")
    assert len(plan.missing) == 0
    first, second, *_ = sorted(tmp_path.glob("embeddings/*/*.npy"))
    first.unlink()
    second.write_bytes(b"nothing of numpy")
    found = plan.fetch()
    np.testing.assert_array_equal(found.encoded.values, whole)
    assert (found.made, encoder.loads) == (4, [1, 1])
    assert found.warnings == (
        "1 damaged shard(s) of the store were set aside and their texts encoded anew",
    )


def test_what_goes_again_and_again_is_an_error(tmp_path):
    store = Store(tmp_path, shard=2)

    @dataclass(frozen=True)
    class Vanishing(Hashing):
        def encode(self, texts: Sequence[str], role: Role) -> Encoded:
            for path in tmp_path.glob("embeddings/*/*.npy"):
                path.unlink()
            return super().encode(texts, role)

    plan = store.plan(Vanishing(8), TEXTS, "document")
    with pytest.raises(LostError, match="vectors went while they were wanted"):
        plan.fetch()


def test_what_is_planned_or_fetched_is_not_pruned(tmp_path):
    store = Store(tmp_path, shard=2)
    store.plan(Counting(), TEXTS, "document").fetch()
    plan = store.plan(Counting(), [*TEXTS, "more"], "document")
    assert store.prune(0) == []
    plan.fetch()
    assert len(store.prune(0)) == 1
    assert store.spaces() == []

    @dataclass(frozen=True)
    class Pruning(Counting):
        def encode(self, texts: Sequence[str], role: Role) -> Encoded:
            assert store.prune(0) == []
            return super().encode(texts, role)

    encoder = Pruning()
    store.plan(encoder, TEXTS, "document").fetch()
    assert len(encoder.seen) == len(TEXTS)
    plan = store.plan(Counting(), ["new"], "document")
    del plan  # planned and given up
    assert len(store.prune(0)) == 1


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    store = Store(tmp_path)
    store.plan(Hashing(8), TEXTS, "document").fetch()
    program = """
        import sys, time
        from pathlib import Path
        from harness.encoders.hashing import Hashing
        from harness.store import Store
        plan = Store(Path(sys.argv[1])).plan(Hashing(8), ["a"], "document")
        print("planned", flush=True)
        time.sleep(60)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"planned\n"
        assert store.prune(0) == []
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(store.prune(0)) == 1


def refuse(number: int) -> Callable[..., None]:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


def test_where_there_are_no_locks_what_was_used_within_the_hour_is_kept(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.plan(Counting(), TEXTS, "document").fetch()
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    assert store.prune(0) == []
    (space,) = store.spaces()
    plan = store.plan(Counting(), TEXTS, "document")
    for path in (*space.path.iterdir(), space.path):
        os.utime(path, (0, time.time() - 3700))
    plan.fetch()  # it tells that it was used
    assert store.prune(0) == []
    os.utime(space.path / "space.json", (0, time.time() - 3700))
    assert [one.path for one in store.prune(0)] == [space.path]


def test_a_lease_is_on_the_folder_that_has_the_name_now(tmp_path):
    folder = tmp_path / "folder"
    assert lease.hold(folder) is None
    with lease.alone(folder) as free:
        assert not free
    folder.mkdir()
    first = lease.hold(folder)
    assert first is not None
    with first, lease.alone(folder) as free:
        assert not free
    with lease.alone(folder) as free:
        assert free
    second = lease.hold(folder)
    assert second is not None
    folder.rename(tmp_path / "other")
    assert not second.is_at(folder)
    folder.mkdir()
    assert not second.is_at(folder)
    with lease.alone(folder) as free:
        assert free


# a structure of pure Python, so that processes can be forked
MENDING = """
    import os, sys
    from pathlib import Path
    import numpy as np
    from harness.indexes import Found, IndexInfo
    from harness.indexes.saved import FileIndex
    from harness.vectors import Dense
    root, vectors = Path(sys.argv[1]), Dense(np.eye(64, dtype=np.float32))

    class Nothing:
        info = IndexInfo(bytes=0, exact=False)
        def search(self, queries, k, progress): return Found(None)

    class Plain(FileIndex):
        def build_key(self): return {"kind": "plain"}
        def make(self, documents, progress): return documents.values.tobytes()
        def load(self, path): return path.read_bytes()
        def save(self, built, path): path.write_bytes(built)
        def size(self, built): return len(built)
        def searcher(self, built, documents):
            assert built == documents.values.tobytes()
            return Nothing()

    Plain().open(vectors, root)
    (place,) = root.iterdir()
    for turn in range(60):
        path = place / ("structure", "structure.json")[turn % 2]
        data = bytearray(path.read_bytes())
        data[turn % len(data)] ^= 1
        path.write_bytes(data)
        begin, go = os.pipe()
        children = []
        for _ in range(4):
            if (child := os.fork()) == 0:
                os.close(go)
                os.read(begin, 1)
                Plain().open(vectors, root)
                os._exit(0)
            children.append(child)
        os.close(begin)
        os.close(go)
        ends = [os.waitpid(child, 0)[1] for child in children]
        assert ends == [0] * 4, (turn, ends)
        assert Plain().open(vectors, root).info.reused
        names = {path.name for path in root.iterdir()}
        assert names <= {place.name, f"{place.name}.damaged"}, names
"""


def test_processes_that_mend_one_damaged_structure_all_end_right(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MENDING), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def dense(n: int = 300) -> Dense:
    values = np.random.default_rng(0).standard_normal((n, 16)).astype(np.float32)
    return Dense(values / np.linalg.norm(values, axis=1, keepdims=True))


@pytest.mark.parametrize("damaged", [False, True])
def test_threads_that_want_one_structure_all_have_it(tmp_path, damaged):
    documents = dense()
    expected = INDEXES.create("hnsw").open(documents, tmp_path / "alone")
    wanted = expected.search(documents, 5, silent).run.docs

    def job() -> None:
        found = INDEXES.create("hnsw").open(documents, tmp_path / "shared")
        np.testing.assert_array_equal(found.search(documents, 5, silent).run.docs, wanted)

    for _ in range(8):
        together(*[job] * 4)
        assert INDEXES.create("hnsw").open(documents, tmp_path / "shared").info.reused
        if damaged:
            for path in (tmp_path / "shared").glob("*/structure"):
                path.write_bytes(b"x" + path.read_bytes()[1:])
        else:
            shutil.rmtree(tmp_path / "shared")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_store_has_its_index_built_and_says_that_it_is_not_kept(
    tmp_path, monkeypatch, number
):
    documents, index = dense(), INDEXES.create("hnsw")
    made = index.open(documents, tmp_path / "writable")
    with monkeypatch.context() as changed:
        for name in ("mkdir", "rename", "replace"):
            changed.setattr(os, name, refuse(number))
        found = index.open(documents, tmp_path / "new")
        assert not found.info.reused
        assert found.info.notes == (*made.info.notes, saved.UNKEPT)
        (place,) = (tmp_path / "writable").iterdir()
        data = place / "structure"
        data.write_bytes(b"x" + data.read_bytes()[1:])
        again = index.open(documents, tmp_path / "writable")
        assert not again.info.reused
        assert again.info.notes == (*made.info.notes, saved.DAMAGED, saved.UNKEPT)
    wanted = made.search(documents, 5, silent).run.docs
    for searcher in (found, again):
        np.testing.assert_array_equal(searcher.search(documents, 5, silent).run.docs, wanted)


def test_a_structure_that_is_being_read_is_not_pruned(tmp_path):
    store, documents = Store(tmp_path), dense()
    INDEXES.create("hnsw").open(documents, tmp_path / "indexes")
    held = list[object]()

    class Reading(Hnsw):
        def load(self, path):
            held.append(store.prune(0))
            return super().load(path)

    assert Reading().open(documents, tmp_path / "indexes").info.reused
    assert held == [[]]
    assert len(store.prune(0)) == 1


def test_no_bit_of_a_shards_header_stops_what_others_do(tmp_path):
    store = Store(tmp_path)
    store.plan(Counting(), TEXTS, "document").fetch()
    (path,) = tmp_path.glob("embeddings/*/*.npy")
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for bit in range(8 * header):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        (space,) = store.spaces()
        assert space.texts >= 0
    assert store.prune() == []
    assert store.plan(Counting(), TEXTS, "document").fetch().made == len(TEXTS)


def test_a_description_that_cannot_be_read_does_not_end_a_prune(tmp_path):
    store = Store(tmp_path)
    store.plan(Counting(), TEXTS, "document").fetch()
    (space,) = store.spaces()
    (space.path / "space.json").write_text("{")
    assert store.prune() == []
    assert [one.description for one in store.prune(0)] == [{"label": "unreadable"}]
    assert not space.path.exists()
