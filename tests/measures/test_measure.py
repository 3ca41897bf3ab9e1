from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measures import PAIR_MEASURES, RETRIEVAL, Measure
from harness.types import InputError

QUICK = settings(max_examples=100, deadline=None, derandomize=True)


@QUICK
@given(
    st.one_of(
        st.builds(Measure, st.sampled_from(sorted(RETRIEVAL)), st.integers(1, 10**12)),
        st.builds(Measure, st.sampled_from(PAIR_MEASURES)),
    )
)
def test_a_measure_reads_back_as_it_prints(measure):
    assert Measure.parse(str(measure)) == measure


def test_measures_are_written_as_ir_measures_writes_them():
    assert str(Measure("nDCG", 10)) == "nDCG@10"
    assert str(Measure("cosine_spearman")) == "cosine_spearman"
    assert Measure.parse(" RR@10 ") == Measure("RR", 10)
    assert sorted(RETRIEVAL) == ["AP", "Judged", "P", "R", "RP", "RR", "Success", "nDCG"]


def test_a_measure_knows_what_it_measures():
    assert Measure.parse("AP@1000").kind == "retrieval"
    assert Measure.parse("dot_pearson").kind == "pairs"


@pytest.mark.parametrize(
    "text", ["nDCG", "nDCG@", "nDCG@0", "nDCG@-1", "nDCG@1.5", "nDCG@x", "nDCG@²"]
)
def test_a_ranking_needs_a_cut_off(text):
    with pytest.raises(InputError, match=r"expected a cut-off of at least 1, as in nDCG@10"):
        Measure.parse(text)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("NDCG@10", "nDCG@K"),
        ("ndcg@10", "nDCG@K"),
        ("sucess@5", "Success@K"),
        ("cosine_spearmen", "cosine_spearman"),
    ],
)
def test_a_wrong_name_lists_the_choices_and_the_nearest(text, nearest):
    with pytest.raises(InputError) as caught:
        Measure.parse(text)
    message = str(caught.value)
    assert f"Did you mean '{nearest}'?" in message
    assert all(f" {name}@K" in message for name in RETRIEVAL)
    assert all(name in message for name in PAIR_MEASURES)


def test_a_correlation_takes_no_cut_off():
    with pytest.raises(InputError, match="unknown measure"):
        Measure.parse("cosine_spearman@10")


@QUICK
@given(st.text(max_size=12))
def test_any_text_parses_or_is_refused(text):
    try:
        measure = Measure.parse(text)
    except InputError:
        return
    assert Measure.parse(str(measure)) == measure
