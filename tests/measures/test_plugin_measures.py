"""A measure and a kind of task out of plugin files, on the whole way: evaluated, judged, gated."""

from __future__ import annotations

import csv
import io
import json

import pytest

from harness import evaluate, records
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.kinds import KINDS, title
from harness.measures import MEASURES
from harness.measures.asked import Measure
from harness.registry import load_plugin
from harness.report import tables
from harness.sources import SOURCES
from tests.fakes import beir

MEASURE = '''
import numpy as np
import harness

@harness.measure("Second", cutoff=True, aliases=("runner_up",), mteb="second", citation="nobody")
def second(judged, cutoff):
    """Whether the second result is relevant."""
    second = judged.find_relevant(cutoff) & (judged.rank == 1)
    return judged.total(np.ones(len(judged.query)), second)

@harness.measure("Miss", cutoff=True, better="low", citation="nobody", whole={"all_misses": 100})
def miss(judged, cutoff):
    """Whether nothing relevant was found."""
    return 1 - np.minimum(judged.hits(cutoff), 1)

@harness.measure("Broken", citation="nobody")
def broken(judged):
    """Not a number."""
    return np.full(judged.size, np.nan)
'''

KIND = '''
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import harness
from harness.arrays import Float32
from harness.data import Origin
from harness.kinds import KINDS, Description, Kind, Verdict
from harness.stats import intervals
from harness.progress import silent
from harness.sources import SOURCES


@dataclass(frozen=True)
class Triples:
    """Three texts each, of which one is odd."""

    texts: tuple[str, ...]
    odd: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    origin: Origin = Origin()

    kind: ClassVar[str] = "oddity"

    def fingerprint(self):
        return {"texts": str(hash(self.texts)), "odd": str(self.odd)}


@KINDS.register("oddity")
class OddityKind(Kind[Triples, Mapping[str, Float32]]):
    """The text that is least like the two others is the odd one."""

    title = "Odd ones out"
    measures = ("oddity",)

    def parts(self, data):
        return {"texts": ("text", data.texts)}

    def judge(self, outcome, data, measures, seed=0, progress=silent):
        vectors = outcome["texts"].reshape(len(data.odd), 3, -1)
        likeness = np.einsum("nad,nbd->na", vectors, vectors)
        material = likeness.argmin(axis=1), np.array(data.odd)
        values = {
            str(m): m.values(material, kind="oddity", size=len(data.odd)) for m in measures
        }
        rows = {"triple": list(range(len(data.odd))), **values}
        return Verdict(intervals(values, seed), rows, {"triples": len(data.odd)}, [])

    def describe(self, data):
        return Description({"triples": str(len(data.odd))}, ("text",), [(data.texts[0],)])


@harness.measure("oddity", kind="oddity", citation="nobody")
def oddity(material):
    """Whether the odd one is found."""
    chosen, odd = material
    return chosen == odd


@SOURCES.register("triples")
def triples():
    """Two triples: the first is plain, the second misleads."""
    return Triples(("red cat", "red cat", "blue dog", "one two", "one two", "one three"), (2, 0))
'''

DOCUMENTS = {"a": "apple tree", "b": "banana boat", "c": "cherry pie"}
QUERIES = {"q1": "apple tree", "q2": "banana boat"}
JUDGMENTS = [("q1", "a", 1), ("q2", "b", 1), ("q2", "a", 1), ("q2", "c", 1)]


@pytest.fixture(autouse=True)
def forget():
    """Forget what plugins registered: afterwards, and when called."""
    kept = []
    for registry in (ENCODERS, KINDS, MEASURES, SOURCES):
        registry.names()
        kept.append((registry, dict(registry._entries)))

    def restore() -> None:
        for registry, entries in kept:
            registry._entries.clear()
            registry._entries.update(entries)

    yield restore
    restore()


@pytest.fixture
def task(tmp_path) -> str:
    (tmp_path / "mine.py").write_text(MEASURE)
    (tmp_path / "kind.py").write_text(KIND)
    return beir(tmp_path / "data", DOCUMENTS, QUERIES, JUDGMENTS)


def test_a_measure_of_a_plugin_is_evaluated_under_its_name(task, tmp_path):
    load_plugin(tmp_path / "mine.py")
    found = evaluate("hashing", task, measures=["RUNNER_UP@2", "RR@10", "Miss@1"])
    assert found.record.main_measure == "Second@2"
    assert found.record.main.mean == 0.5  # q1 has one relevant document, q2 all three
    assert found.record.scores["Miss@1"].mean == 0
    assert found.per_query["Second@2"].tolist() == [0, 1]
    with pytest.raises(InputError, match=r"^measure Broken returns NaN for query 'q1'"):
        evaluate("hashing", task, measures=["Broken"])
    assert found.record.lower_is_better == ["Miss@1"]
    low = evaluate("hashing", task, measures=["Miss@1"]).record
    assert (low.main_measure, low.sign(), found.record.sign()) == ("Miss@1", -1, 1)


def test_a_measure_of_a_plugin_goes_all_the_way(run, task, tmp_path, forget):
    plugin = ["--plugin", tmp_path / "mine.py"]
    # bm25 returns nothing beside the document that shares a word
    for model, mean in (("hashing", 0.5), ("bm25", 0.0)):
        words = ["-m", model, "-t", task, "-o", tmp_path / "records", "--measure", "runner_up@2"]
        done = run("eval", *words, "-q", "-f", "csv", *plugin)
        assert done.status == 0, done.err
        (row,) = csv.DictReader(io.StringIO(done.out))
        assert (row["measure"], float(row["mean"])) == ("Second@2", mean)
        forget()
    # the records speak for themselves: no plugin from here on
    board = run("leaderboard", tmp_path / "records", "-f", "csv")
    assert board.status == 0, board.err
    assert ",Second@2,0.5," in board.out
    models = [tmp_path / "records" / name for name in ("hashing", "bm25")]
    compared = run("compare", *models, "--json", "-q")
    assert compared.status == 0, compared.err
    assert compared.json["tasks"][0]["difference"] == 0.5
    base = tmp_path / "base"
    assert run("baseline", "freeze", models[0], "--out", base).status == 0
    gated = run("gate", models[0], "-b", base, "-q")
    assert (gated.status, gated.out.splitlines()[-1]) == (0, "pass (1 same)")
    again = run("gate", "--model", "hashing", "-b", base, "-o", tmp_path / "new", "-q", *plugin)
    assert (again.status, again.out.splitlines()[-1]) == (0, "pass (1 same)")
    assert run("export", "mteb", models[0], "--out", tmp_path / "mteb").status == 0
    (path,) = [p for p in (tmp_path / "mteb").rglob("*.json") if p.name != "model_meta.json"]
    (scores,) = json.loads(path.read_text())["scores"]["test"]
    assert scores["second_at_2"] == scores["main_score"] == 0.5


def test_a_measure_of_a_plugin_is_listed(run, task, tmp_path):
    done = run("measures", "--json", "--plugin", tmp_path / "mine.py")
    rows = {row["measure"]: row for row in done.json["measures"]}
    assert rows["Second@K"]["also"] == "runner_up"
    assert (rows["Miss@K"]["better"], rows["Miss@K"]["also"]) == ("low", "all_misses (@100)")
    assert rows["Second@K"]["what"] == "Whether the second result is relevant."
    page = run("measures", "--markdown").out
    assert "| `Second@K` | `runner_up` | high | nobody | Whether the second" in page


def test_a_kind_of_a_plugin_is_evaluated(task, tmp_path):
    load_plugin(tmp_path / "kind.py")
    found = evaluate("hashing", "triples")
    assert found.record.task.kind == "oddity"
    assert found.record.main.mean == 0.5
    assert found.per_query["oddity"].tolist() == [1, 0]
    assert found.record.counts["triples"] == 2
    with pytest.raises(InputError, match=r"^nDCG@10 does not fit triples, a task of oddity"):
        evaluate("hashing", "triples", measures=["nDCG@10"])
    with pytest.raises(InputError, match=r"^bm25 makes sparse vectors and triples is a task of od"):
        evaluate("bm25", "triples")
    assert Measure.parse("ODDITY").kinds == ("oddity",)


def test_a_kind_of_a_plugin_goes_all_the_way(run, task, tmp_path, forget):
    plugin = ["--plugin", tmp_path / "kind.py"]
    card = run("tasks", "triples", "--json", *plugin)
    assert card.status == 0, card.err
    assert card.json["task"]["triples"] == 2
    assert card.json["samples"] == [{"text": "red cat"}]
    forget()
    words = ["-m", "hashing", "-t", "triples", "-o", tmp_path / "odd", "-q", "-f", "markdown"]
    done = run("eval", *words, *plugin)
    assert done.status == 0, done.err
    assert "### Odd ones out" in done.out
    forget()
    assert title("oddity") == "Oddity"
    (path,) = (tmp_path / "odd").rglob("*.json")
    (shown,) = tables.scores([records.load(path)])
    assert (shown.title, shown.rows[0][2]) == ("Oddity", "0.5000")
    assert run("show", path).status == 0
    board = run("leaderboard", tmp_path / "odd", "-f", "csv")
    assert ",0.5," in board.out
    assert run("baseline", "freeze", tmp_path / "odd", "--out", tmp_path / "base").status == 0
    gated = run("gate", tmp_path / "odd", "-b", tmp_path / "base", "-q")
    assert (gated.status, gated.out.splitlines()[-1]) == (0, "pass (1 same)")
    assert run("export", "mteb", tmp_path / "odd", "--out", tmp_path / "mteb").status == 0


def test_data_of_a_kind_that_nobody_registered_is_one_line(task, tmp_path, forget):
    load_plugin(tmp_path / "kind.py")
    del KINDS._entries["oddity"]
    with pytest.raises(InputError, match=r"^unknown kind of task 'oddity'\. Choices: classif"):
        evaluate("hashing", "triples")
