"""Measures of ir-measures, by a stand-in that is called as the package is."""

from __future__ import annotations

import sys
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from harness import score
from harness.data import Qrels
from harness.errors import InputError
from harness.measures.asked import Measure
from harness.measures.judged import Evidence, Names
from harness.vectors import Run

QRELS = {"q1": {"a": 2, "gone": 1}, "q2": {"b": 1}}
RESULTS = {"q1": {"b": 3, "a": 3, "c": 1}}


_Parameter = namedtuple("_Parameter", "required")


class _Provider:
    NAME = "elsewhere"

    def supports(self, measure) -> bool:
        return measure.name == "Elsewhere"

    def install_instructions(self) -> str:
        return "pip install elsewhere"


class _Parsed:
    def __init__(self, text: str) -> None:
        name, _, cutoff = text.partition("@")
        name, _, strength = name.rstrip(")").partition("(p=")
        if name not in ("Sum", "Strong", "Elsewhere", "Nowhere"):
            raise NameError(text)
        self.params = {"cutoff": int(cutoff)} if cutoff else {}
        if strength:
            self.params["p"] = strength
        required = name == "Strong"
        self.SUPPORTED_PARAMS = {"cutoff": _Parameter(False), "p": _Parameter(required)}
        self.name = name
        self.text = f"Sum @ {cutoff}" if cutoff else "Sum"

    def __str__(self) -> str:
        return self.text


@pytest.fixture
def package(monkeypatch):
    """It sums the scores of relevant results, weighted by their gain."""
    value = namedtuple("value", "query_id value")
    made = SimpleNamespace(
        seen=[],
        parse_measure=_Parsed,
        DefaultPipeline=SimpleNamespace(
            supports=lambda measure: measure.name in ("Sum", "Strong"), providers=[_Provider()]
        ),
        Qrel=namedtuple("Qrel", "query_id doc_id relevance"),
        ScoredDoc=namedtuple("ScoredDoc", "query_id doc_id score"),
    )

    def iter_calc(measures, qrels, run):
        made.seen.append((list(qrels), list(run)))
        if measures[0].params.get("cutoff") == 9:
            raise RuntimeError("no perl")
        gains = {(one.query_id, one.doc_id): one.relevance for one in qrels}
        for query in dict.fromkeys(one.query_id for one in run):
            own = [one for one in run if one.query_id == query]
            yield value(query, sum(x.score * gains.get((query, x.doc_id), 0) for x in own))

    made.iter_calc = iter_calc
    monkeypatch.setitem(sys.modules, "ir_measures", made)
    return made


def test_a_measure_of_ir_measures_is_named_as_that_prints_it(package):
    parsed = Measure.parse("ir:Sum@5")
    assert str(parsed) == "ir:Sum@5"
    assert Measure.parse(str(parsed)) == parsed
    assert Measure.parse("IR:Sum@5") == parsed
    assert parsed.depth == 1000
    assert parsed.definition().written == "ir:NAME"


def test_unknown_documents_stay_in_the_denominator_each_under_its_own_name(package):
    qrels = Qrels(np.int64([0, 3]), np.int32([-1, 0, -1]), np.float32([1, 1, 2]))
    run = Run(np.int32([[0]]), np.float32([[1]]))
    Evidence(run, qrels, names=Names(("q",), ("a",))).values(Measure.parse("ir:Sum"))
    (judgments, _) = package.seen[0]
    assert [one.doc_id for one in judgments] == ["unknown-0", "0", "unknown-2"]


def test_it_is_given_the_ranking_and_all_judgments(package):
    """b before a, since ids descend among equals: 1000 - 1 for a, at rank 2, times 2."""
    found = score(RESULTS, QRELS, ["ir:Sum"])
    assert found.per_query()["ir:Sum"].tolist() == [999 * 2, 0]
    (judgments, results) = package.seen[0]
    assert [tuple(one) for one in results] == [("0", "1", 1000), ("0", "0", 999), ("0", "2", 998)]
    assert sorted(tuple(one) for one in judgments) == [("0", "0", 2), ("0", "3", 1), ("1", "1", 1)]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ir:Gone", "ir:Gone: ir-measures does not know it: Gone"),
        ("ir:Sum@1001", "ir:Sum@1001: expected a cut-off from 1 to 1000"),
        ("ir:Sum@0", "ir:Sum@0: expected a cut-off from 1 to 1000"),
        ("ir:Strong", "ir:Strong: expected p in brackets, as p=1"),
        (
            "ir:Elsewhere",
            "ir:Elsewhere: what computes it is not installed: elsewhere (pip install elsewhere)",
        ),
        (
            "ir:Nowhere",
            "ir:Nowhere: nothing computes it so: set more of its parameters (cutoff, p)",
        ),
        ("ir:Sum@9", "ir:Sum@9: ir-measures cannot compute it: no perl"),
    ],
)
def test_what_it_refuses_is_one_line(package, name, line):
    with pytest.raises(InputError) as caught:
        score(RESULTS, QRELS, [name])
    assert str(caught.value) == line


def test_gains_are_whole_and_not_below_minus_1(package):
    """A query all of whose gains are below -1 ends the process in the library of ir-measures."""
    score({"q": {"a": 1.0}}, {"q": {"a": -2, "b": -1, "c": 3}}, ["ir:Sum"])
    assert [one.relevance for one in package.seen[0][0]] == [-1, -1, 3]
    for gain, shown in ((0.5, "0.5"), (1e9, "1e+09")):
        with pytest.raises(InputError) as caught:
            score({"q": {"a": 1.0}}, {"q": {"a": gain}}, ["ir:Sum"])
        assert str(caught.value) == (
            f"ir:Sum: the gain of document 'a' for query 'q' is {shown}: "
            "expected a whole number of at most 1,000,000"
        )


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(InputError, match=r"^ir_measures cannot be imported .*\[ir-measures\]'$"):
        Measure.parse("ir:ERR@20")
