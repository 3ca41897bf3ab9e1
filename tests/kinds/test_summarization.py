from __future__ import annotations

import numpy as np
import pytest

from harness.data import Summaries
from harness.kinds import Verdict
from harness.kinds.summarization import SummarizationKind
from harness.measures.asked import Measure
from harness.progress import silent

# a text is its vector; one text with two human summaries, one with one
HUMAN = [["1 0", "0 2"], ["1 0"]]
MACHINE = [["3 0", "0.8 0.6", "-2 0", "-4 -3"], ["3 0", "0.8 0.6", "-2 0"]]


def judged(ratings: list[list[float]], *measures: str) -> Verdict:
    data = Summaries(HUMAN, MACHINE, ratings)
    ((role, texts),) = SummarizationKind().parts(data).values()
    assert role == "text"
    vectors = {"summaries": np.float32([text.split() for text in texts])}
    return SummarizationKind().judge(
        vectors, data, [Measure.parse(m) for m in measures], seed=0, progress=silent
    )


def test_human_summaries_come_before_those_of_machines():
    data = Summaries(HUMAN, MACHINE, [[1, 2, 3, 4], [1, 2, 3]])
    assert SummarizationKind().parts(data)["summaries"][1] == [
        *HUMAN[0],
        *HUMAN[1],
        *MACHINE[0],
        *MACHINE[1],
    ]


def test_scores_by_hand():
    """First text: nearest by cosine 1, 0.8, 0, -0.6, ratings 4 1 2 3, so 1 - 6 * 8 / 60; second:
    1, 0.8, -1 to ratings that rise, -1.
    """
    found = judged([[4, 1, 2, 3], [1, 2, 3]], "cosine_spearman", "dot_spearman")
    assert found.per_query["text"] == [0, 1]
    assert found.per_query["cosine_spearman"] == pytest.approx([0.2, -1])
    assert found.per_query["dot_spearman"] == pytest.approx([0.2, -1])
    score = found.scores["cosine_spearman"]
    assert score.mean == pytest.approx(-0.4)
    assert score.low <= score.mean <= score.high
    assert found.counts == {"texts": 2, "texts_undefined": 0}
    assert found.warnings == []


def test_a_text_rated_evenly_is_left_out_and_told():
    found = judged([[4, 1, 2, 3], [2, 2, 2]], "cosine_spearman")
    assert found.scores["cosine_spearman"].mean == pytest.approx(0.2)
    assert found.per_query["text"] == [0]
    assert found.counts == {"texts": 2, "texts_undefined": 1}
    assert found.warnings == ["1 text left out: all ratings or similarities equal"]


def test_where_every_text_is_left_out_nothing_is_defined():
    found = judged([[1, 1, 1, 1], [2, 2, 2]], "cosine_spearman", "dot_pearson")
    assert [score.mean for score in found.scores.values()] == [None, None]
    assert found.per_query["text"] == []
    assert found.warnings == ["2 texts left out: all ratings or similarities equal"]
