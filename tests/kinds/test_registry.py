"""What every kind has, whatever it judges."""

from __future__ import annotations

import pytest

from harness import data as classes
from harness.kinds import KINDS, title
from harness.measures import definitions
from harness.measures.asked import Measure

NAMES = [entry.name for entry in KINDS.entries()]


def test_the_kinds_are_there():
    assert {"classification", "clustering", "pairs", "retrieval", "summarization"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_has_a_title_and_usual_measures(name):
    kind = KINDS.create(name)
    assert title(name) == kind.title
    assert {Measure.parse(m, name).name for m in kind.measures} <= {
        one.name for one in definitions(name)
    }
    assert "dense" in kind.accepts
    assert kind.ranks == (name == "retrieval")


def test_every_class_of_data_has_a_kind():
    found = [getattr(classes, name) for name in classes.__all__ if name != "Data"]
    kinds = {one.kind for one in found if isinstance(getattr(one, "kind", None), str)}
    assert kinds == set(NAMES)


def test_a_kind_that_is_not_registered_is_shown_under_its_name():
    assert title("telepathy") == "Telepathy"
