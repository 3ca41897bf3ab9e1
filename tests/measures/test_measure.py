from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.kinds import KINDS
from harness.measures import definitions
from harness.measures.asked import Measure
from harness.measures.binary import QUALITIES
from harness.measures.pairs import BINARY_MEASURES
from harness.measures.summaries import SUMMARY_MEASURES

KNOWN = [one for one in definitions() if not one.read]
RANKED = sorted(one.name for one in KNOWN if one.cutoff is True)
PLAIN = sorted({one.name for one in KNOWN if not one.cutoff and not one.parameters})

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
    assert {one.name for one in definitions("retrieval")} >= {
        "AP", "ERR", "Judged", "MergedAP", "P", "R", "RBP", "RP", "RR", "Robustness", "Rprec",
        "Success", "bpref", "ir", "nDCG", "p-MRR",
    }  # fmt: skip


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


def test_only_measures_of_retrieval_look_at_a_ranking():
    for one in definitions():
        assert (one.depth == 0) == (one.kind != "retrieval"), one


def test_every_kind_of_task_has_measures_that_fit_it():
    for entry in KINDS.entries():
        usual = entry.factory().measures
        assert usual
        assert all(entry.name in Measure.parse(name, entry.name).kinds for name in usual)
    assert {one.name for one in definitions("summarization")} == set(SUMMARY_MEASURES)
    assert {name.partition("_")[2] for name in BINARY_MEASURES} < set(QUALITIES)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("MRR@10", "RR@10"),
        ("mrr_at_10", "RR@10"),
        ("recip_rank", "RR@1000"),
        ("MAP", "AP@1000"),  # trec_eval's map, over the 1000 results that it reads
        ("AP", "AP@1000"),
        ("map", "AP@1000"),
        ("MAP@100", "AP@100"),
        ("map_cut_100", "AP@100"),
        ("recall@100", "R@100"),
        ("recall_100", "R@100"),
        ("r@5", "R@5"),
        ("precision@5", "P@5"),
        ("P_5", "P@5"),
        ("P(rel=1)@5", "P@5"),
        ("ndcg@10", "nDCG@10"),
        ("NDCG@10", "nDCG@10"),
        ("ndcg_at_10", "nDCG@10"),
        ("ndcg_cut_10", "nDCG@10"),
        ("NDCG_AT_10", "nDCG@10"),
        ("HitRate@10", "Success@10"),
        ("HIT-RATE_AT_10", "Success@10"),
        ("Recip_Rank", "RR@1000"),
        ("hit_rate@10", "Success@10"),
        ("success_1", "Success@1"),
        ("judged@10", "Judged@10"),
        ("R_cap@10", "RP@10"),
        ("rprec", "Rprec"),
        ("Bpref", "bpref"),
        ("err@20", "ERR@20"),
        ("ERR(top=4)@20", "ERR(top=4)@20"),
        ("RBP", "RBP(p=0.8)"),
        ("rbp(0.95)", "RBP(p=0.95)"),
        ("RBP(rel=1, p=0.5)@10", "RBP(p=0.5)@10"),
        ("robustness_at_10", "Robustness@10"),
        ("max_over_subqueries_map_at_1000", "MergedAP@1000"),
        ("P-mrr", "p-MRR"),
        ("cosine_Spearman", "cosine_spearman"),
        ("ap", "ap"),  # of classification, in this case
    ],
)
def test_usual_spellings_are_understood(text, canonical):
    assert str(Measure.parse(text)) == canonical
    assert Measure.parse(canonical) == Measure.parse(text)


def test_the_kind_of_task_decides_between_equal_names():
    assert str(Measure.parse("ap", "retrieval")) == "AP@1000"
    assert str(Measure.parse("AP", "classification")) == "ap"
    assert str(Measure.parse("ap@10")) == "AP@10"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("MRR", "measure 'MRR': expected a cut-off of at least 1, as in RR@10"),
        ("accuracy@1", "unknown measure 'accuracy@1': accuracy takes no cut-off"),
        ("RBP(q=1)", "measure 'RBP(q=1)': RBP has no q: its parameters: p"),
        ("RBP(0.5,0.6)", "measure 'RBP(0.5,0.6)': RBP has no 0.6: its parameters: p"),
        ("RBP(p=0.8,p=0.5)", "measure 'RBP(p=0.8,p=0.5)' gives p twice"),
        ("RBP(0.8, p=0.5)", "measure 'RBP(0.8, p=0.5)' gives p twice"),
        ("RBP(p=much)", "measure 'RBP(p=much)': p=much: expected a number"),
        ("RBP(p=nan)", "measure 'RBP(p=nan)': p=nan: expected a number"),
        ("nDCG(3)@10", "measure 'nDCG(3)@10': nDCG has no 3: its parameters: none"),
    ],
)
def test_what_a_measure_does_not_take_is_said(text, line):
    with pytest.raises(InputError) as caught:
        Measure.parse(text)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    "text", ["nDCG", "nDCG@", "nDCG@0", "nDCG@-1", "nDCG@1.5", "nDCG@x", "nDCG@²"]
)
def test_a_ranking_needs_a_cut_off(text):
    with pytest.raises(InputError, match=r"expected a cut-off of at least 1, as in nDCG@10"):
        Measure.parse(text)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("nDGC@10", "nDCG@10"),
        ("recal@20", "R@20"),
        ("sucess@5", "Success@5"),
        ("cosine_spearmen", "cosine_spearman"),
        ("robustnes@x", "Robustness@10"),
        ("acuracy", "accuracy"),
        ("p-mr", "p-MRR"),
        ("mrrr@5", "RR@5"),
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
    assert re.sub("@[0-9]+", "@K", nearest) in listed
    assert len(listed) <= 20
    assert len(listed) + int(found[3]) == len({one.written for one in definitions()})


def test_a_cut_off_stands_behind_the_brackets():
    assert str(Measure.parse("RBP(0.5)@10")) == "RBP(p=0.5)@10"
    with pytest.raises(InputError, match=r"^unknown measure 'RBP_10\(0\.5\)'"):
        Measure.parse("RBP_10(0.5)")


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
