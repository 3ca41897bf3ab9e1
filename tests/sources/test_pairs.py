from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from harness.api import evaluate
from harness.sources.pairs import pairs
from tests.shared import shared
from tests.sources.writing import complaint, write_bytes, write_rows

ROWS = (
    {"sentence1": "A cat sleeps.", "sentence2": "A cat is asleep.", "score": 4.5},
    {"sentence1": "He said: “no”, twice", "sentence2": "Ne, děkuji 🐎", "score": 0},
    {"sentence1": "A dog barks.", "sentence2": "", "score": 1.25},
)
CSV = (
    "sentence1,sentence2,score\n"
    "A cat sleeps.,A cat is asleep.,4.5\n"
    '"He said: “no”, twice","Ne, děkuji 🐎",0\n'
    "A dog barks.,,1.25\n"
).encode()


def write(path: Path) -> Path:
    return write_bytes(path, CSV) if ".csv" in path.suffixes else write_rows(path, ROWS)


def error(path: Path) -> str:
    """What loading a file complains of, the folder cut off."""
    return complaint(lambda: pairs(str(path))).replace(f"{path.parent}{os.sep}", "")


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.parquet"]
)
def test_format_does_not_matter(tmp_path: Path, name: str) -> None:
    found = pairs(str(write(tmp_path / name)))
    assert found.left == ["A cat sleeps.", "He said: “no”, twice", "A dog barks."]
    assert found.right == ["A cat is asleep.", "Ne, děkuji 🐎", ""]
    assert found.gold.dtype == np.float64
    assert found.gold.tolist() == [4.5, 0, 1.25]
    assert len(found) == 3
    assert found.fingerprint() == {
        "pairs": "ba486643328b49a0679c82d19bd950eb2e2f450c0b30adc50871353f490ac1b9",
        "gold": "ebbc47fb79719acd9c550d688d2b74c94a537924d428f9ea1c25ed579e5adbf6",
    }


def test_windows_file(tmp_path: Path) -> None:
    plain = pairs(str(write(tmp_path / "a.csv"))).fingerprint()
    data = b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n\r\n")
    assert pairs(str(write_bytes(tmp_path / "b.csv", data))).fingerprint() == plain


def test_folder_with_splits(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl")
    write_rows(tmp_path / "dev.tsv", ROWS[:2])
    assert len(pairs(str(tmp_path))) == 3
    assert len(pairs(str(tmp_path), split="dev")) == 2
    message = complaint(lambda: pairs(str(tmp_path), split="train"))
    assert message.startswith(f"{tmp_path}: no train file: expected one of train.jsonl, ")


def test_columns_by_other_names(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a.tsv", b"a\tb\tgold\tid\nx\ty\t1\t7\nz\tw\t2\t8\n")
    found = pairs(str(path), left="b", right="a", score="gold")
    assert (found.left, found.right, found.gold.tolist()) == (["y", "w"], ["x", "z"], [1, 2])


FIRST = b'{"sentence1": "a", "sentence2": "b", "score": 1}\n'


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (
            b'{"sentence1": "a", "score": 2}',
            "2: 'sentence2' is missing (found: 'sentence1', 'score'): expected text",
        ),
        (
            b'{"sentence1": null, "sentence2": "b", "score": 2}',
            "2: 'sentence1' is None: expected text",
        ),
        (
            b'{"sentence1": "a", "sentence2": "\\ud800", "score": 2}',
            "2: 'sentence2' holds a lone surrogate: not valid Unicode",
        ),
        (
            b'{"sentence1": "a", "sentence2": "b", "score": "x"}',
            "2: 'score' is 'x': expected a finite number",
        ),
        (
            b'{"sentence1": "a", "sentence2": "b", "score": NaN}',
            "2: 'score' is nan: expected a finite number",
        ),
        (
            b'{"sentence1": "a", "sentence2": "b", "score": -Infinity}',
            "2: 'score' is -inf: expected a finite number",
        ),
        (
            b'{"sentence1": "a", "sentence2": "b"}',
            "2: 'score' is missing (found: 'sentence1', 'sentence2'): expected a finite number",
        ),
        (b"[]", "2: expected a JSON object, got list"),
    ],
)
def test_bad_pair(tmp_path: Path, second: bytes, expected: str) -> None:
    path = write_bytes(tmp_path / "a.jsonl", FIRST + second)
    assert error(path) == f"a.jsonl:{expected}"


def test_score_of_five_hundred_digits(tmp_path: Path) -> None:
    line = b'{"sentence1": "a", "sentence2": "b", "score": ' + b"1" * 500 + b"}"
    message = error(write_bytes(tmp_path / "a.jsonl", FIRST + line))
    assert message.startswith("a.jsonl:2: 'score' is 1111")
    assert message.endswith("1111: expected a finite number")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.csv", b"sentence1,sentence2,score\na,b,c,1\n", "a.csv:2: 4 fields: expected 3"),
        ("a.csv", CSV + b'a,"b,1\n', "a.csv:5: broken CSV: unexpected end of data"),
        ("a.tsv", b"sentence1\tsentence2\tscore\na\tb\n", "a.tsv:2: 2 fields: expected 3"),
        ("a.txt", b"a b 1", "a.txt: unknown suffix: expected jsonl, csv, tsv, parquet"),
        (
            "a.jsonl",
            FIRST * 3,
            "a.jsonl: 3 pairs with 1 different gold score: a correlation needs two",
        ),
        (
            "a.csv",
            b"sentence1,sentence2,score\n",
            "a.csv: 0 pairs with 0 different gold scores: a correlation needs two",
        ),
        (
            "a.tsv",
            b"",
            "a.tsv: 0 pairs with 0 different gold scores: a correlation needs two",
        ),
    ],
)
def test_bad_file(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    assert error(write_bytes(tmp_path / name, data)) == expected


def test_missing_file(tmp_path: Path) -> None:
    expected = "a.csv: no such file or folder: expected sentence pairs"
    assert error(tmp_path / "a.csv") == expected


def test_pairs_are_evaluated(tmp_path: Path) -> None:
    done = evaluate("hashing", f"pairs:{write(tmp_path / 'a.csv')}")
    assert done.record.counts["pairs"] == 3
    assert done.per_query["gold"].tolist() == [4.5, 0, 1.25]
    assert done.record.task.kind == "pairs"


def test_pairs_that_belong_together_or_not(tmp_path: Path) -> None:
    """Gold 1 and 0: the equal pair is the most similar one, the other shares no word."""
    same = {"sentence1": "a cat", "sentence2": "a cat", "score": 1}
    other = {"sentence1": "a cat", "sentence2": "no dog", "score": 0}
    path = write_rows(tmp_path / "a.jsonl", [other, same, same])
    done = evaluate("hashing", f"pairs:{path}", measures=["max_ap", "cosine_f1"])
    assert [score.mean for score in done.record.scores.values()] == [1, 1]
    write_rows(path, [same, same])
    assert error(path) == ("a.jsonl: 2 pairs with 1 different gold score: a correlation needs two")
    write_rows(path, [{**same, "score": True}, other])
    assert error(path) == "a.jsonl:1: 'score' is True: expected a finite number"


@pytest.mark.parametrize(
    ("split", "size", "mean"),
    [("dev", 1500, 2.3639), ("test", 1379, 2.6079), ("train", 5749, 2.701)],
)
def test_real_pairs(split: str, size: int, mean: float) -> None:
    found = pairs(str(shared("sts-b")), split=split)
    assert (len(found.left), len(found.right), len(found.gold)) == (size, size, size)
    assert (found.gold.min(), found.gold.max()) == (0, 5)
    assert found.gold.mean() == pytest.approx(mean, abs=5e-5)
