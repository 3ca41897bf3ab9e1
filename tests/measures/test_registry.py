"""Registering measures: what a function is given, and what it is held to."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data import Corpus, Qrels, Queries
from harness.errors import InputError
from harness.measures import MEASURES, definitions, measure
from harness.measures.asked import Measure
from harness.measures.judged import Evidence
from harness.vectors import Run

CORPUS, QUERIES = Corpus.of(["a", "b"], ["a", "b"]), Queries(["q1", "q2"], ["one", "two"])
QRELS = Qrels.of([("q1", "a", 1), ("q2", "a", 3)], QUERIES, CORPUS)
RUN = Run(np.int32([[0, 1], [1, 0]]), np.float32([[2, 1], [2, 1]]))
EVIDENCE = Evidence(RUN, QRELS)


@pytest.fixture(autouse=True)
def _restored(monkeypatch):
    """Forget what a test registered."""
    MEASURES.names()
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES._entries))


def values(text: str) -> list[float]:
    return EVIDENCE.values(Measure.parse(text, "retrieval")).tolist()


def test_a_function_becomes_a_measure_under_all_its_spellings():
    @measure("Half", cutoff=True, aliases=("halved",), mteb="half_precision", citation="nobody")
    def half(judged, cutoff):
        """Half of the precision."""
        return judged.hits(cutoff) / cutoff / 2

    for spelling in ("Half@1", "half@1", "HALVED@1", "halved_1", "half_precision_at_1"):
        assert str(Measure.parse(spelling)) == "Half@1"
        assert values(spelling) == [0.5, 0.0]
    found = Measure("Half", 1).definition()
    assert (found.summary, found.better, found.written) == (
        "Half of the precision.",
        "high",
        "Half@K",
    )
    assert Measure("Half", 7).depth == 7


def test_parameters_are_read_by_their_names():
    @measure("Power", aliases=("pow",))
    def power(judged, base: float = 2, shift: float | None = None):
        return base**judged.relevant + (shift or 0)

    assert str(Measure.parse("power")) == "Power(base=2)"
    assert str(Measure.parse("pow(shift=1, base=3)")) == "Power(base=3,shift=1)"
    assert values("Power(3)") == [3.0, 3.0]
    assert values("Power(base=3,shift=0.5)") == [3.5, 3.5]
    assert Measure.parse("power").depth == 1000


def test_a_graded_measure_reads_grades_and_the_others_binary_judgments():
    for name, graded in (("Graded", True), ("Plain", False)):
        measure(name, graded=graded)(
            lambda judged: judged.total(judged.gain, judged.find_relevant(None))
        )
    binary = Qrels.of([("q1", "a", 1), ("q2", "a", 1)], QUERIES, CORPUS)
    evidence = Evidence(RUN, QRELS, binary)
    assert evidence.values(Measure("Graded")).tolist() == [1, 3]
    assert evidence.values(Measure("Plain")).tolist() == [1, 1]


def test_a_measure_is_given_what_it_needs():
    @measure("Depth", needs=("run",))
    def depth(judged, run):
        return np.full(judged.size, run.docs.shape[1])

    @measure("Groups", needs=("groups",))
    def count(judged, groups):
        return np.bincount(groups)

    assert values("depth") == [2, 2]
    assert not Measure("Depth").definition().grouped
    assert Evidence(RUN, QRELS, groups=np.int64([0, 0])).values(Measure("Groups")).tolist() == [2]
    with pytest.raises(InputError, match=r"^Groups needs groups of queries, and this collection"):
        values("Groups")
    with pytest.raises(InputError, match=r"^measure Odd: needs='corpus': expected one of run, "):
        measure("Odd", needs=("corpus",))(lambda judged: judged)


@pytest.mark.parametrize(
    ("returned", "line"),
    [
        ([1.0], r"measure Wrong returns values of shape [1]: expected 2, one for each"),
        (0.5, r"measure Wrong returns values of shape []: expected 2, one for each"),
        ([[1, 2]], r"measure Wrong returns values of shape [1, 2]: expected 2, one for each"),
        ([0, np.nan], "measure Wrong returns NaN in row 1: expected a finite number"),
        ([0, np.inf], "measure Wrong returns inf in row 1: expected a finite number"),
        ([-1e308, 0], "measure Wrong returns -1e+308 in row 0: expected a finite number"),
        ("much", "measure Wrong returns str128: expected real numbers"),
        ({"q": 1}, "measure Wrong returns dict: expected real numbers"),
        (None, "measure Wrong returns NoneType: expected real numbers"),
        ((one for one in (1, 2)), "measure Wrong returns generator: expected real numbers"),
        ([1, None], "measure Wrong returns list: expected real numbers"),
        ([1j, 0], "measure Wrong returns complex128: expected real numbers"),
    ],
)
def test_a_function_is_held_to_one_number_a_query(returned, line):
    measure("Wrong")(lambda judged: returned)
    with pytest.raises(InputError) as caught:
        values("Wrong")
    assert str(caught.value) == line


def test_a_function_that_fails_is_one_line():
    measure("Broken", cutoff="optional")(lambda judged, cutoff: judged.size / 0)
    with pytest.raises(InputError, match=r"^measure Broken@3 failed: ZeroDivisionError: division"):
        values("Broken@3")
    measure("Deaf", cutoff=True, needs=("run",))(lambda judged: [1, 2])
    with pytest.raises(InputError, match=r"^measure Deaf: its function has no parameter cutoff: e"):
        Measure.parse("Deaf@3")
    measure("Open", cutoff=True)(lambda judged, **given: [given["cutoff"], 0])
    assert values("Open@3") == [3, 0]


def test_values_are_float64():
    measure("Whole")(lambda judged: [1, 2])
    assert EVIDENCE.values(Measure("Whole")).dtype == np.float64


def test_a_name_is_registered_once_for_a_kind():
    with pytest.raises(InputError, match=r"^measure 'retrieval/nDCG' is registered already"):
        measure("nDCG", cutoff=True)(lambda judged, cutoff: judged)
    measure("nDCG", kind="clustering")(lambda clusterings: [0.0])
    assert Measure("nDCG").kinds == ("clustering", "retrieval")


def test_a_cut_off_may_be_optional_and_a_spelling_may_imply_one():
    measure("Seen", cutoff="optional", whole={"seen_all": 50})(
        lambda judged, cutoff: np.full(judged.size, -1 if cutoff is None else cutoff)
    )
    assert [str(Measure.parse(text)) for text in ("seen", "seen@3", "seen_all", "SEEN_ALL@4")] == [
        "Seen", "Seen@3", "Seen@50", "Seen@4",
    ]  # fmt: skip
    assert values("seen") == [-1, -1]
    assert values("seen_all") == [50, 50]


def test_a_number_that_a_name_ends_in_is_no_cut_off():
    measure("Level_5")(lambda judged: judged.hits(5))
    assert Measure.parse("level_5") == Measure("Level_5")


def test_what_nobody_registered_has_no_definition():
    with pytest.raises(InputError, match=r"^unknown measure 'Gone'"):
        Measure("Gone").definition()
    assert Measure("Gone").kinds == ()


def test_no_two_measures_of_a_kind_share_a_spelling():
    for kind in {one.kind for one in definitions()}:
        spelt = [
            name for one in definitions(kind) for name in {name.lower() for name in one.spellings}
        ]
        assert len(spelt) == len(set(spelt)), kind


def test_every_measure_says_what_it_is_and_who_defined_it():
    for one in definitions():
        assert one.summary, one
        assert one.citation, one


def test_a_spelling_that_implies_a_cut_off_implies_one_that_can_be():
    line = r"^measure Bad: whole=\{'bad': 0\}: expected a cut-off of at least 1$"
    with pytest.raises(InputError, match=line):
        measure("Bad", cutoff=True, whole={"bad": 0})(lambda judged, cutoff: judged.relevant)
    line = r"^measure Bad: whole=\{'bad': 3\}: expected a measure with cutoff$"
    with pytest.raises(InputError, match=line):
        measure("Bad", whole={"bad": 3})(lambda judged: judged.relevant)


def test_a_family_is_a_name_and_a_word_behind_a_colon():
    asked = Measure("ir", None, (("", "P@5"), ("x", "y")))
    assert str(asked) == "ir:P@5"
