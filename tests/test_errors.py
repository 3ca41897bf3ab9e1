"""Errors: one line whatever they quote, and the same after they were pickled."""

from __future__ import annotations

import ast
import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.errors import EncodingError, InputError
from harness.results import Failure, Results, StoppedError
from tests.test_architecture import MODULES, parsed

MADE_OF = {
    "LostError": (Path("shard.npy"),),
    "RefusedError": ("host answered 401", 401),
    "UnansweredError": ("host is busy", 2.5),
    "StoppedError": (Results((), seed=3), "bm25 on own:fruit", 6),
}


def classes() -> Iterator[type[BaseException]]:
    """Every class of ours that can be raised."""
    for name, path in MODULES.items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Error", "Warning")):
                yield getattr(importlib.import_module(f"harness.{name}"), node.name)


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_what_is_raised_can_be_pickled(kind):
    error = kind(*MADE_OF.get(kind.__name__, ("what is wrong: what to do",)))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
    plain = {key: repr(value) for key, value in vars(error).items()}
    assert {key: repr(value) for key, value in vars(again).items()} == plain


def test_every_class_is_looked_at():
    assert {"HarnessError", "InputError", "LostError", "RefusedError"} < {
        kind.__name__ for kind in classes()
    }


def test_an_error_is_one_line_whatever_it_quotes():
    assert str(InputError("a\n  b: 'x  y'\nc")) == "a b: 'x  y' c"
    assert str(EncodingError()) == ""


def test_an_error_is_short_whatever_it_quotes():
    said = str(InputError(f"a.csv:1: {'x' * 50_000!r}: expected a number"))
    assert len(said) == 1605
    assert said.startswith("a.csv:1: 'xxx")
    assert said.endswith("xxx': expected a number")


def test_a_failure_is_one_line():
    assert repr(Failure("a", "b", ValueError("two\nlines"))) == "Failure(a on b: two lines)"
    assert str(Failure("a", "b", KeyError())) == "a on b: KeyError"


def test_ctrl_c_says_what_is_finished():
    error = StoppedError(Results(()), "bm25 on own:fruit", 6)
    assert isinstance(error, KeyboardInterrupt)
    assert str(error).startswith("stopped at bm25 on own:fruit, with 0 of 6 evaluations finished")


def test_modules_are_attributes():
    assert harness.encoders.TextEncoder.__name__ == "TextEncoder"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        harness.nothing  # noqa: B018
