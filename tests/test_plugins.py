"""One file in a folder and --plugin: every registry takes what it holds, and it is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent

import pytest

from harness import Session
from harness.encoders import ENCODERS
from harness.indexes import INDEXES
from harness.kinds import KINDS
from harness.measures import MEASURES
from harness.parameters import identify_code
from harness.registry import Registry, load_plugin
from harness.rerankers import RERANKERS
from harness.rewriting import REWRITERS
from harness.sources import SOURCES
from harness.store import Store
from harness.studies import STUDIES
from harness.systems import RETRIEVERS
from tests.fakes import beir
from tests.measures.test_plugin_measures import KIND, MEASURE

REGISTRIES: tuple[Registry, ...] = (
    ENCODERS, INDEXES, KINDS, MEASURES, RERANKERS, RETRIEVERS, REWRITERS, SOURCES, STUDIES,
)  # fmt: skip

SOURCE = '''
    from harness.data import Corpus, Qrels, Queries, Retrieval
    from harness.sources import SOURCES

    @SOURCES.register("numerals")
    def numerals(*, upto: int = 3) -> Retrieval:
        """Numbers as words, each asked for by itself."""
        ids = [str(i) for i in range(upto)]
        corpus = Corpus.of(ids, [f"number{i}" for i in ids])
        queries = Queries([f"q{i}" for i in ids], [f"number{i}" for i in ids])
        judged = [(f"q{i}", i, 1.0) for i in ids]
        return Retrieval(corpus, queries, Qrels.of(judged, queries, corpus))
'''

ENCODER = '''
    from collections.abc import Mapping, Sequence
    from dataclasses import dataclass
    from typing import ClassVar

    import numpy as np

    from harness.encoders import ENCODERS, Encoded, TextEncoder

    @ENCODERS.register("initial")
    @dataclass(frozen=True)
    class Initial(TextEncoder):
        """The first letter, queries some letters further on."""

        representation: ClassVar = "dense"
        similarity: ClassVar = "dot"

        shift: int = 0

        def fingerprint(self) -> Mapping[str, object]:
            return {"initial": self.shift}

        def encode(self, texts: Sequence[str], role) -> Encoded:
            shift = self.shift if role == "query" else 0
            places = [(ord(text[0]) - ord("a") + shift) % 26 for text in texts]
            values = np.eye(26, dtype=np.float32)[places]
            return Encoded(values, np.ones(len(texts), np.int32), np.zeros(len(texts), bool))
'''

INDEX = '''
    from dataclasses import dataclass
    from typing import ClassVar

    import numpy as np

    from harness.indexes import INDEXES, Found, Index, IndexInfo
    from harness.vectors import Run, ranking

    @INDEXES.register("farthest")
    @dataclass(frozen=True)
    class Farthest(Index):
        """Those that are least like the query."""

        accepts: ClassVar = ("dense",)

        def open(self, documents, place=None, progress=None):
            return FarthestSearcher(documents.values)

    @dataclass(frozen=True)
    class FarthestSearcher:
        documents: np.ndarray

        @property
        def info(self) -> IndexInfo:
            return IndexInfo(self.documents.nbytes)

        def search(self, queries, k, progress) -> Found:
            scores = -(queries.values @ self.documents.T)
            docs = np.broadcast_to(np.arange(len(self.documents)), scores.shape)
            best = ranking.best(ranking.pack(scores, docs), k)
            return Found(ranking.unpack(best), distances=scores.size)
'''

RERANKER = '''
    from dataclasses import dataclass

    import numpy as np

    from harness.rerankers import RERANKERS, Reranker, Scored

    @RERANKERS.register("contrary")
    @dataclass(frozen=True)
    class Contrary(Reranker):
        """The fewer words of the query the better."""

        def fingerprint(self):
            return {"contrary": 1}

        def score(self, pairs, progress, *, root=None) -> Scored:
            common = [len(set(query.split()) & set(text.split())) for query, text in pairs]
            return Scored(-np.array(common, np.float32))
'''

RETRIEVER = '''
    from harness.systems import RETRIEVERS

    @RETRIEVERS.register("both")
    def both():
        """Words by hashing and by BM25, fused."""
        return RETRIEVERS.create("rrf:hashing+bm25")
'''

SYSTEM = '''
    import harness

    @harness.system("first")
    class First:
        """The same document for every query."""

        def __init__(self, best: str = "a") -> None:
            self.best = best

        def search(self, texts, k):
            return [{self.best: 1.0} for _ in texts]
'''

REWRITING = '''
    from dataclasses import dataclass

    from harness.rewriting import REWRITERS, Rewritten, TextRewriter

    @REWRITERS.register("say")
    @dataclass(frozen=True)
    class Say(TextRewriter):
        """Asks for the same, whatever was asked."""

        text: str = "cherry pie"

        def rewrite(self, texts, progress, *, root=None) -> Rewritten:
            return Rewritten([self.text for _ in texts])
'''

STUDY = '''
    from dataclasses import dataclass

    import harness
    from harness.frames import Column, Frame
    from harness.studies import Findings, Study

    @harness.study("means")
    @dataclass(frozen=True)
    class Means(Study):
        """The mean of each system."""

        def run(self, session, systems, task) -> Findings:
            rows = [(name, session.evaluate(name, task).record.main.mean) for name in systems]
            columns = [Column("system"), Column("mean", "score", "high")]
            return Findings("means", [Frame("Means", columns, rows, name="means")])
'''

DOCUMENTS = {"a": "apple tree", "b": "banana boat", "c": "cherry pie"}
QUERIES = {"q1": "apple tree", "q2": "banana boat"}
JUDGMENTS = [("q1", "a", 1), ("q2", "b", 1)]


@dataclass(frozen=True)
class Case:
    """A plugin, what is evaluated with it, and the mean that comes of it."""

    plugin: str
    mean: float
    model: str = "hashing"
    task: str = "fruit"
    rewrite: str = "none"
    measure: str = "RR@10"

    def words(self, fruit: str) -> list[str]:
        """The words of harness eval."""
        task = fruit if self.task == "fruit" else self.task
        words = ["-m", self.model, "-t", task, "-r", self.rewrite]
        return [*words, "--measure", self.measure] if self.measure else words


CASES = {
    "source": Case(SOURCE, 1.0, task="numerals,upto=5"),
    # q1 is b: of a and c, which are alike, c is first by the rule, so a third; q2 is c, then b
    "encoder": Case(ENCODER, (1 / 3 + 1 / 2) / 2, "initial,shift=1"),
    "index": Case(INDEX, 1 / 3, "hashing@farthest"),
    "reranker": Case(RERANKER, 1 / 3, "rerank:contrary,first=hashing"),
    "retriever": Case(RETRIEVER, 1.0, "both"),
    "system": Case(SYSTEM, 0.5, "first,best=b"),
    "rewriting": Case(REWRITING, (1 / 3 + 1 / 2) / 2, rewrite="say"),
    "measure": Case(MEASURE, 0.0, measure="runner_up@2"),
    "kind": Case(KIND, 0.5, task="triples", measure=""),
}


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Forget what plugins registered."""
    for registry in REGISTRIES:
        registry.names()
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture
def fruit(tmp_path) -> str:
    return beir(tmp_path / "fruit", DOCUMENTS, QUERIES, JUDGMENTS)


@pytest.mark.parametrize("name", CASES)
def test_one_file_is_all_it_takes(run, tmp_path, fruit, name):
    case, plugin = CASES[name], tmp_path / f"{name}.py"
    plugin.write_text(dedent(case.plugin))
    words = [*case.words(fruit), "-o", tmp_path / "out", "--cache", tmp_path / "cache", "-q"]
    unknown = run("eval", *words)
    assert unknown.status != 0, "it is there without the plugin"
    done = run("eval", *words, "--plugin", plugin, "--json")
    assert done.status == 0, done.err
    (record,) = done.json
    main = record["scores"][record["main_measure"]]
    assert main["mean"] == pytest.approx(case.mean, abs=1e-6)


def test_a_study_is_a_file_too(run, tmp_path, fruit):
    plugin = tmp_path / "means.py"
    plugin.write_text(dedent(STUDY))
    words = ["-m", "hashing", "-t", fruit, "-q", "-f", "csv"]
    assert run("study", "means", *words).status == 2
    done = run("study", "means", *words, "--plugin", plugin)
    assert done.status == 0, done.err
    assert done.out.splitlines() == ["system,mean", "hashing,1.0000"]


def test_plugins_serve_python_as_well(tmp_path, fruit):
    for name in ("encoder", "index"):
        (tmp_path / f"{name}.py").write_text(dedent(CASES[name].plugin))
        load_plugin(tmp_path / f"{name}.py")
    session = Session(Store(tmp_path / "cache"), 3)
    found = session.evaluate("initial@farthest", fruit, measures=["RR@10"])
    assert found.record.main.mean == pytest.approx(1 / 3)  # the one that is alike comes last
    assert found.record.index.spec == "farthest"


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"source", "kind"}))
def test_a_kept_cell_is_known_by_the_code_of_what_takes_part(tmp_path, fruit, monkeypatch, name):
    """Data are known by their content, whatever source they are from."""
    case, plugin, made = CASES[name], tmp_path / "mine.py", []
    before = {registry: registry._entries for registry in REGISTRIES}
    evaluate = Session.evaluate

    def counted(self, *given, **options):
        made.append(given)
        return evaluate(self, *given, **options)

    monkeypatch.setattr(Session, "evaluate", counted)

    def measure(code: str) -> float:
        plugin.write_text(dedent(code))
        for registry, entries in before.items():
            monkeypatch.setattr(registry, "_entries", dict(entries))
        load_plugin(plugin)
        session = Session(Store(tmp_path / "store"), cells=tmp_path / "cells")
        task = session.task(fruit, [case.measure])
        return float(session.grid([case.model], [task], rewrite=case.rewrite).values.mean())

    assert measure(case.plugin) == measure(case.plugin) == pytest.approx(case.mean)
    assert len(made) == 1
    assert measure(f"{case.plugin}\n    # changed\n") == pytest.approx(case.mean)
    assert len(made) == 2
    assert measure(case.plugin) == pytest.approx(case.mean)
    assert len(made) == 2


def test_code_without_a_file_is_not_known_again():
    scope = {}
    exec("def typed(texts):\n    return texts", scope)  # as in a notebook
    assert identify_code(scope["typed"]) != identify_code(scope["typed"])
    assert identify_code(load_plugin) == ""
    assert re.fullmatch("[0-9a-f]{64}", identify_code(test_code_without_a_file_is_not_known_again))
