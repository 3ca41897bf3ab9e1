"""Sentence pairs: how the similarity of two vectors follows the gold score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness import stats
from harness.arrays import Float32, Float64
from harness.data import Pairs
from harness.errors import InputError
from harness.indexes import maxsim
from harness.kinds import KINDS, SAMPLES, Description, Kind, Parts, Verdict
from harness.measures.asked import Measure
from harness.measures.binary import pair_classification
from harness.measures.pairs import (
    BINARY_MEASURES,
    INSTEAD,
    PAIR_MEASURES,
    TOKEN_MEASURES,
    Compared,
    similarities,
    token_similarities,
)
from harness.progress import Progress, silent
from harness.stats import Estimate
from harness.vectors import MultiVector, Sparse

Vectors = Float32 | Sparse | MultiVector
CORRELATIONS = ("_spearman", "_pearson")
OWN = frozenset({*PAIR_MEASURES, *BINARY_MEASURES, *TOKEN_MEASURES})


@KINDS.register("pairs")
class PairsKind(Kind[Pairs, Mapping[str, Vectors]]):
    """The similarity of two texts is compared with the gold score of the pair."""

    title = "Sentence pairs"
    measures = PAIR_MEASURES
    accepts = frozenset({"dense", "sparse", "multi-vector"})

    def parts(self, data: Pairs) -> Parts:
        """Both sides in one part, so that a sentence is encoded once."""
        return {"sentences": ("text", [*data.left, *data.right])}

    def name_type(self, data: Pairs) -> str:
        """Say "STS", or "PairClassification" where gold values only tell yes from no."""
        return "PairClassification" if np.isin(data.gold, (0, 1)).all() else "STS"

    def judge(
        self,
        outcome: Mapping[str, Vectors],
        data: Pairs,
        measures: Sequence[Measure],
        seed: int = 0,
        progress: Progress = silent,
    ) -> Verdict:
        """Measures of the similarity of pairs. outcome: "sentences" [2n], left before right.

        Where a text has several vectors, measures of cosine and dot product become those of
        meanmaxsim and maxsim; one whose similarity the vectors do not have is left out, with a
        warning. Raises InputError where none is left, and where a measure of pair classification
        meets gold values beside 0 and 1.
        """
        compared = Compared(_similarities(outcome["sentences"], len(data)), data.gold)
        values = compared.similarities
        wanted = list(dict.fromkeys(_instead(measure, values) for measure in measures))
        known = [measure for measure in wanted if _fits(measure, values)]
        if not known:
            asked = ", ".join(map(str, wanted))
            raise InputError(f"{asked}: these vectors are compared by {', '.join(values)}")
        scores = _scores(known, compared, seed, progress)
        notes = [f"{name} is not defined: constant" for name, s in scores.items() if s.mean is None]
        if lost := [str(measure) for measure in wanted if measure not in known]:
            notes.append(f"{', '.join(lost)} left out: vectors compared by {', '.join(values)}")
        per_query = {"pair": list(range(len(data))), "gold": data.gold, **values}
        return Verdict(scores, per_query, {"pairs": len(data)}, notes)

    def describe(self, data: Pairs) -> Description:
        """Pairs, and the range of the gold scores."""
        gold = f"gold from {data.gold.min():g} to {data.gold.max():g}"
        rows = [
            (f"{data.gold[i]:g}", data.left[i], data.right[i])
            for i in range(min(SAMPLES, len(data)))
        ]
        counts = {"pairs": f"{len(data):,}, {gold}"}
        return Description(counts, ("gold", "one", "other"), rows, frozenset({0}))


def _scores(
    measures: Sequence[Measure], compared: Compared, seed: int, progress: Progress
) -> dict[str, Estimate]:
    """Scores by name; measures that share what is drawn anew are drawn together."""
    scores, separated = {}, list[str]()
    for done, measure in enumerate(measures):
        name = str(measure)
        progress("score", done, len(measures), "measures")
        if name in OWN and not name.endswith(CORRELATIONS):
            separated.append(name)
        else:
            value = measure.values(compared, kind="pairs")
            scores[name] = stats.without_nan(value.mean(), *_interval(measure, compared, seed))
    if separated:
        gold, values = compared.gold, compared.similarities
        means = pair_classification(values, gold)
        ends = stats.bootstrap_separation(values, gold, separated, seed, progress=progress)
        scores |= {name: stats.without_nan(means[name], *ends[name]) for name in separated}
    return {str(measure): scores[str(measure)] for measure in measures}


def _interval(measure: Measure, compared: Compared, seed: int) -> tuple[float, float]:
    """The interval of one number over all pairs, which are drawn anew."""
    name = str(measure)
    if name in OWN:
        similarity, kind = name.split("_")
        x = compared.similarities[similarity]
        return stats.bootstrap_correlation(kind, x, compared.gold, seed)
    return stats.bootstrap_statistic(
        lambda rows: float(measure.values(compared.rows(rows), kind="pairs").mean()),
        len(compared.gold),
        seed,
    )


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


def _instead(measure: Measure, values: Mapping[str, Float64]) -> Measure:
    """A measure, or that of what these similarities have in its place."""
    similarity, _, rest = measure.name.partition("_")
    other = INSTEAD.get(similarity)
    return Measure(f"{other}_{rest}") if other in values and measure.name in OWN else measure


def _fits(measure: Measure, values: Mapping[str, Float64]) -> bool:
    """Whether the similarities are there that one of our own measures reads."""
    return measure.name not in OWN or measure.name.split("_")[0] in ("max", *values)
