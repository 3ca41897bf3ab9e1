"""Sentence pairs: how the similarity of two vectors follows the gold score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness import records, stats
from harness.kinds import Parts, Verdict
from harness.measures import Measure
from harness.measures.binary import pair_classification
from harness.measures.pairs import BINARY_MEASURES, correlation, similarities
from harness.records import Score
from harness.types import Float32, Float64, Pairs, Progress


def parts(data: Pairs) -> Parts:
    """Both sides in one part, so that a sentence is encoded once."""
    return {"sentences": ("text", [*data.left, *data.right])}


def judge(
    vectors: Mapping[str, Float32],
    data: Pairs,
    measures: Sequence[Measure],
    *,
    seed: int,
    progress: Progress,
) -> Verdict:
    """Measures of the similarity of pairs. vectors: "sentences" [2n, d], left before right.

    Raises InputError where a measure of pair classification meets gold values beside 0 and 1.
    """
    sentences = vectors["sentences"]
    values = similarities(sentences[: len(data)], sentences[len(data) :])
    scores = {}
    for done, measure in enumerate(measures):
        progress("score", done, len(measures), "measures")
        name = str(measure)
        if name not in BINARY_MEASURES:
            scores[name] = _correlation(name, values, data.gold, seed)
    wanted = [str(measure) for measure in measures if str(measure) in BINARY_MEASURES]
    if wanted:
        found = pair_classification(values, data.gold)
        ends = stats.bootstrap_separation(values, data.gold, wanted, seed, progress=progress)
        scores |= {name: records.score(found[name], *ends[name]) for name in wanted}
    scores = {str(measure): scores[str(measure)] for measure in measures}
    notes = [f"{name} is not defined: constant" for name, s in scores.items() if s.mean is None]
    per_query = {"pair": list(range(len(data))), "gold": data.gold, **values}
    return Verdict(scores, per_query, {"pairs": len(data)}, notes)


def _correlation(name: str, values: Mapping[str, Float64], gold: Float64, seed: int) -> Score:
    similarity, kind = name.split("_")
    x = values[similarity]
    interval = stats.bootstrap_correlation(kind, x, gold, seed)
    return records.score(float(correlation(kind, x, gold)), *interval)
