"""Passages that are judged as their documents, as CRUMB has them."""

from __future__ import annotations

from math import log2
from pathlib import Path
from typing import Any

import pytest

from harness.api import evaluate
from harness.data import Retrieval
from harness.tasks import catalog
from tests.sources.hub_frame import datasets

# CRUMB's layout, hand-made

NAMES = {"A": "clinical_trial", "B": "paper_retrieval"}


def query(id: str, text: str, instruction: str | None, **judged: list[tuple[str, float]]) -> Any:
    """A row of queries in CRUMB's columns; judged: (document, label) by column."""
    lists = {
        f"{column}_qrels": [{"id": doc, "label": label} for doc, label in judged.get(column, [])]
        for column in ("passage", "passage_binary", "full_document")
    }
    return {
        "query_id": id,
        "query_content": text,
        "instruction": instruction,
        **lists,
        "use_max_p": bool(judged.get("full_document")),
        "metadata": "{}",
    }


def document(id: str, text: str) -> dict[str, str]:
    return {
        "document_id": id,
        "document_content": text,
        "parent_id": id.partition(":")[0],
        "metadata": "{}",
    }


def typed(rows: list[Any]) -> Any:
    """Queries with labels as float32, as on the hub."""
    made = datasets.Dataset.from_list(rows)
    judged = datasets.List({"id": datasets.Value("string"), "label": datasets.Value("float32")})
    features = made.features.copy()
    for column in ("passage_qrels", "passage_binary_qrels", "full_document_qrels"):
        features[column] = judged
    return made.cast(features)


PASSAGES = [
    document("A:0", "red"),
    document("A:1", "green apples"),
    document("B:0", "apples"),
    document("B:1", "yellow"),
    document("C:0", "blue"),
]
GREEN = {"full_document": [("A", 0.25), ("B", 0.5)], "passage": [("A:1", 1), ("B:0", 2)]}
BLUE = {
    "full_document": [("C", 1), ("B", 0)],
    "passage": [("C:0", 2), ("B:1", 1)],
    "passage_binary": [("B:1", 1), ("C:0", 0)],
}


@pytest.fixture
def crumb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of jfkback/crumb, for tasks named by that id."""
    green = query("1", "green", "apples", **GREEN)
    blue = query("2", "blue", None, **BLUE)
    parts = {
        "evaluation_queries": [green, blue],
        "validation_queries": [green],
        "passage_corpus": PASSAGES,
        "full_document_corpus": [document("A", "red green apples"), document("B", "apples yellow")],
    }
    root = tmp_path / "jfkback" / "crumb"
    for config, rows in parts.items():
        made = typed(rows) if "queries" in config else datasets.Dataset.from_list(rows)
        splits = dict.fromkeys(("clinical_trial", "paper_retrieval"), made)
        datasets.DatasetDict(splits).save_to_disk(str(root / config))
    monkeypatch.chdir(tmp_path)
    return root


def test_passages_are_judged_as_their_documents(crumb: Path) -> None:
    """Ranked for "green apples": A by A:1 (1.0), B by B:0 (0.71); gains 0.25 and 0.5 stay.

    The best passage of A is its second, so that a passage's own id would find nothing. Cast to
    whole numbers the gains would be 0 and the query without a relevant document.
    """
    done = evaluate("hashing", "crumb-clinical_trial")
    data = done.data
    assert isinstance(data, Retrieval)
    assert list(data.corpus.ranked) == ["A", "B", "C"]
    assert data.qrels.gains.tolist() == [0.25, 0.5, 0, 1]
    assert data.qrels.unknown_documents == 0
    expected = (0.25 + 0.5 / log2(3)) / (0.5 + 0.25 / log2(3))
    assert done.per_query["query_id"] == ["1", "2"]
    assert done.per_query["nDCG@10"].tolist() == pytest.approx([expected, 1])
    assert done.per_query["RR@10"].tolist() == [1, 1]
    assert done.per_query["P@10"].tolist() == [0.2, 0.1]
    assert done.record.main_measure == "nDCG@10"
    assert done.record.task.family == "crumb"
    assert done.record.counts["passages"] == 5


def test_binary_judgments_stand_beside_graded_ones(crumb: Path) -> None:
    """Ranked for "blue": C:0 first, which is graded 2 and not relevant; B:1 is, and ties at 0.

    Ties go by id descending: B:1, B:0, A:1, A:0 follow C:0.
    """
    done = evaluate("hashing", "crumb-paper_retrieval", measures=["nDCG@10", "RR@10", "P@10"])
    assert done.per_query["nDCG@10"][1] == pytest.approx(1)
    assert done.per_query["RR@10"].tolist() == [0, 0.5]  # the first query has none
    assert done.per_query["P@10"].tolist() == [0, 0.1]
    data = done.data
    assert isinstance(data, Retrieval)
    assert data.binary is not None
    assert data.binary.indptr.tolist() == [0, 0, 2]
    assert data.binary.gains.tolist() == [1, 0]
    assert data.corpus.parents is None


def test_instruction_follows_its_query_and_null_is_none(crumb: Path) -> None:
    data = catalog.task("crumb-paper_retrieval").load()
    assert isinstance(data, Retrieval)
    assert data.queries.texts == ["green apples", "blue"]


def test_whole_documents_and_validation_queries(crumb: Path) -> None:
    data = catalog.task("crumb-clinical_trial-documents").load()
    assert isinstance(data, Retrieval)
    assert (data.corpus.ids, data.corpus.parents) == (["A", "B"], None)
    assert data.qrels.docs.tolist() == [0, 1, -1, 1]  # C is judged and not there
    spec = "crumb-paper_retrieval,queries=validation_queries/paper_retrieval"
    data = catalog.task(spec).load()
    assert isinstance(data, Retrieval)
    assert data.queries.ids == ["1"]


def test_every_task_of_crumb() -> None:
    """MaxP where judgments are of documents, whole documents for five, binary for one."""
    known = {name: d for name, d in catalog.definitions().items() if d.family == "crumb"}
    maxp = {"clinical_trial", "set_operation_entity_retrieval", "tip_of_the_tongue"}
    whole = {*maxp, "legal_qa", "stack_exchange"}
    single = {"code_retrieval", "paper_retrieval", "theorem_retrieval"}
    assert set(known) == {f"crumb-{n}" for n in whole | single} | {
        f"crumb-{n}-documents" for n in whole
    }
    for name, found in known.items():
        collection = name.removeprefix("crumb-").removesuffix("-documents")
        documents = name.endswith("-documents")
        expected = {
            "corpus": f"{'full_document' if documents else 'passage'}_corpus/{collection}",
            "queries": f"evaluation_queries/{collection}",
            "judgments": "full_document_qrels"
            if documents or collection in maxp
            else "passage_qrels",
        }
        if collection in maxp and not documents:
            expected["parent"] = "parent_id"
        if collection == "paper_retrieval":
            expected["binary"] = "passage_binary_qrels"
        assert found.parameters == expected, name
        assert found.measures[0] == "nDCG@10"
        assert found.license == "CC-BY-NC-4.0"
