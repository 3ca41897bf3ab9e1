"""What is registered, and which of the two kinds each is."""

from __future__ import annotations

import pytest

from harness.progress import silent
from harness.rewriting import REWRITERS, Feedback, TextRewriter


def test_what_is_registered():
    assert REWRITERS.names() == ["average", "chat", "none", "rm3", "rocchio"]
    assert all(entry.summary for entry in REWRITERS.entries())


@pytest.mark.parametrize("spec", ["none", "chat:m,url=http://localhost/v1"])
def test_those_that_change_texts(spec):
    assert isinstance(REWRITERS.create(spec), TextRewriter)
    assert not isinstance(REWRITERS.create(spec), Feedback)


@pytest.mark.parametrize(
    ("spec", "takes", "depth", "counts"),
    [
        ("average", ("dense",), 3, False),
        ("rocchio", ("dense",), 5, False),
        ("rm3", ("sparse",), 10, True),
        ("rm3,depth=4", ("sparse",), 4, True),
    ],
)
def test_those_that_change_vectors(spec, takes, depth, counts):
    feedback = REWRITERS.create(spec)
    assert isinstance(feedback, Feedback)
    assert not isinstance(feedback, TextRewriter)
    assert (feedback.accepts, feedback.depth, feedback.counts) == (takes, depth, counts)


def test_full_specs_hold_what_decides():
    assert str(REWRITERS.resolve("rm3")) == "rm3,depth=10,terms=10,weight=0.5"
    assert str(REWRITERS.resolve("rocchio")) == "rocchio,alpha=0.4,beta=0.6,depth=5"
    assert str(REWRITERS.resolve("average")) == "average,depth=3"


def test_none_changes_nothing():
    none = REWRITERS.create("none")
    assert isinstance(none, TextRewriter)
    assert none.rewrite(("b", "a", "b"), silent).texts == ["b", "a", "b"]
    assert none.describe() == {}
