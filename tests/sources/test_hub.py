"""Collections as the hub has them, saved in a folder: the same as any, or one clear line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.data import Classification, Clustering, Pairs
from harness.optional import install
from harness.sources.folder import folder
from harness.sources.hub import hub
from tests.sources.hub_frame import ONE, datasets, load, save
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
