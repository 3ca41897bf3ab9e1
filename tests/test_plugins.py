"""One file in a folder and --plugin: every registry takes what it holds, and it is measured."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from textwrap import dedent

import pytest

from harness import Session
from harness.data import Queries
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.kinds import KINDS
from harness.measures import MEASURES
from harness.parameters import identify_code
from harness.records import files
from harness.registry import Registry, load_plugin
from harness.rerankers import RERANKERS
from harness.rewriting import REWRITERS
from harness.sources import SOURCES
from harness.store import Store
from harness.studies import STUDIES
from harness.studies.judgments import Judgments
from harness.studies.robustness import Robustness
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

COMPOSITE = '''
    from dataclasses import dataclass

    import numpy as np

    from harness.systems import RETRIEVERS
    from harness.systems.composite import Composite, split_parts
    from harness.vectors import Run

    @RETRIEVERS.register("interleave")
    @dataclass(frozen=True)
    class Interleave(Composite):
        """Results of several systems in turn: interleave:bm25+hashing."""

        target: str
        depth: int = 100

        @property
        def parts(self):
            return split_parts("interleave", self.target)

        def combine(self, found, k):
            docs = np.full((len(found[0].run.docs), k), -1, np.int32)
            for row, rankings in enumerate(zip(*(part.run.docs for part in found))):
                turns = dict.fromkeys(doc for turn in zip(*rankings) for doc in turn if doc >= 0)
                docs[row, : len(turns)] = [*turns][:k]
            return Run(docs, np.where(docs < 0, 0, -np.arange(k)).astype(np.float32))
'''

FORGETFUL = '''
    from dataclasses import dataclass

    from harness.pipeline.single import Ranked
    from harness.systems import RETRIEVERS, Retriever, rank

    @RETRIEVERS.register("same")
    @dataclass(frozen=True)
    class Same(Retriever):
        """Another system, as if there were none."""

        target: str

        @property
        def parts(self):
            return (self.target,)

        def rank(self, spec, data, request):
            found = rank(self.target, data, request)
            return Ranked(found.run, found.system)
'''

RANKING_KIND = '''
    from collections.abc import Mapping
    from dataclasses import dataclass, field
    from typing import ClassVar

    import harness
    from harness.data import Corpus, Qrels, Queries, Retrieval
    from harness.kinds import KINDS, Description, RankingKind, Verdict
    from harness.stats import intervals
    from harness.progress import silent
    from harness.sources import SOURCES

    @dataclass(frozen=True)
    class Forbidding(Retrieval):
        """A collection with a document that must not come first, by query."""

        forbidden: Mapping[str, str] = field(default_factory=dict)

        kind: ClassVar[str] = "forbidding"

    @harness.measure("clean", kind="forbidding", citation="nobody")
    def clean(material):
        """Whether the first document is none that is forbidden."""
        first, forbidden = material
        return [one != other for one, other in zip(first, forbidden)]

    @harness.measure("breach", kind="forbidding", citation="nobody", better="low")
    def breach(material):
        """Whether the first document is forbidden."""
        first, forbidden = material
        return [one == other for one, other in zip(first, forbidden)]

    @KINDS.register("forbidding")
    class ForbiddingKind(RankingKind[Forbidding]):
        """What comes first is held against what must not."""

        title = "Forbidden documents"
        measures = ("clean", "breach")

        def judge(self, outcome, data, measures, seed=0, progress=silent):
            first = [data.corpus.ids[doc] for doc in outcome.docs[:, 0]]
            material = first, [data.forbidden[id] for id in data.queries.ids]
            size = len(first)
            values = {str(m): m.values(material, kind="forbidding", size=size) for m in measures}
            rows = {"query_id": list(data.queries.ids), **values}
            return Verdict(intervals(values, seed), rows, {"queries": len(first)}, [])

        def describe(self, data):
            return Description({"queries": str(len(data.queries))}, ("query",), [("q",)])

    @SOURCES.register("forbidding")
    def forbidding():
        """Two queries: the first must not find what it asks for."""
        corpus = Corpus.of(["a", "b", "c"], ["apple tree", "banana boat", "cherry pie"])
        queries = Queries(["q1", "q2"], ["apple tree", "banana boat"])
        qrels = Qrels.of([("q1", "c", 1.0), ("q2", "b", 1.0)], queries, corpus)
        return Forbidding(corpus, queries, qrels, forbidden={"q1": "a", "q2": "c"})
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
    # bm25 returns what shares a word, so that the second comes from hashing: of a, b and c, one
    "composite": Case(COMPOSITE, 0.5, "interleave:bm25+hashing", measure="P@2"),
    "system": Case(SYSTEM, 0.5, "first,best=b"),
    "rewriting": Case(REWRITING, (1 / 3 + 1 / 2) / 2, rewrite="say"),
    "measure": Case(MEASURE, 0.0, measure="runner_up@2"),
    "kind": Case(KIND, 0.5, task="triples", measure=""),
    "kind that ranks": Case(RANKING_KIND, 0.5, task="forbidding", measure=""),
    "its low measure": Case(RANKING_KIND, 0.5, "rrf:bm25+hashing", "forbidding", measure="breach"),
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
    assert done.out.splitlines() == [
        "table,system,mean,headline", "means,hashing,1.0,", "about,,,means"
    ]  # fmt: skip


def test_plugins_serve_python_as_well(tmp_path, fruit):
    for name in ("encoder", "index"):
        (tmp_path / f"{name}.py").write_text(dedent(CASES[name].plugin))
        load_plugin(tmp_path / f"{name}.py")
    session = Session(Store(tmp_path / "cache"), 3)
    found = session.evaluate("initial@farthest", fruit, measures=["RR@10"])
    assert found.record.main.mean == pytest.approx(1 / 3)  # the one that is alike comes last
    assert found.record.index.spec == "farthest"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.task == "fruit"])
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


def test_a_composite_tells_all_that_fusion_tells(tmp_path, fruit):
    (tmp_path / "interleave.py").write_text(dedent(COMPOSITE))
    load_plugin(tmp_path / "interleave.py")
    parts = "bm25+[hashing,dim=64@hnsw]"
    one, other = (
        Session(Store(tmp_path / name)).evaluate(f"{name}:{parts}", fruit)
        for name in ("interleave", "rrf")
    )
    facts = ("parts", "counts", "usage", "makers", "warnings", "index", "candidates", "depth")
    for name in facts:
        assert getattr(one.record, name) == getattr(other.record, name), name
    assert [part.system for part in one.record.parts] == ["bm25", "hashing,dim=64@hnsw"]
    session = Session(Store(tmp_path / "cache"))
    timed = session.evaluate(f"interleave:{parts}", fruit, latency=1)
    assert timed.record.latency is not None
    with pytest.raises(InputError, match=r"^interleave:bm25: expected retrievers with \+ between"):
        session.evaluate("interleave:bm25", fruit)


def test_a_composite_that_tells_nothing_of_its_parts_is_refused(tmp_path, fruit):
    (tmp_path / "same.py").write_text(dedent(FORGETFUL))
    load_plugin(tmp_path / "same.py")
    with pytest.raises(InputError, match=r"^same:bm25 is made of bm25 and its ranking tells noth"):
        Session(Store(tmp_path / "cache")).evaluate("same:bm25", fruit)


def test_a_kind_that_ranks_goes_wherever_rankings_go(tmp_path):
    (tmp_path / "forbidding.py").write_text(dedent(RANKING_KIND))
    load_plugin(tmp_path / "forbidding.py")
    session = Session(Store(tmp_path / "cache"), cells=tmp_path / "cells")
    task = session.task("forbidding")
    assert task.depth == 1000  # of a measure without a cut-off
    assert session.rank("bm25", task).run.docs.shape == (2, 3)
    reranked = session.evaluate("rerank:hashing,first=bm25", task)
    assert (reranked.record.task.kind, reranked.record.main.mean) == ("forbidding", 0.5)
    queries = Queries(["q1", "q2"], ["cherry pie", "cherry pie"])
    for _ in range(2):  # made, then read from the folder of cells
        grid = session.grid(["hashing"], [task, task.changed("pies", queries=queries)])
        assert grid.values.tolist() == [[[0, 1], [1, 0]]]  # c is forbidden for q2
    assert [*session.vectors("hashing", task).parts] == ["documents", "queries"]
    (tmp_path / "a.run").write_text("q1 Q0 b 1 2.0 x\nq2 Q0 b 1 2.0 x\n")
    assert session.evaluate_run(tmp_path / "a.run", task).record.main.mean == 1.0
    effects = Robustness(("upper-case",)).run(session, ["hashing"], "forbidding")["systems"]
    assert effects.estimates("score")[0].mean == 0.5
    with pytest.raises(
        InputError, match=r"^clean is of forbidding: expected a measure of retrieval"
    ):
        Judgments().run(session, ["hashing", "bm25"], "forbidding")


def test_data_of_a_kind_that_ranks_are_a_collection(tmp_path):
    plugin = dedent(RANKING_KIND).replace('KINDS.register("forbidding")', 'KINDS.register("bare")')
    plugin += dedent(
        """
        @dataclass(frozen=True)
        class Bare:
            warnings: tuple = ()
            origin: object = harness.data.Origin()
            kind: ClassVar[str] = "bare"

        @harness.measure("none", kind="bare")
        def none(material):
            return []

        ForbiddingKind.measures = ("none",)
        SOURCES.register("bare")(lambda: Bare())
        """
    )
    (tmp_path / "bare.py").write_text(plugin)
    load_plugin(tmp_path / "bare.py")
    expected = r"^bare is a task of bare, which ranks: its data are of class Bare: expected a subcl"
    with pytest.raises(InputError, match=expected):
        Session(Store(tmp_path / "cache")).evaluate("hashing", "bare")


def test_a_kind_that_judges_vectors_has_grids_variants_and_vectors(tmp_path):
    (tmp_path / "oddity.py").write_text(dedent(KIND))
    load_plugin(tmp_path / "oddity.py")
    session = Session(Store(tmp_path / "cache"), cells=tmp_path / "results" / "cells")
    task = session.task("triples")
    mild = replace(task.data, texts=("red cat", "red cat", "blue dog", "one", "two two", "two"))
    variant = task.changed("mild", data=replace(mild, odd=(2, 0)))
    for _ in range(2):
        grid = session.grid(["hashing"], [task, variant])
        assert grid.values.tolist() == [[[1, 0], [1, 1]]]
    # cells of what ranks nothing are no records of a folder, either
    assert files.find(tmp_path / "results") == []
    assert len(files.find(tmp_path / "results" / "cells")) == 2
    assert [one.label for one in grid.variants] == ["", "mild"]
    assert len(session.vectors("hashing", task).arrays["texts"]) == 6
    with pytest.raises(InputError, match=r"^triples ranks nothing: expected a task that does"):
        _ = grid.cells[0][0].run
    with pytest.raises(InputError, match="is a task of oddity: expected retrieval"):
        Robustness().run(session, ["hashing"], "triples")
    with pytest.raises(InputError, match="is a task of oddity: expected retrieval"):
        task.changed("other", queries=Queries(["q"], ["q"]))
    with pytest.raises(InputError, match="is a task of oddity: these data: retrieval"):
        task.changed("other", data=session.task("limit-small").data)
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("sentence1\tsentence2\tscore\na\tb\t0.5\nc\td\t1\ne\te\t0\n")
    with pytest.raises(
        InputError, match=r"^cosine_spearman has no value for each pair: expected a"
    ):
        session.grid(["hashing"], [session.task(f"pairs:{pairs}")])
