"""What is refused when a spec is created or its model loaded."""

from __future__ import annotations

import pytest

from harness.encoders import ENCODERS, encoder_spec
from harness.errors import InputError


def refused(spec: str) -> str:
    """The one line that says so."""
    with pytest.raises(InputError) as error:
        ENCODERS.create(encoder_spec(spec)).load()
    assert "\n" not in str(error.value)
    return str(error.value)
