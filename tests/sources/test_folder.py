from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.api import evaluate
from harness.data import Retrieval, text_digest
from harness.sources.folder import folder
from tests.shared import shared
from tests.sources.writing import (
    CORPUS,
    QRELS,
    QUERIES,
    complaint,
    write_bytes,
    write_collection,
    write_rows,
)

HEADER = b"query-id\tcorpus-id\tscore\n"


def load(root: Path) -> Retrieval:
    return folder(str(root))


def error(root: Path) -> str:
    """What loading a folder complains of, the folder cut off."""
    return complaint(lambda: load(root)).replace(f"{root}{os.sep}", "").replace(str(root), "ROOT")


def test_collection_is_read_and_sorted_by_document(tmp_path: Path) -> None:
    data = load(write_collection(tmp_path))
    assert data.corpus.ids == ["d1", "d10", "d2"]
    assert data.corpus.texts == [
        "Dogs bark.",
        "Žluťoučký kůň 🐎, a tab\tand a\nnewline.",
        "On cats Cats sleep.",
    ]
    assert data.queries.ids == ["q1", "q2"]
    assert data.queries.texts == ["Who sleeps?", "Who barks?"]
    assert data.qrels.indptr.tolist() == [0, 1, 3]
    assert data.qrels.docs.tolist() == [2, 0, 2]
    assert data.qrels.gains.tolist() == [2, 1, 0]
    assert data.warnings == ()


def test_fingerprint_of_a_collection_is_fixed(tmp_path: Path) -> None:
    assert load(write_collection(tmp_path)).fingerprint() == {
        "corpus": "9999ea80ab21870aef184d7bc6fca13614b4d7ee89cb7fce2f4c2312da8f704f",
        "queries": "b941cb65c8332a136d096bd423d52ecf739dd9d0e1909e81a40b1035231f3108",
        "qrels": "7a7654bef1bb25e5a095d4bf1d75e138c4e9f897573cfdbea64fb5849c617165",
    }


@pytest.mark.parametrize("texts", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize(
    "judgments", ["tsv", "tsv.gz", "jsonl", "jsonl.gz", "parquet", "qrels", "qrels.gz"]
)
def test_format_does_not_matter(tmp_path: Path, texts: str, judgments: str) -> None:
    plain = load(write_collection(tmp_path / "plain"))
    other = load(write_collection(tmp_path / "other", texts=texts, judgments=judgments))
    assert other.fingerprint() == plain.fingerprint()
    assert (other.corpus, other.queries) == (plain.corpus, plain.queries)
    for name in ("indptr", "docs", "gains"):
        one, two = getattr(plain.qrels, name), getattr(other.qrels, name)
        assert one.dtype == two.dtype
        assert one.tolist() == two.tolist()


def test_order_of_corpus_and_judgments_does_not_matter_that_of_queries_does(tmp_path: Path) -> None:
    one = load(write_collection(tmp_path / "one"))
    two = load(write_collection(tmp_path / "two", corpus=CORPUS[::-1], qrels=QRELS[::-1]))
    assert two.fingerprint() == one.fingerprint()
    three = load(write_collection(tmp_path / "three", queries=QUERIES[::-1])).fingerprint()
    assert three["corpus"] == one.fingerprint()["corpus"]
    assert three["queries"] != one.fingerprint()["queries"]
    assert three["qrels"] != one.fingerprint()["qrels"]


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("corpus", {"corpus": [*CORPUS[:2], {"_id": "d1", "title": "", "text": "Dogs bark!"}]}),
        ("corpus", {"corpus": [*CORPUS[:2], {"_id": "d1", "title": "Dogs", "text": "bark"}]}),
        ("queries", {"queries": [QUERIES[0], {"_id": "q2", "text": "Who barks"}]}),
        ("qrels", {"qrels": [{**QRELS[0], "score": 3}, *QRELS[1:]]}),
        ("qrels", {"qrels": [{**QRELS[0], "corpus-id": "d1"}, *QRELS[1:]]}),
        ("qrels", {"qrels": QRELS[:2]}),
    ],
)
def test_any_change_changes_the_fingerprint_of_its_part_alone(
    tmp_path: Path, part: str, changed: dict[str, list[dict[str, object]]]
) -> None:
    one = load(write_collection(tmp_path / "one")).fingerprint()
    two = load(write_collection(tmp_path / "two", **changed)).fingerprint()
    assert [name for name in one if one[name] != two[name]] == [part]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"title": "A b", "text": "c"}, "A b c"),
        ({"title": "", "text": " c "}, "c"),
        ({"title": None, "text": " c "}, "c"),
        ({"text": " c "}, "c"),
        ({"title": "A", "text": ""}, "A"),
        ({"title": "", "text": ""}, ""),
    ],
)
def test_title_and_text_are_joined_by_one_space(
    tmp_path: Path, row: dict[str, str], text: str
) -> None:
    root = write_collection(tmp_path, corpus=[*CORPUS[::2], {"_id": "d3", **row}])
    assert load(root).corpus.texts[2] == text


@pytest.mark.parametrize("texts", ["jsonl", "parquet"])
def test_metadata_is_kept_in_the_order_of_documents(tmp_path: Path, texts: str) -> None:
    objects = ({"year": 1999, "tags": ["a"]}, None, {"year": None, "tags": []})
    rows = [{**row, "metadata": one} for row, one in zip(CORPUS, objects, strict=True)]
    data = load(write_collection(tmp_path / "with", corpus=rows, texts=texts))
    assert data.corpus.ids == ["d1", "d10", "d2"]
    assert data.corpus.metadata == {"year": [None, None, 1999], "tags": [[], None, ["a"]]}
    plain = load(write_collection(tmp_path / "without"))
    assert plain.corpus.metadata is None
    assert data.corpus.texts == plain.corpus.texts
    written = ['{"tags": [], "year": null}', '{"tags": null, "year": null}']
    digest = text_digest([*written, '{"tags": ["a"], "year": 1999}'])
    assert data.fingerprint() == {**plain.fingerprint(), "metadata": digest}


def test_an_instruction_of_a_query_follows_it(tmp_path: Path) -> None:
    rows = [{**QUERIES[0], "instruction": "only recent ones"}, QUERIES[1]]
    found = load(write_collection(tmp_path, queries=rows)).queries
    plain = load(write_collection(tmp_path / "plain")).queries
    assert found.texts == [f"{plain.texts[0]} only recent ones", plain.texts[1]]


def test_empty_metadata_is_none(tmp_path: Path) -> None:
    rows = [{**row, "metadata": {}} for row in CORPUS]
    assert load(write_collection(tmp_path, corpus=rows)).corpus.metadata is None


@pytest.mark.parametrize(("value", "said"), [("x", "'x'"), ([], "[]"), (0, "0"), ("", "''")])
def test_metadata_that_is_no_object(tmp_path: Path, value: object, said: str) -> None:
    rows = [*CORPUS[:2], {**CORPUS[2], "metadata": value}]
    root = write_collection(tmp_path, corpus=rows)
    assert error(root) == f"corpus.jsonl:3: 'metadata' is {said}: expected an object"


def test_carriage_returns_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    one = load(write_collection(tmp_path / "one"))
    two = write_collection(tmp_path / "two")
    for path in [*two.glob("*.jsonl"), *two.glob("qrels/*.tsv")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert load(two).fingerprint() == one.fingerprint()


def test_trec_judgments_of_ids_that_hold_spaces(tmp_path: Path) -> None:
    root = write_collection(
        tmp_path,
        corpus=[{"_id": "New York", "text": "a"}, {"_id": "100%25", "text": "b"}],
        qrels=b"q1 0 New%20York 1\nq2\t0  100%25   2 \n\n",
        judgments="qrels",
    )
    data = load(root)
    assert data.corpus.ids == ["100%25", "New York"]
    assert data.qrels.docs.tolist() == [1, 0]
    assert data.qrels.gains.tolist() == [1, 2]


def test_split_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_collection(tmp_path / "home/things")
    write_rows(tmp_path / "home/things/qrels/dev.tsv", QRELS[:1])
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert len(folder("~/things").qrels.docs) == 3
    assert len(folder("~/things", split="dev").qrels.docs) == 1


def row(**changed: object) -> bytes:
    """A document's line with fields replaced; None leaves a field out."""
    fields = {"_id": "d9", "text": "x", **changed}
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


GOOD = row(_id="d1") + b"\n" + row(_id="d2") + b"\n"


@pytest.mark.parametrize(
    ("third", "expected"),
    [
        (row(_id="d1"), "3: NOUN id 'd1' stands at PART.jsonl:1 already"),
        (row(_id=7.0), "3: '_id' is 7.0: expected text"),
        (row(_id=True), "3: '_id' is True: expected text"),
        (b'{"_id": null, "text": "x"}', "3: '_id' is None: expected text"),
        (row(_id=None), "3: '_id' is missing (found: 'text'): expected text"),
        (row(text=None), "3: 'text' is missing (found: '_id'): expected text"),
        (b'{"_id": "d9", "text": null}', "3: 'text' is None: expected text"),
        (row(text=["x"]), "3: 'text' is ['x']: expected text"),
        (row(text="\ud800"), "3: 'text' holds a lone surrogate: not valid Unicode"),
        (row(_id="a\udfff"), "3: '_id' holds a lone surrogate: not valid Unicode"),
        (b"d9 x", "3: broken JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'["d9", "x"]', "3: expected a JSON object, got list"),
        (b'{"_id": "d9", "text": "\xc3("}', "3: byte 23 is not UTF-8: convert the file"),
    ],
)
@pytest.mark.parametrize(("part", "noun"), [("corpus", "document"), ("queries", "query")])
def test_bad_document_or_query(
    tmp_path: Path, part: str, noun: str, third: bytes, expected: str
) -> None:
    root = write_collection(tmp_path, **{part: GOOD + third + b"\n"})
    assert error(root) == f"{part}.jsonl:" + expected.replace("NOUN", noun).replace("PART", part)


@pytest.mark.parametrize(("part", "noun"), [("corpus", "document"), ("queries", "query")])
@pytest.mark.parametrize("texts", ["jsonl", "jsonl.gz"])
def test_empty_part(tmp_path: Path, part: str, noun: str, texts: str) -> None:
    root = write_collection(tmp_path, **{part: b"\n\n"}, texts=texts)
    assert error(root) == f"{part}.{texts}: holds no {noun}: expected at least one"


def test_bad_parquet_names_its_row(tmp_path: Path) -> None:
    root = write_collection(tmp_path, texts="parquet")
    table = pa.table({"_id": ["a", "b", "a"], "text": ["x", "y", "z"]})
    pq.write_table(table, root / "corpus.parquet")
    assert (
        error(root)
        == "corpus.parquet row 3: document id 'a' stands at corpus.parquet row 1 already"
    )
    pq.write_table(pa.table({"_id": [1.0, 2.0], "text": ["x", "y"]}), root / "corpus.parquet")
    assert error(root) == "corpus.parquet row 1: '_id' is 1.0: expected text"
    pq.write_table(table.slice(0, 0), root / "corpus.parquet")
    assert error(root) == "corpus.parquet: holds no document: expected at least one"
    (root / "corpus.parquet").write_bytes(b"no")
    assert error(root).startswith("corpus.parquet: not a readable Parquet file: ")


def test_truncated_archive(tmp_path: Path) -> None:
    root = write_collection(tmp_path, texts="jsonl.gz")
    data = (root / "corpus.jsonl.gz").read_bytes()
    (root / "corpus.jsonl.gz").write_bytes(data[: len(data) // 2])
    assert "the compressed file is damaged" in error(root)
    assert error(root).startswith("corpus.jsonl.gz:")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"q1\td1\thigh\n", "2: 'score' is 'high': expected a finite number"),
        (b"q1\td1\tnan\n", "2: 'score' is 'nan': expected a finite number"),
        (b"q1\td1\t-inf\n", "2: 'score' is '-inf': expected a finite number"),
        (b"q1\td1\t\n", "2: 'score' is '': expected a finite number"),
        (b"q1\td1\t1\nq2\td1\n", "3: 2 fields: expected 3"),
        (b"q1\td1\t1\nq2\t0\td1\t1\n", "3: 4 fields: expected 3"),
        (b"q1\td1\t1\nq2\t\xff\t1\n", "3: byte 3 is not UTF-8: convert the file"),
    ],
)
def test_bad_judgment(tmp_path: Path, lines: bytes, expected: str) -> None:
    root = write_collection(tmp_path, qrels=HEADER + lines)
    assert error(root) == f"qrels/test.tsv:{expected}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            b'{"query-id": "q1", "corpus-id": "d1", "score": NaN}',
            "1: 'score' is nan: expected a finite number",
        ),
        (
            b'{"query-id": "q1", "corpus-id": "d1", "score": null}',
            "1: 'score' is None: expected a finite number",
        ),
        (
            b'{"query-id": "q1", "corpus-id": "d1"}',
            "1: 'score' is missing (found: 'query-id', 'corpus-id'): expected a finite number",
        ),
        (
            b'{"query-id": 1.5, "corpus-id": "d1", "score": 1}',
            "1: 'query-id' is 1.5: expected text",
        ),
        (
            b'{"query-id": "q1", "corpus-id": null, "score": 1}',
            "1: 'corpus-id' is None: expected text",
        ),
    ],
)
def test_bad_judgment_in_json(tmp_path: Path, lines: bytes, expected: str) -> None:
    root = write_collection(tmp_path, qrels=lines, judgments="jsonl")
    assert error(root) == f"qrels/test.jsonl:{expected}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"q1 0 d1 1\nq2 d1 1\n", "2: 3 columns: expected 'qid 0 docid gain'"),
        (b"q1 0 d1 one\n", "1: the gain is 'one': expected a finite number"),
        (b"q1 0 d1 inf\n", "1: the gain is 'inf': expected a finite number"),
    ],
)
def test_bad_judgment_of_trec(tmp_path: Path, lines: bytes, expected: str) -> None:
    root = write_collection(tmp_path, qrels=lines, judgments="qrels")
    assert error(root) == f"qrels/test.qrels:{expected}"


def test_header_that_is_missing_or_another(tmp_path: Path) -> None:
    found = "(found: 'q1', 'd1', '1'): expected text"
    root = write_collection(tmp_path, qrels=b"q1\td1\t1\nq2\td1\t1\n")
    assert error(root) == f"qrels/test.tsv:2: 'query-id' is missing {found}"


def test_contradiction_names_query_and_document(tmp_path: Path) -> None:
    root = write_collection(tmp_path, qrels=[*QRELS, {**QRELS[0], "score": 1}])
    assert error(root) == (
        "qrels/test.tsv:5: document 'd2' is judged twice for query 'q1', as 2 (qrels/test.tsv:2) "
        "and as 1: keep one"
    )


def test_gain_beyond_float32_is_refused_with_its_ids(tmp_path: Path) -> None:
    message = error(write_collection(tmp_path, qrels=HEADER + b"q1\td1\t1e39\n"))
    assert "'d1'" in message
    assert "'q1'" in message
    assert "1e+39" in message


@pytest.mark.parametrize(
    ("qrels", "more"),
    [
        (HEADER, ""),
        (
            HEADER + b"q8\td1\t1\nq9\td1\t1\n",
            ": expected the same ids on both sides, as 'q1', not 'q8' (qrels/test.tsv:2)",
        ),
        (b"", ""),
    ],
)
def test_no_judgment_of_any_query(tmp_path: Path, qrels: bytes, more: str) -> None:
    assert error(write_collection(tmp_path, qrels=qrels)) == (
        f"qrels/test.tsv: judges none of the 2 queries of ROOT{more}"
    )


def test_missing_folder_file_and_split(tmp_path: Path) -> None:
    assert (
        error(tmp_path / "no") == "ROOT: no such folder: expected a collection in the BEIR layout"
    )
    root = write_collection(tmp_path)
    (root / "corpus.jsonl").rename(root / "corpus.txt")
    assert error(root) == (
        "ROOT: no corpus file: expected one of corpus.jsonl, corpus.jsonl.gz, corpus.parquet"
    )
    (root / "corpus.txt").rename(root / "corpus.jsonl")
    (root / "queries.jsonl").unlink()
    assert error(root).startswith("ROOT: no queries file: expected one of queries.jsonl, ")


def test_missing_split_lists_those_there_are(tmp_path: Path) -> None:
    root = write_collection(tmp_path)
    for name in ("train.jsonl.gz", "dev.v2.qrels", "dev.v2.tsv", "README.md", ".DS_Store"):
        write_bytes(root / "qrels" / name, b"")
    message = complaint(lambda: folder(str(root), split="validation"))
    assert message.endswith("; splits there: dev.v2, test, train (ask with split=NAME)")
    assert f"{root / 'qrels'}: no validation file: expected one of validation.tsv, " in message
    for path in (root / "qrels").iterdir():
        path.unlink()
    assert "splits" not in complaint(lambda: folder(str(root)))
    (root / "qrels").rmdir()
    assert complaint(lambda: folder(str(root))).startswith(f"{root / 'qrels'}: no test file")


STRANGE = (
    *QRELS,
    {"query-id": "q1", "corpus-id": "gone", "score": 1},
    {"query-id": "q1", "corpus-id": "lost", "score": 1},
    {"query-id": "q9", "corpus-id": "d1", "score": 1},
    QRELS[0],
    QRELS[1],
    QRELS[1],
)


def test_what_is_tolerated_is_counted(tmp_path: Path) -> None:
    unjudged = {"_id": "q3", "text": "Nobody asks?"}
    root = write_collection(tmp_path, queries=[QUERIES[0], unjudged, QUERIES[1]], qrels=STRANGE)
    qrels = load(root).qrels
    assert qrels.unknown_documents == 2
    assert qrels.unknown_queries == 1
    assert qrels.repeated == 3
    assert qrels.judged.tolist() == [True, False, True]
    assert qrels.docs.tolist() == [-1, -1, 2, 0, 2]
    assert qrels.indptr.tolist() == [0, 3, 3, 5]


@pytest.mark.parametrize("encoder", ["bm25", "hashing"])
def test_record_tells_what_was_tolerated(tmp_path: Path, encoder: str) -> None:
    unjudged = {"_id": "q3", "text": "Nobody asks?"}
    root = write_collection(tmp_path, queries=[*QUERIES, unjudged], qrels=STRANGE)
    done = evaluate(encoder, f"folder:{root}", measures=["R@1", "R@3"])
    counts = {
        "documents": 3,
        "queries": 3,
        "queries_scored": 2,
        "queries_unjudged": 1,
        "judgments": 5,
        "judgments_of_unknown_documents": 2,
        "judgments_of_unknown_queries": 1,
        "judgments_repeated": 3,
    }
    assert {name: done.record.counts[name] for name in counts} == counts
    assert {
        "1 queries unjudged",
        f"2 judgments of unknown documents, as 'gone' ({root}/qrels/test.tsv:5)",
        f"1 judgments of unknown queries, as 'q9' ({root}/qrels/test.tsv:7)",
        "3 judgments repeated",
    } <= set(done.record.warnings)
    assert done.per_query["query_id"] == ["q1", "q2"]


def test_unknown_documents_stay_in_the_denominator(tmp_path: Path) -> None:
    done = evaluate("bm25", f"folder:{write_collection(tmp_path, qrels=STRANGE)}", measures=["R@1"])
    assert done.per_query["R@1"].tolist() == [1 / 3, 1]


def test_a_clean_collection_leaves_no_warning(tmp_path: Path) -> None:
    done = evaluate("bm25", f"folder:{write_collection(tmp_path)}", measures=["R@1", "R@3"])
    assert done.record.warnings == []
    assert done.record.counts["judgments"] == 3


@pytest.mark.parametrize(
    ("name", "documents", "queries", "judgments", "unknown"),
    [
        ("limit-small", 46, 1000, 2000, 0),
        ("scifact", 5183, 300, 339, 0),
        ("xquad-en", 240, 1187, 1187, 0),
        ("med", 1033, 30, 696, 0),
        ("adi", 82, 35, 170, 0),
        ("time", 423, 83, 324, 3),
    ],
)
def test_real_collection(
    name: str, documents: int, queries: int, judgments: int, unknown: int
) -> None:
    data = load(shared(name))
    assert (len(data.corpus), len(data.queries)) == (documents, queries)
    assert (len(data.qrels.docs), data.qrels.unknown_documents) == (judgments, unknown)
    assert (data.qrels.unknown_queries, data.qrels.repeated) == (0, 0)
    assert data.qrels.judged.all()
    assert list(data.corpus.ids) == sorted(data.corpus.ids)
    assert data.warnings == ()


def test_released_limit_small_is_two_of_46_for_every_query() -> None:
    qrels = load(shared("limit-small")).qrels
    assert np.diff(qrels.indptr).tolist() == [2] * 1000
    assert qrels.docs.min() == 0
    assert set(qrels.gains.tolist()) == {1}


def test_a_document_is_stripped_and_a_query_is_not(tmp_path: Path) -> None:
    corpus = [{**row, "text": f"{row['text']}\n"} for row in CORPUS]
    queries = [{**row, "text": f" {row['text']}\n"} for row in QUERIES]
    data = load(write_collection(tmp_path, corpus=corpus, queries=queries))
    assert data.corpus.texts == load(write_collection(tmp_path / "plain")).corpus.texts
    assert data.queries.texts == [row["text"] for row in queries]


def test_a_query_is_its_text_and_its_title_only_where_that_is_asked(tmp_path: Path) -> None:
    corpus = [{"_id": "a", "text": "alpha beta"}, {"_id": "b", "text": "gamma delta"}]
    root = write_collection(
        tmp_path,
        corpus=corpus,
        queries=[{"_id": "q", "title": "gamma delta", "text": "alpha"}],
        qrels=[{"query-id": "q", "corpus-id": "a", "score": 1}],
    )
    assert load(root).queries.texts == ["alpha"]
    done = evaluate("bm25", f"folder:{root}", measures=["nDCG@10"])
    assert done.record.main.mean == 1
    assert folder(str(root), query_title="title").queries.texts == ["gamma delta alpha"]
    done = evaluate("bm25", f"folder:{root},query_title=title", measures=["nDCG@10"])
    assert done.record.main.mean == pytest.approx(0.6309, abs=5e-5)


@pytest.mark.parametrize("texts", ["jsonl", "parquet"])
def test_ids_that_are_whole_numbers(tmp_path: Path, texts: str) -> None:
    root = write_collection(
        tmp_path,
        corpus=[{"_id": 3, "text": "alpha"}, {"_id": 4, "text": "beta"}],
        queries=[{"_id": 1, "text": "alpha"}],
        qrels=b"query-id\tcorpus-id\tscore\n1\t3\t1\n",
        texts=texts,
    )
    data = load(root)
    assert (data.corpus.ids, data.queries.ids) == (["3", "4"], ["1"])
    assert evaluate("bm25", f"folder:{root}", measures=["nDCG@10"]).record.main.mean == 1


def test_judgments_in_a_quoted_table(tmp_path: Path) -> None:
    plain = load(write_collection(tmp_path / "plain"))
    lines = [list(QRELS[0]), *(list(map(str, row.values())) for row in QRELS)]
    data = "".join("\t".join(f'"{cell}"' for cell in line) + "\n" for line in lines).encode()
    assert load(write_collection(tmp_path / "x", qrels=data)).fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(
    ("held", "judged", "expected"),
    [
        ("1a76-2019-00002", "S1a76-A22", "not 'S1a76-A22' (qrels/test.tsv:2)"),
        (
            "a",
            "a ",
            "not 'a ' (qrels/test.tsv:2), which is there without the blanks around it: 'a'",
        ),
        ("a ", "a", "not 'a' (qrels/test.tsv:2), which is there with a blank behind it: 'a '"),
        (
            "caf\u00e9",
            "cafe\u0301",
            "not 'cafe\u0301' (qrels/test.tsv:2), which is there in the Unicode form NFC: "
            "'caf\u00e9'",
        ),
        (
            "cafe\u0301",
            " caf\u00e9",
            "not ' caf\u00e9' (qrels/test.tsv:2), which is there in the Unicode form NFD: "
            "'cafe\u0301'",
        ),
    ],
)
def test_judgments_of_documents_none_of_which_is_there(
    tmp_path: Path, held: str, judged: str, expected: str
) -> None:
    corpus = [{"_id": held, "text": "alpha"}, {"_id": "0", "text": "beta"}]
    qrels = HEADER + f"q1\t{judged}\t1\n".encode()
    root = write_collection(tmp_path, corpus=corpus, qrels=qrels)
    assert error(root) == (
        "qrels/test.tsv: judges none of the 2 documents of ROOT: expected the same ids on both "
        f"sides, as '0', {expected}"
    )


def test_of_unknown_ids_one_with_a_cause_is_shown(tmp_path: Path) -> None:
    more = b"q1\td1\t1\nq1\tgone\t1\nq2\td10\t1\nq2\t d2\t1\n"
    root = write_collection(tmp_path, qrels=HEADER + more)
    assert load(root).qrels.unknown_document == (
        f"' d2' ({root}/qrels/test.tsv:5), which is there without the blanks around it: 'd2'"
    )
