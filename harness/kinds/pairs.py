"""Sentence pairs: how the similarity of two vectors follows the gold score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness import stats
from harness.arrays import Float32, Float64
from harness.data import Pairs
from harness.errors import InputError
from harness.indexes import maxsim
from harness.kinds import Parts, Verdict
from harness.measures import Measure
from harness.measures.binary import pair_classification
from harness.measures.pairs import INSTEAD, correlation, similarities, token_similarities
from harness.progress import Progress
from harness.stats import Estimate
from harness.vectors import MultiVector, Sparse

Vectors = Float32 | Sparse | MultiVector
CORRELATIONS = ("_spearman", "_pearson")


def parts(data: Pairs) -> Parts:
    """Both sides in one part, so that a sentence is encoded once."""
    return {"sentences": ("text", [*data.left, *data.right])}


def judge(
    vectors: Mapping[str, Vectors],
    data: Pairs,
    measures: Sequence[Measure],
    *,
    seed: int,
    progress: Progress,
) -> Verdict:
    """Measures of the similarity of pairs. vectors: "sentences" [2n], left before right.

    Where a text has several vectors, measures of cosine and dot product become those of meanmaxsim
    and maxsim; one whose similarity the vectors do not have is left out, with a warning. Raises
    InputError where none is left, and where a measure of pair classification meets gold values
    beside 0 and 1.
    """
    sentences = vectors["sentences"]
    values = _similarities(sentences, len(data))
    names = [_named(str(measure), values) for measure in measures]
    known = [name for name in dict.fromkeys(names) if name.split("_")[0] in ("max", *values)]
    if not known:
        raise InputError(f"{', '.join(names)}: these vectors are compared by {', '.join(values)}")
    scores = {}
    for done, name in enumerate(known):
        progress("score", done, len(known), "measures")
        if name.endswith(CORRELATIONS):
            scores[name] = _correlation(name, values, data.gold, seed)
    wanted = [name for name in known if name not in scores]
    if wanted:
        found = pair_classification(values, data.gold)
        ends = stats.bootstrap_separation(values, data.gold, wanted, seed, progress=progress)
        scores |= {name: stats.estimate(found[name], *ends[name]) for name in wanted}
    scores = {name: scores[name] for name in known}
    notes = [f"{name} is not defined: constant" for name, s in scores.items() if s.mean is None]
    if lost := [name for name in names if name not in known]:
        notes.append(f"{', '.join(lost)} left out: vectors compared by {', '.join(values)}")
    per_query = {"pair": list(range(len(data))), "gold": data.gold, **values}
    return Verdict(scores, per_query, {"pairs": len(data)}, notes)


def _similarities(sentences: Vectors, n: int) -> dict[str, Float64]:
    """Similarities of n pairs, by each kind that the vectors have."""
    if isinstance(sentences, MultiVector):
        left, right = np.arange(n), np.arange(n, 2 * n)
        forth = maxsim.scores(sentences, sentences, left, right)
        back = maxsim.scores(sentences, sentences, right, left)
        return token_similarities(forth, back, *np.split(sentences.lengths, 2))
    if isinstance(sentences, Sparse):
        return similarities(Sparse(sentences.matrix[:n]), Sparse(sentences.matrix[n:]))
    return similarities(sentences[:n], sentences[n:])


def _named(name: str, values: Mapping[str, Float64]) -> str:
    """A measure's name, or that of what these similarities have in its place."""
    similarity, _, rest = name.partition("_")
    other = INSTEAD.get(similarity)
    return f"{other}_{rest}" if other in values else name


def _correlation(name: str, values: Mapping[str, Float64], gold: Float64, seed: int) -> Estimate:
    similarity, kind = name.split("_")
    x = values[similarity]
    interval = stats.bootstrap_correlation(kind, x, gold, seed)
    return stats.estimate(float(correlation(kind, x, gold)), *interval)
