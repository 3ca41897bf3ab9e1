from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from math import log2
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.api import evaluate
from harness.optional import install
from harness.sources.folder import folder
from harness.sources.irds import irds
from tests.sources.writing import CORPUS, complaint, write_bytes, write_collection

ir_datasets = pytest.importorskip("ir_datasets")
ID = "tests-of-the-harness/test"


@pytest.fixture
def register() -> Iterator[Callable[..., None]]:
    """Registers a collection as ID; forgets it after the test."""
    added: list[str] = []

    def add(*parts: object, id: str = ID) -> None:
        ir_datasets.registry.register(id, ir_datasets.datasets.base.Dataset(*parts))
        added.append(id)

    yield add
    for id in added:
        del ir_datasets.registry._registered[id]


def written(root: Path, qrels: str = "q1 0 d2 2\nq2 0 d1 1\nq2 0 d2 0\n") -> object:
    """A collection of local files, as ir_datasets reads its own."""
    paths = {
        "docs_tsv": "d2\tCats sleep.\nd1\tDogs bark.\n",
        "queries_tsv": "q1\tWho sleeps?\nq2\tWho barks?\n",
        "qrels_trec": qrels,
    }
    files = {
        name: str(write_bytes(root / name, content.encode())) for name, content in paths.items()
    }
    return ir_datasets.create_dataset(**files)


class Titled(NamedTuple):
    doc_id: str
    text: str
    title: str

    def default_text(self) -> str:
        return f"{self.title} {self.text}"


class Longer(NamedTuple):
    doc_id: str
    title: str
    text: str
    more: str

    def default_text(self) -> str:
        return f"{self.title} {self.text} {self.more}"


class Bare(NamedTuple):
    doc_id: str
    title: str | None
    body: str


class Strange(NamedTuple):
    doc_id: str
    picture: str


def docs(*entries: Any) -> object:
    """Documents that are there, or an exception in place of them."""

    class Docs(ir_datasets.formats.BaseDocs):  # type: ignore[misc]
        def docs_iter(self) -> Iterator[Any]:
            for entry in entries:
                if isinstance(entry, Exception):
                    sys.stderr.write("Download failed")
                    raise entry
                yield entry

    return Docs()


def test_local_definition(tmp_path: Path, register: Callable[..., None]) -> None:
    register(written(tmp_path))
    data = irds(ID)
    assert (data.corpus.ids, data.corpus.texts) == (["d1", "d2"], ["Dogs bark.", "Cats sleep."])
    assert (data.queries.ids, data.queries.texts) == (["q1", "q2"], ["Who sleeps?", "Who barks?"])
    assert data.qrels.docs.tolist() == [1, 0, 1]
    assert data.qrels.gains.tolist() == [2, 1, 0]
    page = "https://ir-datasets.com/tests-of-the-harness.html#tests-of-the-harness/test"
    assert data.origin.reference == page


def test_collection_is_evaluated(tmp_path: Path, register: Callable[..., None]) -> None:
    register(written(tmp_path))
    done = evaluate("hashing", f"irds:{ID}", measures=["R@1"])
    assert done.per_query["R@1"].tolist() == [1, 0]  # no word is shared: d2 is before d1
    assert done.record.counts["judgments"] == 3


def test_titles_are_joined_as_in_a_folder(tmp_path: Path, register: Callable[..., None]) -> None:
    """ir_datasets puts a space before a text whose title is empty; a folder does not."""
    rows = [Titled(row["_id"], row["text"], row["title"]) for row in CORPUS]
    register(docs(*rows), written(tmp_path))
    plain = folder(str(write_collection(tmp_path / "plain")))
    assert irds(ID).fingerprint() == plain.fingerprint()


def test_texts_of_other_documents(tmp_path: Path, register: Callable[..., None]) -> None:
    rows = [Longer("d1", "a", "b", "c"), Bare("d2", "d", "e"), Bare("d3", None, "f")]
    register(docs(*rows), written(tmp_path))
    assert irds(ID).corpus.texts == ["a b c", "d e", "f"]


def test_documents_without_a_text(tmp_path: Path, register: Callable[..., None]) -> None:
    register(docs(Strange("d1", "x.png")), written(tmp_path))
    assert complaint(lambda: irds(ID)) == (
        f"irds:{ID} document 1 has no text among doc_id, picture: write the collection as a folder"
    )


@pytest.mark.parametrize(
    ("qrels", "expected"),
    [
        (
            "q9 0 d1 1\n",
            f"irds:{ID} qrels: judges none of the 2 queries of irds:{ID}: expected the same ids on "
            f"both sides, as 'q1', not 'q9' (irds:{ID} judgment 1)",
        ),
        (
            "q1 0 d1 1\nq1 0 d1 2\n",
            f"irds:{ID} judgment 2: document 'd1' is judged twice for query 'q1', as 1 "
            f"(irds:{ID} judgment 1) and as 2: keep one",
        ),
    ],
)
def test_bad_judgments(
    tmp_path: Path, register: Callable[..., None], qrels: str, expected: str
) -> None:
    register(written(tmp_path, qrels))
    assert complaint(lambda: irds(ID)) == expected


def test_document_that_stands_twice(tmp_path: Path, register: Callable[..., None]) -> None:
    register(docs(Bare("d1", None, "a"), Bare("d1", None, "b")), written(tmp_path))
    assert complaint(lambda: irds(ID)) == (
        f"irds:{ID} document 2: document id 'd1' stands at irds:{ID} document 1 already"
    )


def test_unknown_id() -> None:
    message = complaint(lambda: irds("beir/scifct/test"))
    assert message.startswith(
        "unknown ir_datasets id 'beir/scifct/test'. Did you mean 'beir/scifact/test'? Choices: "
    )


def test_id_without_queries(tmp_path: Path, register: Callable[..., None]) -> None:
    register(docs(), id="tests-of-the-harness")
    register(written(tmp_path))
    assert complaint(lambda: irds("tests-of-the-harness")) == (
        "irds:tests-of-the-harness has no queries and no qrels: "
        "choose one of tests-of-the-harness/test"
    )


def test_download_that_fails(
    tmp_path: Path,
    register: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    register(docs(ConnectionError("no\nroute")), written(tmp_path))
    assert complaint(lambda: irds(ID)) == (
        f"irds:{ID} cannot be fetched (ConnectionError: no route); check the network, or bring a "
        f"copy of {tmp_path / 'home'} from a machine that has it (IR_DATASETS_HOME)"
    )
    assert capfd.readouterr() == ("", "")


def test_file_that_is_gone(tmp_path: Path, register: Callable[..., None]) -> None:
    register(written(tmp_path))
    (tmp_path / "queries_tsv").unlink()
    message = complaint(lambda: irds(ID))
    assert f"(FileNotFoundError: {tmp_path / 'queries_tsv'})" in message


def test_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    assert complaint(lambda: irds(ID)) == (
        "ir_datasets cannot be imported (import of ir_datasets halted; None in sys.modules): "
        + install("irds")
    )


def test_a_query_is_what_ir_datasets_calls_its_text(
    tmp_path: Path, register: Callable[..., None]
) -> None:
    class Asked(ir_datasets.formats.BaseQueries):  # type: ignore[misc]
        def queries_iter(self) -> Iterator[Any]:
            yield TitledQuery("q1", "who sleeps", "sleep")
            yield PlainQuery("q2", "who barks", "bark")

    register(Asked(), written(tmp_path))
    assert irds(ID).queries.texts == ["sleep: who sleeps", "who barks"]


class TitledQuery(NamedTuple):
    query_id: str
    text: str
    title: str

    def default_text(self) -> str:
        return f"{self.title}: {self.text}"


class PlainQuery(NamedTuple):
    query_id: str
    text: str
    title: str


@pytest.mark.parametrize(
    ("id", "left_out", "ndcg"),
    [
        ("beir/arguana", True, 1),
        ("beir/quora/dev", True, 1),
        ("beir/quora/test", True, 1),
        ("beir/scifact/test", False, 1 / log2(3)),
        ("nano-beir/arguana", False, 1 / log2(3)),
    ],
)
def test_a_query_that_is_a_document_does_not_find_itself_where_that_is_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, id: str, left_out: bool, ndcg: float
) -> None:
    paths = {
        "docs_tsv": "t1\tcats sleep long\nt2\tcats sleep\nt3\tdogs bark\n",
        "queries_tsv": "t1\tcats sleep long\n",
        "qrels_trec": "t1 0 t2 1\n",
    }
    files = {
        name: str(write_bytes(tmp_path / name, content.encode())) for name, content in paths.items()
    }
    made = ir_datasets.create_dataset(**files)
    monkeypatch.setattr(ir_datasets, "load", lambda asked: {id: made}[asked])
    assert irds(id).origin.exclude_self is left_out
    done = evaluate("bm25", f"irds:{id}", measures=["nDCG@10"])
    assert done.record.main.mean == pytest.approx(ndcg)
    done = evaluate("bm25", f"irds:{id},exclude_self=true", measures=["nDCG@10"])
    assert done.record.main.mean == 1
