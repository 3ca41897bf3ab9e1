"""Parameters are counted from headers, which are written here byte by byte."""

from __future__ import annotations

import json
import os

from harness.encoders.sizes import count_parameters


def write(path, tensors):
    header = {"__metadata__": {"format": "pt"}}
    header |= {name: {"dtype": t, "shape": shape} for name, (t, shape) in tensors.items()}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text)


def test_numbers_of_all_modules_count_and_positions_do_not(tmp_path):
    write(
        tmp_path / "model.safetensors",
        {"words": ("F32", [10, 4]), "scale": ("F16", []), "positions": ("I64", [1, 512])},
    )
    write(tmp_path / "2_Dense" / "model.safetensors", {"linear": ("BF16", [3, 4])})
    assert count_parameters(tmp_path) == 10 * 4 + 1 + 3 * 4


def test_what_tells_nothing_is_not_known(tmp_path):
    assert count_parameters(tmp_path) is None
    for data in (b"", b"\xff" * 20, b"\x02\x00\x00\x00\x00\x00\x00\x00[]"):
        (tmp_path / "model.safetensors").write_bytes(data)
        assert count_parameters(tmp_path) is None
    (tmp_path / "model.safetensors").unlink()
    os.mkfifo(tmp_path / "model.safetensors")  # which would be waited for
    assert count_parameters(tmp_path) is None
