from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from harness.data import Pairs
from harness.errors import InputError
from harness.kinds import Verdict
from harness.kinds.pairs import PairsKind
from harness.measures.asked import Measure
from harness.progress import silent
from harness.vectors import MultiVector, Sparse

# cosines 1, 0.8, 0.6, 0
VECTORS = {
    "sentences": np.float32(
        [[1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1]]
    )
}


def judged(gold: list[float], *measures: str, vectors=VECTORS, progress=silent) -> Verdict:
    n = len(gold)
    data = Pairs([f"left {i}" for i in range(n)], ["right"] * n, np.float64(gold))
    chosen = [Measure(text) for text in measures]
    return PairsKind().judge(vectors, data, chosen, seed=0, progress=progress)


def means(verdict: Verdict) -> dict[str, float | None]:
    return {name: score.mean for name, score in verdict.scores.items()}


def test_both_sides_are_one_part():
    data = Pairs(["a", "b"], ["c", "a"], np.float64([0, 1]))
    assert PairsKind().parts(data) == {"sentences": ("text", ["a", "b", "c", "a"])}


def test_correlations_by_hand():
    """Ranks 4 3 2 1 against 4 2 3 1: 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)."""
    found = judged([5, 2, 3, 1], "cosine_spearman", "cosine_pearson", "euclidean_spearman")
    assert means(found) == {
        "cosine_spearman": pytest.approx(0.8),
        "cosine_pearson": pytest.approx(np.corrcoef([1, 0.8, 0.6, 0], [5, 2, 3, 1])[0, 1]),
        "euclidean_spearman": pytest.approx(0.8),
    }
    for score in found.scores.values():
        assert score.low <= score.mean <= score.high
    assert found.counts == {"pairs": 4}
    assert found.warnings == []
    assert list(found.per_query) == ["pair", "gold", "cosine", "dot", "euclidean", "manhattan"]
    assert found.per_query["cosine"] == pytest.approx([1, 0.8, 0.6, 0])
    assert found.per_query["gold"].tolist() == [5, 2, 3, 1]


def test_pair_classification_by_hand():
    """Positives at ranks 1 and 3: AP (1 + 2/3) / 2; above 0.3: P 2/3, R 1, F1 4/5."""
    found = judged([1, 0, 1, 0], "max_ap", "cosine_f1", "cosine_accuracy")
    assert means(found) == {
        "max_ap": pytest.approx(5 / 6),
        "cosine_f1": pytest.approx(4 / 5),
        "cosine_accuracy": 3 / 4,
    }
    for score in found.scores.values():
        assert score.low <= score.mean <= score.high


def test_measures_of_both_sorts_keep_their_order():
    asked = ["cosine_ap", "cosine_spearman", "max_f1", "dot_pearson"]
    assert list(judged([1, 0, 1, 0], *asked).scores) == asked


def test_what_is_constant_has_no_correlation():
    same = {"sentences": np.ones((6, 2), np.float32)}
    found = judged([1, 2, 3], "cosine_spearman", "dot_pearson", vectors=same)
    assert means(found) == {"cosine_spearman": None, "dot_pearson": None}
    assert found.warnings == [
        "cosine_spearman is not defined: constant",
        "dot_pearson is not defined: constant",
    ]


def test_sparse_vectors_are_judged_as_dense_ones():
    asked = ["cosine_spearman", "dot_pearson", "manhattan_spearman", "max_ap"]
    sparse = {"sentences": Sparse(csr_matrix(VECTORS["sentences"]))}
    found = judged([1, 0, 1, 0], *asked, vectors=sparse)
    assert found.scores == judged([1, 0, 1, 0], *asked).scores


# left: one token each; right: one or two; cosines as those of VECTORS
TOKENS = {
    "sentences": MultiVector(
        np.float32(
            [[1, 0], [1, 0], [1, 0], [1, 0], [1, 0], [0.8, 0.6], [0.6, 0.8], [0, 1], [0, 1]]
        ),
        np.array([0, 1, 2, 3, 4, 5, 6, 8, 9]),
    )
}


def test_texts_with_several_vectors_are_judged_by_maxsim_by_hand():
    """Forth 1, 0.8, 0.6, 0; back, a token, 1, 0.8, (0.6 + 0) / 2, 0."""
    asked = ["cosine_spearman", "cosine_pearson", "dot_spearman", "meanmaxsim_spearman"]
    found = judged([5, 2, 3, 1], *asked, vectors=TOKENS)
    assert means(found) == {
        "meanmaxsim_spearman": pytest.approx(0.8),
        "meanmaxsim_pearson": pytest.approx(np.corrcoef([1, 0.8, 0.45, 0], [5, 2, 3, 1])[0, 1]),
        "maxsim_spearman": pytest.approx(0.8),
    }
    assert next(iter(found.scores)) == "meanmaxsim_spearman"
    assert found.per_query["maxsim"] == pytest.approx([1, 0.8, 0.6, 0])
    assert found.per_query["meanmaxsim"] == pytest.approx([1, 0.8, 0.45, 0])
    assert found.warnings == []


def test_pair_classification_of_texts_with_several_vectors():
    found = judged([1, 0, 1, 0], "max_ap", "cosine_f1", vectors=TOKENS)
    assert means(found) == {"max_ap": pytest.approx(5 / 6), "meanmaxsim_f1": pytest.approx(0.8)}


def test_a_similarity_that_the_vectors_do_not_have_is_left_out():
    found = judged([5, 2, 3, 1], "manhattan_pearson", "dot_spearman", vectors=TOKENS)
    assert list(found.scores) == ["maxsim_spearman"]
    assert found.warnings == [
        "manhattan_pearson left out: vectors compared by meanmaxsim, maxsim",
    ]
    with pytest.raises(InputError) as error:
        judged([5, 2, 3, 1], "euclidean_spearman", vectors=TOKENS)
    assert str(error.value) == (
        "euclidean_spearman: these vectors are compared by meanmaxsim, maxsim"
    )


def test_maxsim_is_that_of_sentence_transformers():
    """MTEB's `spearman` of such models; the left sentence asks."""
    from sentence_transformers.util import maxsim_pairwise

    random = np.random.default_rng(0)
    texts = [random.normal(size=(n, 8)).astype(np.float32) for n in random.integers(1, 9, 20)]
    offsets = np.cumsum([0, *map(len, texts)])
    vectors = {"sentences": MultiVector(np.concatenate(texts), offsets)}
    found = judged([*range(10)], "dot_spearman", vectors=vectors).per_query["maxsim"]
    np.testing.assert_allclose(found, maxsim_pairwise(texts[:10], texts[10:]), rtol=1e-5)


@pytest.mark.parametrize(
    ("gold", "line"),
    [
        ([1, 0, 2, 0], "a pair has the gold value 2: expected 0 or 1"),
        ([1, 0.5, 1, 0], "a pair has the gold value 0.5: expected 0 or 1"),
        (
            [0, 0, 0, 0],
            "no pair has the gold value 1: average precision needs at least one",
        ),
    ],
)
def test_pair_classification_needs_two_classes(gold, line):
    with pytest.raises(InputError) as error:
        judged(gold, "max_ap")
    assert str(error.value) == line


def test_progress_is_told():
    told = []
    judged([1, 0, 1, 0], "cosine_spearman", "max_ap", progress=lambda *said: told.append(said))
    assert told == [
        ("score", 0, 2, "measures"),
        ("score", 1, 2, "measures"),
        ("intervals", 0, 1000, "resamples"),
    ]
