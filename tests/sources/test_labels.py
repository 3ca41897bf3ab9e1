from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.api import evaluate
from harness.sources.labels import classification, clustering
from tests.sources.writing import Rows, complaint, write_bytes, write_rows

ROWS = (
    {"text": "A cat sleeps.", "label": "cat"},
    {"text": "Žluťoučký kůň 🐎", "label": "horse"},
    {"text": "", "label": "cat"},
)
FORMATS = ("jsonl", "jsonl.gz", "tsv", "tsv.gz", "parquet")


def write(folder: Path, train: Rows = ROWS, test: Rows = ROWS, kind: str = "jsonl") -> Path:
    write_rows(folder / f"train.{kind}", train)
    write_rows(folder / f"test.{kind}", test)
    return folder


# classification


@pytest.mark.parametrize("kind", FORMATS)
def test_format_does_not_matter(tmp_path: Path, kind: str) -> None:
    data = classification(str(write(tmp_path, ROWS[::-1], kind=kind)))
    assert data.train.texts == ["", "Žluťoučký kůň 🐎", "A cat sleeps."]
    assert data.train.labels == ["cat", "horse", "cat"]
    assert data.test.texts == [row["text"] for row in ROWS]
    assert data.warnings == ()
    assert clustering(str(tmp_path)).texts == data.test.texts


def test_csv_and_other_names(tmp_path: Path) -> None:
    write_bytes(tmp_path / "dev.csv", b'body,class\n"a, b",1\nc,2\n')
    data = classification(str(tmp_path), train="dev", test="dev", text="body", label="class")
    assert (data.train.texts, data.test.labels) == (["a, b", "c"], ["1", "2"])


def test_whole_numbers_are_labels(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": -1}]
    assert classification(str(write(tmp_path, rows, rows))).test.labels == ["0", "-1"]


def test_label_that_no_training_text_has(tmp_path: Path) -> None:
    test = [*ROWS, {"text": "a", "label": "dog"}, {"text": "b", "label": "dog"}]
    assert classification(str(write(tmp_path, test=test))).warnings == (
        "2 of 5 test texts have a label that no training text has",
    )
    assert classification(str(write(tmp_path, train=test))).warnings == ()


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (b'{"text": "a", "label": true}', "'label' is True: expected a label"),
        (b'{"text": "a", "label": 1.0}', "'label' is 1.0: expected a label"),
        (b'{"text": "a", "label": null}', "'label' is None: expected a label"),
        (b'{"text": "a", "label": ""}', "'label' is '': expected a label"),
        (b'{"text": "a"}', "'label' is missing (found: 'text'): expected a label"),
    ],
)
@pytest.mark.parametrize("source", [classification, clustering])
def test_bad_label(tmp_path: Path, source: object, second: bytes, expected: str) -> None:
    assert callable(source)
    for name in ("train", "test"):
        write_bytes(tmp_path / f"{name}.jsonl", b'{"text": "a", "label": "b"}\n' + second)
    message = complaint(lambda: source(str(tmp_path))).partition(os.sep + "t")[2]
    assert message.partition(":")[2] == f"2: {expected}, text or a whole number"


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (b'{"text": null, "label": 1}', "test.jsonl:2: 'text' is None: expected text"),
        (b'{"text": "a", "label": ["b"]}', "test.jsonl:2: 'label' is ['b']: expected a label, "),
        (b'{"text": "a", "label": "\\ud800"}', "test.jsonl:2: 'label' holds a lone surrogate"),
        (b'{"text": "a", "label": "b"}', "test.jsonl: 2 texts with 1 different label: expected "),
    ],
)
def test_bad_test_file(tmp_path: Path, second: bytes, expected: str) -> None:
    write(tmp_path)
    write_bytes(tmp_path / "test.jsonl", b'{"text": "a", "label": "b"}\n' + second)
    message = complaint(lambda: classification(str(tmp_path)))
    assert message.replace(f"{tmp_path}{os.sep}", "").startswith(expected)


def test_missing_folder_and_file(tmp_path: Path) -> None:
    message = complaint(lambda: classification(str(tmp_path / "no")))
    assert message == f"{tmp_path / 'no'}: no such folder: expected train and test files"
    write_rows(tmp_path / "train.jsonl", ROWS)
    message = complaint(lambda: classification(str(tmp_path)))
    assert message.startswith(f"{tmp_path}: no test file: expected one of test.jsonl, ")


def test_texts_are_classified(tmp_path: Path) -> None:
    rows = [{"text": f"{word} {i}", "label": word} for word in ("cat", "dog") for i in range(9)]
    done = evaluate("hashing", f"classification:{write(tmp_path, rows, rows)}")
    assert done.record.task.kind == "classification"
    assert done.record.main.mean == 1


# clustering

LEVELS = (
    {"text": "a", "label": ["x", "x1"]},
    {"text": "b", "label": ["y"]},
    {"text": "c", "label": ["x", 2]},
)


def test_levels_go_from_coarse_to_fine(tmp_path: Path) -> None:
    """A text whose list ends early is left out of the finer levels."""
    data = clustering(str(write_rows(tmp_path / "a.jsonl", LEVELS)))
    assert data.texts == ["a", "b", "c"]
    assert data.levels == (("x", "y", "x"), ("x1", None, "2"))


def test_one_level_from_a_file_or_a_split(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "dev.tsv", ROWS)
    for data in (clustering(str(path)), clustering(str(tmp_path), split="dev")):
        assert data.levels == (("cat", "horse", "cat"),)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ": 0 texts with 0 different labels on level 1: expected at least two labels"),
        (
            [LEVELS[0], LEVELS[0]],
            ": 2 texts with 1 different label on level 1: expected at least two labels",
        ),
        (
            LEVELS[:2],
            ": 2 texts with 1 different label on level 2: expected at least two labels",
        ),
        (
            [LEVELS[0], {"text": "b", "label": []}],
            ":2: 'label' is []: expected a label, text or a whole number",
        ),
        (
            [LEVELS[0], {"text": "b", "label": ["y", None]}],
            ":2: 'label' is None: expected a label, text or a whole number",
        ),
    ],
)
def test_bad_labels_of_clusters(tmp_path: Path, rows: Rows, expected: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", rows)
    assert complaint(lambda: clustering(str(path))) == f"{path}{expected}"


def test_missing_clusters(tmp_path: Path) -> None:
    message = complaint(lambda: clustering(str(tmp_path / "a.csv")))
    assert message == f"{tmp_path / 'a.csv'}: no such file or folder: expected labelled texts"


def test_texts_are_clustered(tmp_path: Path) -> None:
    rows = [{"text": word, "label": word} for word in ("cat", "dog") for _ in range(9)]
    done = evaluate("hashing", f"clustering:{write_rows(tmp_path / 'a.jsonl', rows)}")
    assert done.record.task.kind == "clustering"
    assert done.record.main.mean == 1
