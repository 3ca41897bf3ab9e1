from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from math import log2
from pathlib import Path
from typing import Any

import pytest

from harness.api import evaluate
from harness.data import Classification, Clustering, Pairs, Retrieval
from harness.optional import install
from harness.sources import files
from harness.sources.folder import folder
from harness.sources.hub import hub
from harness.tasks import catalog
from tests.shared import shared
from tests.sources.writing import (
    CORPUS,
    QRELS,
    QUERIES,
    Rows,
    complaint,
    write_bytes,
    write_collection,
    write_rows,
)

datasets = pytest.importorskip("datasets")
ONE, OTHER = "a1" * 20, "b2" * 20  # commits
Tables = Mapping[str, Mapping[str, Rows]]
BEIR: dict[str, dict[str, Rows]] = {
    "corpus": {"corpus": CORPUS},
    "queries": {"queries": QUERIES},
    "default": {"test": QRELS},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the library's own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def save(root: Path, tables: Tables = BEIR, **changed: Mapping[str, Rows]) -> Path:
    """A folder of saved datasets, one for each config; returns the folder."""
    for config, splits in {**tables, **changed}.items():
        parts = {name: datasets.Dataset.from_list(list(rows)) for name, rows in splits.items()}
        datasets.DatasetDict(parts).save_to_disk(str(root / config))
    return root


def load(root: Path, **parameters: str) -> Retrieval:
    data = hub(str(root), **parameters)
    assert isinstance(data, Retrieval)
    return data


def error(root: Path, **parameters: str) -> str:
    """What loading a folder complains of, the folder cut off."""
    return complaint(lambda: load(root, **parameters)).replace(str(root), "ROOT")


# retrieval


def test_a_collection_is_the_same_from_hub_and_folder(tmp_path: Path) -> None:
    plain = folder(str(write_collection(tmp_path / "plain")))
    data = load(save(tmp_path / "saved"))
    assert data.fingerprint() == plain.fingerprint()
    assert (data.corpus, data.queries, data.warnings) == (plain.corpus, plain.queries, ())
    assert data.qrels.gains.tolist() == [2, 1, 0]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_files_of_a_config(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "files"
    for config, rows in {"corpus": CORPUS, "queries": QUERIES, "default": QRELS}.items():
        write_rows(root / config / f"test.{kind}", rows)
    asked = {"corpus": "corpus/test", "queries": "queries/test"}
    plain = folder(str(write_collection(tmp_path / "plain")))
    assert load(root, **asked).fingerprint() == plain.fingerprint()


def test_copy_of_a_repository_with_its_card(tmp_path: Path) -> None:
    root = write_collection(tmp_path / "copy")
    card = """---
configs:
- {config_name: corpus, data_files: [{split: corpus, path: corpus.jsonl}]}
- {config_name: queries, data_files: [{split: queries, path: queries.jsonl}]}
- {config_name: default, data_files: [{split: test, path: qrels/test.jsonl}]}
---
"""
    write_bytes(root / "README.md", card.encode())
    write_rows(root / "qrels/test.jsonl", QRELS)
    assert load(root).fingerprint() == folder(str(root)).fingerprint()
    message = error(root, corpus="passages/corpus")
    assert message == (
        "unknown config of ROOT 'passages'. Choices: corpus, default, qrels, queries"
    )


def test_one_config_saved_at_the_root(tmp_path: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (1, 2)]
    datasets.DatasetDict(test=datasets.Dataset.from_list(rows)).save_to_disk(str(tmp_path / "x"))
    assert hub(str(tmp_path / "x"), kind="pairs").gold.tolist() == [1, 2]


def test_columns_by_other_names_and_whole_numbers_as_ids(tmp_path: Path) -> None:
    root = save(
        tmp_path,
        corpus={
            "corpus": [{"n": 10, "head": "A", "body": "b"}, {"n": 9, "head": None, "body": " c"}]
        },
        queries={"queries": [{"number": 1, "question": "d?"}]},
        default={"test": [{"q": 1, "d": 9, "gain": 0.5}, {"q": 1, "d": 10, "gain": 2.0}]},
    )
    names = {"id": "n", "title": "head", "text": "body", "query_id": "number"}
    names |= {"query_text": "question", "qrels_query": "q", "qrels_document": "d", "score": "gain"}
    data = load(root, **names)
    assert (data.corpus.ids, data.corpus.texts) == (["10", "9"], ["A b", "c"])
    assert (data.queries.ids, data.queries.texts) == (["1"], ["d?"])
    assert data.qrels.docs.tolist() == [0, 1]
    assert data.qrels.gains.tolist() == [2, 0.5]
    assert load(root, **{**names, "title": ""}).corpus.texts == ["b", "c"]


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


def test_judgments_as_lists_in_a_dict(tmp_path: Path) -> None:
    """What `datasets` makes of its Sequence of a dict."""
    rows = [
        {"_id": "q1", "text": "x", "judged": {"id": [7, 8], "label": [1, 0]}},
        {"_id": "q2", "text": "y", "judged": None},
    ]
    corpus = [{"_id": "7", "text": "x"}, {"_id": "8", "text": "y"}]
    root = save(tmp_path, corpus={"corpus": corpus}, queries={"queries": rows})
    data = load(root, judgments="judged")
    assert data.qrels.indptr.tolist() == [0, 2, 2]
    assert data.qrels.gains.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        ([{"id": "d1"}], "'judged' holds {'id': 'd1'}: expected id and label"),
        (["d1"], "'judged' holds 'd1': expected id and label"),
        (3, "'judged' holds 3: expected id and label"),
        ([{"id": None, "label": 1}], "'corpus-id' is None: expected text"),
        ([{"id": "d1", "label": None}], "'score' is None: expected a finite number"),
    ],
)
def test_bad_nested_judgment(tmp_path: Path, judged: object, expected: str) -> None:
    root = save(tmp_path, queries={"queries": [{**QUERIES[0], "judged": judged}]})
    assert error(root, judgments="judged") == f"ROOT queries/queries row 1: {expected}"


def test_passage_without_a_parent(tmp_path: Path) -> None:
    rows = [{**CORPUS[0], "parent": "p"}, {**CORPUS[1], "parent": None}]
    root = save(tmp_path, corpus={"corpus": rows})
    message = error(root, parent="parent")
    assert message == "ROOT corpus/corpus row 2: 'parent' is None: expected text"


# other kinds


def test_other_kinds(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": 0, "levels": ["x", "x1"], "b": "c", "gold": 1.5},
        {"text": "d", "label": 1, "levels": ["y", "y1"], "b": "e", "gold": 0.0},
    ]
    root = str(save(tmp_path, {"default": {"train": rows[::-1], "test": rows}}))
    pairs = hub(root, kind="pairs", left="text", right="b", score="gold")
    assert isinstance(pairs, Pairs)
    assert (pairs.left, pairs.right, pairs.gold.tolist()) == (["a", "d"], ["c", "e"], [1.5, 0])
    classes = hub(root, kind="classification")
    assert isinstance(classes, Classification)
    assert (classes.train.texts, classes.train.labels) == (["d", "a"], ["1", "0"])
    assert (classes.test.texts, classes.test.labels) == (["a", "d"], ["0", "1"])
    clusters = hub(root, kind="clustering", label="levels", test="default/train")
    assert isinstance(clusters, Clustering)
    assert clusters.texts == ["d", "a"]
    assert clusters.levels == (("y", "x"), ("y1", "x1"))


def test_parameter_of_another_kind_is_refused(tmp_path: Path) -> None:
    message = error(tmp_path, kind="pairs", parent="p")
    assert message == "hub:ROOT: kind=pairs does not read parent: leave it out"
    message = error(tmp_path, left="a")
    assert message == "hub:ROOT: kind=retrieval does not read left: leave it out"


# text as it stands


@pytest.mark.parametrize(
    ("kind", "documents", "judged"),
    [
        ("csv", [("a", "NULL", "a marker"), ("b", "Zero", "a number")], "a"),
        ("csv", [("A1", "", "alpha"), ("007", "", "beta")], "007"),
        ("csv", [("a", "", "alpha"), ("b", "", "null"), ("c", "", "NA")], "b"),
        ("csv", [("1.10", "", "alpha"), ("1.1", "", "beta")], "1.10"),
        ("csv", [("12345678901234567890123", "", "x"), ("12345678901234567890124", "", "y")],
         "12345678901234567890124"),
        ("csv", [("a", "", "2024-01-02 10:00:00"), ("b", "true", "1e5")], "b"),
        ("jsonl", [("2024-01-02 10:00:00", "", "alpha"), ("2024-01-03", "", "beta")], "2024-01-03"),
        ("json", [("1.10", "NULL", "alpha"), ("007", "", "2024-01-02 10:00:00")], "007"),
        ("tsv", [("1.10", "NULL", "alpha"), ("007", "", "2024-01-02 10:00:00")], "007"),
    ],
)  # fmt: skip
def test_cells_of_a_folder_are_text(
    tmp_path: Path, kind: str, documents: list[tuple[str, str, str]], judged: str
) -> None:
    corpus = [dict(zip(("_id", "title", "text"), row, strict=True)) for row in documents]
    parts = {
        "corpus": corpus,
        "queries": [{"_id": "01", "text": "null"}, {"_id": "02", "text": "None"}],
        "qrels": [{"query-id": "01", "corpus-id": judged, "score": 1}],
    }
    for name, rows in parts.items():
        if kind == "csv":
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            write_bytes(tmp_path / name / "train.csv", "\n".join(lines).encode())
        elif kind == "json":
            write_bytes(tmp_path / name / "train.json", json.dumps(rows).encode())
        else:
            write_rows(tmp_path / name / f"train.{kind}", rows)
    asked = {"corpus": "corpus/train", "queries": "queries/train", "qrels": "qrels/train"}
    data = load(tmp_path, **asked)
    found = dict(zip(data.corpus.ids, data.corpus.texts, strict=True))
    assert found == {id: f"{title} {text}".strip() for id, title, text in documents}
    assert (data.queries.ids, data.queries.texts) == (["01", "02"], ["null", "None"])
    assert data.qrels.unknown_documents == 0


def test_separator_that_the_card_of_a_copy_names(tmp_path: Path) -> None:
    card = """---
configs:
- {config_name: default, sep: ";", data_files: [{split: test, path: sts.csv}]}
---
"""
    write_bytes(tmp_path / "README.md", card.encode())
    write_bytes(tmp_path / "sts.csv", b"sentence1;sentence2;score\n007;NA;1\na,b;c;2\n")
    data = hub(str(tmp_path), kind="pairs")
    assert isinstance(data, Pairs)
    assert (data.left, data.right, data.gold.tolist()) == (["007", "a,b"], ["NA", "c"], [1, 2])


def test_column_that_no_row_of_a_file_has(tmp_path: Path) -> None:
    for config, rows in {"corpus": CORPUS, "queries": QUERIES, "default": QRELS}.items():
        write_rows(tmp_path / config / "test.jsonl", rows)
    asked = {"corpus": "corpus/test", "queries": "queries/test"}
    assert error(tmp_path, title="titel", **asked) == (
        "unknown column of ROOT corpus/test 'titel'. Did you mean 'title'? "
        "Choices: _id, text, title"
    )
    assert error(tmp_path, text="body", **asked) == (
        "ROOT/corpus/test.jsonl:1: 'body' is missing (found: '_id', 'title', 'text'): expected text"
    )


def test_title_of_a_query(tmp_path: Path) -> None:
    root = save(tmp_path, queries={"queries": [{"_id": "q1", "title": "A", "text": "b"}]})
    assert load(root).queries.texts == ["b"]
    assert load(root, query_title="title").queries.texts == ["A b"]


def test_a_query_does_not_find_itself_where_that_is_the_protocol(answers: list[Any]) -> None:
    asked = ("BeIR/arguana", "mteb/quora", "mteb/quora-pl")
    found = [hub(name, revision=ONE).origin.exclude_self for name in asked]
    assert found == [True, True, False]


STS = b"sentence1,sentence2,score\n007,NULL,1\n1.10,,2\n2024-01-02,null,03\n"


def test_cells_of_csv_of_the_hub_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "default" / "test.csv", STS)
    real = datasets.load_dataset

    def load_of_folder(target: str, config: str, *, revision: str, **options: Any) -> Any:
        assert (target, revision) == ("org/name", ONE)
        return real(str(tmp_path / config), **options)

    monkeypatch.setattr(datasets, "load_dataset", load_of_folder)
    data = hub("org/name", kind="pairs", revision=ONE)
    assert isinstance(data, Pairs)
    assert data.left == ["007", "1.10", "2024-01-02"]
    assert data.right == ["NULL", "", "null"]
    assert data.gold.tolist() == [1, 2, 3]
    assert not any("CSV" in note for note in data.warnings)


def test_cells_are_text_whatever_a_card_says_of_csv(tmp_path: Path) -> None:
    card = """---
configs:
- {config_name: default, skiprows: 1, data_files: [{split: test, path: sts.csv}]}
---
"""
    write_bytes(tmp_path / "README.md", card.encode())
    write_bytes(tmp_path / "sts.csv", b"made by hand\n" + STS)
    data = hub(str(tmp_path), kind="pairs")
    assert isinstance(data, Pairs)
    assert (data.left[:2], data.right) == (["007", "1.10"], ["NULL", "", "null"])


def test_csv_that_the_cache_has_guessed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "score": score} for score in (1, 2)]
    info = datasets.DatasetInfo(builder_name="csv")
    table = datasets.Dataset.from_list(rows, info=info)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    assert hub("org/name", kind="pairs", revision=ONE).warnings[1] == (
        "org/name is CSV, whose types the cache has guessed (007 is 7, NULL is none): read it "
        "where the hub is reached to have every cell as text"
    )


# what is missing


def test_missing_config_split_and_column(tmp_path: Path) -> None:
    root = save(tmp_path)
    assert error(root, corpus="corpos/corpus") == (
        "unknown config of ROOT 'corpos'. Did you mean 'corpus'? Choices: corpus, default, queries"
    )
    assert error(root, corpus="corpus/dev") == (
        "unknown split of ROOT/corpus 'dev'. Choices: corpus"
    )
    assert error(root, text="body") == (
        "unknown column of ROOT corpus/corpus 'body'. Choices: _id, text, title"
    )
    assert error(root, title="titel") == (
        "unknown column of ROOT corpus/corpus 'titel'. Did you mean 'title'? "
        "Choices: _id, text, title"
    )
    assert error(root, corpus="corpus") == "ROOT: 'corpus' is no table: expected CONFIG/SPLIT"
    write_rows(root / "loose/train.jsonl", CORPUS)
    assert error(root, corpus="loose/dev") == "unknown split of ROOT/loose 'dev'. Choices: train"


@pytest.mark.parametrize(
    ("config", "rows", "expected"),
    [
        (
            "corpus",
            [*CORPUS, CORPUS[0]],
            "ROOT corpus/corpus row 4: document id 'd2' stands at ROOT corpus/corpus row 1 already",
        ),
        (
            "queries",
            [*QUERIES, {"_id": "q3", "text": None}],
            "ROOT queries/queries row 3: 'text' is None: expected text",
        ),
        (
            "queries",
            [{"_id": True, "text": "x"}],
            "ROOT queries/queries row 1: '_id' is True: expected text",
        ),
        (
            "qrels",
            [{**QRELS[0], "query-id": "q9"}],
            "ROOT default/test: judges none of the 2 queries of ROOT: expected the same ids on "
            "both sides, as 'q1', not 'q9' (ROOT default/test row 1)",
        ),
        (
            "qrels",
            [{**QRELS[0], "score": float("nan")}],
            "ROOT default/test row 1: 'score' is nan: expected a finite number",
        ),
    ],
)
def test_bad_row(tmp_path: Path, config: str, rows: Rows, expected: str) -> None:
    place = {"qrels": ("default", "test")}.get(config, (config, config))
    assert error(save(tmp_path, **{place[0]: {place[1]: rows}})) == expected


def test_empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = datasets.Dataset.from_dict({"_id": [], "text": []})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: empty)
    message = complaint(lambda: hub("org/name"))
    assert message == "org/name corpus/corpus: holds no document: expected at least one"


def test_broken_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_bytes(tmp_path / "corpus/test.jsonl", b'{"_id": "a", "text": "b"}\n{"_id": \n')
    message = error(tmp_path, corpus="corpus/test")
    assert message.startswith("ROOT/corpus/test.jsonl:2: broken JSON: Expecting value")
    assert capfd.readouterr() == ("", "")


def test_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert complaint(lambda: hub("org/name")) == (
        "datasets cannot be imported (import of datasets halted; None in sys.modules): "
        + install("hub")
    )


# the hub


def test_hub_that_is_not_reached() -> None:
    message = complaint(lambda: hub("org/name", revision=ONE))
    assert message.startswith(
        "org/name corpus/corpus cannot be loaded: ConnectionError: Couldn't reach 'org/name' on "
    )
    assert message.endswith(
        "; check name, revision and network (HF_HUB_OFFLINE is set), name a folder with the same "
        "tables, or bring the dataset to the cache (HF_HOME)"
    )


@pytest.fixture
def cached(tmp_path: Path, cache: Path) -> Callable[[str], None]:
    """Puts the collection into the library's cache as org/name at a commit, as it does itself."""

    def put(commit: str, configs: Tables = BEIR) -> None:
        for config, splits in configs.items():
            ((split, rows),) = splits.items()
            path = write_rows(tmp_path / "raw" / commit / f"{config}.jsonl", rows)
            made = datasets.load_dataset("json", data_files={split: str(path)}, split=split)
            built = Path(made.cache_files[0]["filename"])
            there = cache / "org___name" / config / "0.0.0" / commit
            shutil.copytree(built.parent, there)
            (there / built.name).rename(there / f"name-{split}.arrow")
            about = json.loads((there / "dataset_info.json").read_text())
            about |= {"config_name": config, "dataset_name": "name"}
            (there / "dataset_info.json").write_text(json.dumps(about))

    return put


def test_cache_serves_the_commit_that_was_asked_for(
    cached: Callable[[str], None], tmp_path: Path
) -> None:
    cached(ONE)
    data = hub("org/name", revision=ONE)
    assert data.fingerprint() == folder(str(write_collection(tmp_path / "x"))).fingerprint()
    assert data.warnings == ()
    assert data.origin.reference == f"https://huggingface.co/datasets/org/name/tree/{ONE}"


def test_another_commit_of_the_cache_is_refused(cached: Callable[[str], None]) -> None:
    """Where the hub does not answer, `datasets` takes whatever commit its cache holds."""
    cached(ONE)
    assert complaint(lambda: hub("org/name", revision=OTHER)) == (
        f"org/name corpus/corpus: the cache holds commit {ONE} and the hub does not give {OTHER}: "
        "check it and the network, or ask for the one that is there"
    )


@pytest.mark.parametrize("revision", [None, "main", ONE[:7]])
def test_what_is_not_pinned_is_a_warning_with_its_commit(
    cached: Callable[[str], None], revision: str | None
) -> None:
    cached(ONE)
    note = f"org/name may change (read at {ONE}): add revision=COMMIT"
    assert hub("org/name", revision=revision).warnings == (note,)


def test_tables_of_different_commits_are_refused(cached: Callable[..., None]) -> None:
    cached(ONE, {name: BEIR[name] for name in ("corpus", "queries")})
    cached(OTHER, {"default": BEIR["default"]})
    assert complaint(lambda: hub("org/name")) == (
        f"org/name: its tables were read at the commits {ONE} and {OTHER}: add revision=COMMIT"
    )


def test_config_that_the_cache_does_not_hold(cached: Callable[..., None]) -> None:
    cached(ONE, {"corpus": BEIR["corpus"]})
    assert complaint(lambda: hub("org/name", revision=ONE)) == (
        "org/name queries/queries cannot be loaded: ValueError: Couldn't find cache for org/name "
        "for config 'queries' Available configs in the cache: ['corpus']"
    )


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the hub is asked; an exception put in first is what it answers."""
    asked: list[Any] = []

    def ask(*args: object, **options: object) -> object:
        asked.append((args, options))
        if isinstance(asked[0], Exception):
            raise asked[0]
        config = str(args[1])
        rows = BEIR[config][str(options["split"])]
        return datasets.Dataset.from_list(list(rows))

    monkeypatch.setattr(datasets, "load_dataset", ask)
    return asked


def test_what_the_hub_is_asked(answers: list[Any]) -> None:
    data = hub("org/name", revision=ONE)
    unknown = "the commit that was read is not known"
    assert data.warnings == (f"org/name: {unknown}",)
    assert answers == [
        (("org/name", config), {"split": split, "revision": ONE})
        for config, split in [("corpus", "corpus"), ("queries", "queries"), ("default", "test")]
    ]
    assert data.origin.reference == "https://huggingface.co/datasets/org/name"
    note = f"org/name may change ({unknown}): add revision=COMMIT"
    assert hub("org/name").warnings == (note,)


@pytest.mark.parametrize(
    "answer",
    [
        datasets.exceptions.DatasetNotFoundError("Dataset 'org/name' doesn't exist on the Hub"),
        datasets.exceptions.DatasetNotFoundError("Revision 'v9' doesn't exist for 'org/name'"),
        ConnectionError("Couldn't reach 'org/name' on the Hub (ConnectError)"),
        RuntimeError("Dataset scripts are no longer supported, but found name.py"),
    ],
)
def test_what_the_hub_refuses(answers: list[Any], answer: Exception) -> None:
    answers.append(answer)
    message = complaint(lambda: hub("org/name"))
    assert message.startswith(
        f"org/name corpus/corpus cannot be loaded: {type(answer).__name__}: {answer}; check name, "
    )
    assert "name a folder with the same tables" in message


def test_token_is_not_told(answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    answers.append(OSError("401 for\nhf_secret"))
    message = complaint(lambda: hub("org/name"))
    assert "401 for ***;" in message
    assert "hf_secret" not in message


def test_revision_of_a_folder_is_not_checked(tmp_path: Path) -> None:
    root = save(tmp_path)
    note = f"revision=main is not checked: {root} is a folder"
    assert load(root, revision="main").warnings == (note,)


def test_limit_small_of_a_folder_in_place_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shared("limit-small")
    paths = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "default": "qrels/test.tsv"}
    splits = {"corpus": "corpus", "queries": "queries", "default": "test"}
    tables = {
        config: {splits[config]: [row for _, row in files.rows(source / path)]}
        for config, path in paths.items()
    }
    save(tmp_path / "orionweller" / "LIMIT-small", tables)
    monkeypatch.chdir(tmp_path)
    data = catalog.task("limit-small:hub").load()
    assert data.fingerprint() == folder(str(source)).fingerprint()
