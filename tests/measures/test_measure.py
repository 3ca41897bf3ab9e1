from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.measures import RETRIEVAL, Measure
from harness.measures.binary import QUALITIES
from harness.measures.measure import DEFAULTS, KINDS, RANKED
from harness.measures.pairs import BINARY_MEASURES
from harness.measures.summaries import SUMMARY_MEASURES

PLAIN = sorted({name for names in KINDS.values() for name in names} - set(RANKED))

QUICK = settings(max_examples=100, deadline=None, derandomize=True)


@QUICK
@given(
    st.one_of(
        st.builds(Measure, st.sampled_from(RANKED), st.integers(1, 10**12)),
        st.builds(Measure, st.sampled_from(PLAIN)),
    )
)
def test_a_measure_reads_back_as_it_prints(measure):
    assert Measure.parse(str(measure)) == measure


def test_measures_are_written_as_ir_measures_writes_them():
    assert str(Measure("nDCG", 10)) == "nDCG@10"
    assert str(Measure("cosine_spearman")) == "cosine_spearman"
    assert Measure.parse(" RR@10 ") == Measure("RR", 10)
    assert sorted(RETRIEVAL) == ["AP", "Judged", "P", "R", "RP", "RR", "Success", "nDCG"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("AP@1000", ("retrieval",)),
        ("Robustness@10", ("retrieval",)),
        ("MergedAP@1000", ("retrieval",)),
        ("p-MRR", ("retrieval",)),
        ("manhattan_pearson", ("pairs",)),
        ("dot_pearson", ("pairs", "summarization")),
        ("max_ap", ("pairs",)),
        ("ap", ("classification",)),
        ("v_measure", ("clustering",)),
    ],
)
def test_a_measure_knows_what_it_measures(text, kinds):
    assert Measure.parse(text).kinds == kinds


@pytest.mark.parametrize(
    ("text", "depth"), [("nDCG@10", 10), ("Robustness@7", 7), ("p-MRR", 1000), ("accuracy", 0)]
)
def test_a_measure_knows_how_deep_it_looks(text, depth):
    assert Measure.parse(text).depth == depth


def test_every_kind_of_task_has_measures_that_fit_it():
    assert set(DEFAULTS) == set(KINDS)
    for kind, names in DEFAULTS.items():
        assert all(kind in Measure.parse(name).kinds for name in names)
    assert set(KINDS["summarization"]) == set(SUMMARY_MEASURES)
    assert {name.partition("_")[2] for name in BINARY_MEASURES} < set(QUALITIES)


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
        ("robustness@10", "Robustness@K"),
        ("acuracy", "accuracy"),
        ("p-mrr", "p-MRR"),
    ],
)
def test_a_wrong_name_lists_choices_and_the_nearest(text, nearest):
    with pytest.raises(InputError) as caught:
        Measure.parse(text)
    found = re.fullmatch(
        r"unknown measure '.*'\. Did you mean '(.+)'\? Choices: (.+) and (\d+) more",
        str(caught.value),
    )
    assert found[1] == nearest
    listed = found[2].split(", ")
    assert nearest in listed
    assert len(listed) <= 20
    assert len(listed) + int(found[3]) == len(RANKED) + len(PLAIN)


@pytest.mark.parametrize("text", ["cosine_spearman@10", "p-MRR@10", "accuracy@1"])
def test_what_is_no_ranking_takes_no_cut_off(text):
    with pytest.raises(InputError, match="unknown measure"):
        Measure.parse(text)


@QUICK
@given(st.text(max_size=12))
def test_any_text_parses_or_is_refused(text):
    try:
        measure = Measure.parse(text)
    except InputError:
        return
    assert Measure.parse(str(measure)) == measure
