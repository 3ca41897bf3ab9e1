"""Feature hashing: the same numbers everywhere, whatever else is encoded."""

from __future__ import annotations

import numpy as np
import pytest

from harness.encoders import ENCODERS, CollectionEncoder
from harness.encoders.hashing import Hashing
from harness.errors import InputError


def test_literal_values():
    made = Hashing(dim=8).encode(["red and blue", "Red, RED!", ""], "document")
    assert made.values.tolist() == [
        [0, -1, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 0, 2, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert made.tokens.tolist() == [3, 2, 0]
    assert made.truncated.tolist() == [False, False, False]
    assert made.values.dtype == np.float32


def test_a_text_has_one_vector_whatever_surrounds_it():
    encoder, text = Hashing(), "some words of a text"
    alone = encoder.encode([text], "query").values[0]
    among = encoder.encode(["other", text, "words"], "document").values[1]
    np.testing.assert_array_equal(alone, among)
    assert np.abs(alone).sum() == 5


@pytest.mark.parametrize("dim", [0, -1, 65537])
def test_the_dimension_has_bounds(dim):
    with pytest.raises(InputError, match=f"hashing: dim={dim}: expected 1 to 65536"):
        ENCODERS.create(f"hashing,dim={dim}")


def test_what_it_tells_of_itself():
    encoder = ENCODERS.create("hashing,dim=16")
    assert encoder == Hashing(16)
    assert not isinstance(encoder, CollectionEncoder)
    assert encoder.similarity == "cosine"
    assert encoder.prompt("query") == ""
    assert encoder.fingerprint()["dim"] == 16
