"""Evaluation of sentence pairs: correlations by hand, compressed vectors, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness import records
from harness.api import evaluate
from harness.errors import InputError
from harness.stats import Estimate
from tests.test_evaluation import means


def test_a_constant_similarity_has_no_correlation(tmp_path):
    path = tmp_path / "test.jsonl"
    rows = [json.dumps({"sentence1": "same", "sentence2": "same", "score": i}) for i in range(3)]
    path.write_text("\n".join(rows))
    record = evaluate("hashing", f"pairs:{path}", measures=["cosine_spearman"]).record
    assert record.main == Estimate(None, None, None)
    assert "cosine_spearman is not defined: constant" in record.warnings
    assert records.Record.model_validate_json(record.model_dump_json()) == record


def test_correlations_worked_out_by_hand(tmp_path):
    """Words shared of two: 2, 1, 0; the gold order is the same."""
    path = tmp_path / "test.csv"
    path.write_text("sentence1,sentence2,score\na b,a b,5\na b,a c,4\na b,c d,0\n")
    found = evaluate(
        "hashing,dim=65536", f"pairs:{path}", measures=["cosine_spearman", "cosine_pearson"]
    )
    np.testing.assert_allclose(found.per_query["cosine"], [1, 0.5, 0])
    assert means(found.record) == {
        "cosine_spearman": pytest.approx(1),
        "cosine_pearson": pytest.approx(np.corrcoef([1, 0.5, 0], [5, 4, 0])[0, 1]),
    }
    assert found.run is None
    assert found.record.depth is found.record.index is None


SIDES = {"a": [1, 0.5], "b": [1, -0.5], "c": [1, 0.25], "d": [-1, 0.25]}


@pytest.fixture
def four_pairs(tmp_path) -> str:
    path = tmp_path / "test.csv"
    path.write_text("sentence1,sentence2,score\na,c,5\na,b,4\nc,d,3\nb,d,0\n")
    return f"pairs:{path}"


def by_side(texts: list[str]) -> np.ndarray:
    return np.float32([SIDES[text] for text in texts])


@pytest.mark.parametrize(
    ("index", "cosines"),
    [
        ("exact", [4.5 / (5 * 4.25) ** 0.5, 0.6, -15 / 17, -4.5 / (5 * 4.25) ** 0.5]),
        ("binary", [1, 0, 0, -1]),
        ("truncate,dim=1", [1, 1, -1, -1]),
    ],
)
def test_what_is_compressed_is_measured_so_on_pairs(four_pairs, index, cosines):
    found = evaluate(by_side, four_pairs, index=index)
    np.testing.assert_allclose(found.per_query["cosine"], cosines, atol=1e-6)
    record = found.record
    assert record.name == "own:by_side" + ("" if index == "exact" else f" @ {index}")
    assert (record.index is None) is (index == "exact")


def test_pairs_compressed_and_not_are_two_results(four_pairs):
    both = [evaluate(by_side, four_pairs, index=index).record for index in ("exact", "binary")]
    assert both[0].id != both[1].id


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("hnsw", "it is a way to search, and this task searches nothing: leave the index out, or "
         "choose binary, int8, pca or truncate"),
        ("int8,oversample=2", "oversample=2 scores again what a search found, and this task "
         "searches nothing: leave it out"),
        ("binary,kept=int8", "kept=int8 is what a search scores again by, and this task searches "
         "nothing: leave it out"),
    ],
)  # fmt: skip
def test_what_only_a_search_does_is_refused_on_pairs(four_pairs, index, message):
    def never(texts: list[str]) -> np.ndarray:
        raise AssertionError

    with pytest.raises(InputError) as error:
        evaluate(never, four_pairs, index=index)
    assert str(error.value) == f"index {index}: {message}"


@pytest.mark.parametrize(
    ("encoder", "task", "index", "message"),
    [
        ("hashin", "limit-small", "exact", "unknown encoder 'hashin'. Did you mean 'hashing'?"),
        (
            "hashing",
            "limit-smal",
            "exact",
            "unknown task 'limit-smal'. Did you mean 'limit-small'?",
        ),
        ("hashing", "limit-small", "exac", "unknown index 'exac'. Did you mean 'exact'?"),
        ("hashing,dims=8", "limit-small", "exact", "unknown parameter of hashing 'dims'."),
    ],
)
def test_misspelt_names_get_the_nearest_one(encoder, task, index, message):
    with pytest.raises(InputError) as error:
        evaluate(encoder, task, index)
    assert str(error.value).startswith(message)
