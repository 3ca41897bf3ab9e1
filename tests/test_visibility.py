"""Which GPU of a driver is cuda:0, cuda:1, ... as CUDA reads CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import pytest
import torch

from harness.visibility import Gpu, find_visible, least_free, name_all

GB = 1 << 30
UUIDS = "GPU-aa11", "GPU-aa22", "GPU-bb33"


def like(*free: int | None) -> list[Gpu]:
    """GPUs of one kind."""
    return [
        Gpu(number, "H200", "9.0", room, 140 * GB, uuid)
        for number, (room, uuid) in enumerate(zip(free, UUIDS, strict=False))
    ]


UNLIKE = [
    Gpu(0, "T4", "7.5", 15 * GB, 16 * GB, UUIDS[0]),
    Gpu(1, "H200", "9.0", 130 * GB, 140 * GB, UUIDS[1]),
]


def numbers(gpus: list[Gpu], asked: str | None, order: str | None = None) -> list[list[int]]:
    given = {"CUDA_VISIBLE_DEVICES": asked, "CUDA_DEVICE_ORDER": order}
    variables = {name: value for name, value in given.items() if value is not None}
    return [[gpu.number for gpu in each] for each in find_visible(gpus, variables)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, [[0], [1], [2]]),
        ("2", [[2]]),
        ("2,0", [[2], [0]]),
        (" 1 , 0", [[1], [0]]),
        ("0,-1,1", [[0]]),
        ("0,7,1", [[0]]),
        ("0,,1", [[0]]),
        ("0,x,1", [[0]]),
        ("1gpu2,2a", [[1], [2]]),
        ("+1", [[1]]),
        ("1,1", []),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("GPU-bb", [[2]]),
        ("GPU-bb33,GPU-aa1", [[2], [0]]),
        ("GPU-aa", []),  # two begin so
        ("GPU-bb,GPU-cc,GPU-aa11", [[2]]),
        ("GPU-bb,GPU-bb33", []),
        ("GPU-bb,0", [[2]]),
        ("0,GPU-bb", [[0]]),
        ("MIG-1f", [[]]),
        ("MIG-1f,MIG-2f,0", [[], []]),
        ("MIG-GPU-aa11/1/0", [[]]),
    ],
)
def test_devices_are_those_that_are_named(asked, found):
    assert numbers(like(1, 2, 3), asked) == found


@pytest.mark.parametrize("asked", ["2", "2,0", "0,-1,1", "0,,1", "1gpu2,2a", "+1", "1,1", "x"])
def test_numbers_are_read_as_torch_reads_them(asked, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert numbers(like(1, 2, 3), asked) == [[n] for n in torch.cuda._parse_visible_devices()]


@pytest.mark.parametrize("asked", ["GPU-bb,0", "GPU-bb33,GPU-aa1", "GPU-bb,GPU-cc,GPU-aa11"])
def test_uuids_are_read_as_torch_reads_them(asked, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    read = torch.cuda._parse_visible_devices()
    meant = torch.cuda._transform_uuid_to_ordinals(read, list(UUIDS))
    assert numbers(like(1, 2, 3), asked) == [[n] for n in meant]


@pytest.mark.parametrize(
    ("asked", "order", "found"),
    [
        (None, None, [[0, 1], [0, 1]]),
        (None, "FASTEST_FIRST", [[0, 1], [0, 1]]),
        (None, "PCI_BUS_ID", [[0], [1]]),
        ("1", None, [[0, 1]]),
        ("1", "PCI_BUS_ID", [[1]]),
        ("GPU-aa22", None, [[1]]),
    ],
)
def test_of_unlike_gpus_the_fastest_may_come_first(asked, order, found):
    assert numbers(UNLIKE, asked, order) == found


@pytest.mark.parametrize(
    ("gpus", "asked", "ordinal", "free"),
    [
        (like(5, 900, 7), "1", 0, 900),  # those that are hidden may be full
        (like(5, 900, 7), "1,2", 1, 7),
        (like(5, 900, 7), None, 1, 900),
        (like(5, None, 7), "1", 0, None),  # [N/A] of nvidia-smi
        (like(None, 900), "1", 0, 900),
        (like(5), "MIG-1f", 0, None),
        (like(5), "0", 1, None),
        ([], None, 0, None),  # no nvidia-smi
        (like(5), None, -1, None),
        (like(0), None, 0, 0),
        (UNLIKE, None, 0, 15 * GB),
        (UNLIKE, "GPU-aa22", 0, 130 * GB),
        ([UNLIKE[0], Gpu(1, "H200", "9.0", None, None)], None, 0, None),
    ],
)
def test_free_memory_is_that_of_the_device_or_unknown(gpus, asked, ordinal, free):
    variables = {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked}
    assert least_free(find_visible(gpus, variables), ordinal) == free


@pytest.mark.parametrize(
    ("gpus", "asked", "devices", "names"),
    [
        (like(1, 2), None, 2, ["H200", "H200"]),
        (UNLIKE, None, 2, ["T4", "H200"]),
        (UNLIKE, None, 1, ["T4 or H200"]),
        (UNLIKE, "1", 1, ["T4 or H200"]),
        (UNLIKE, "GPU-aa22", 1, ["H200"]),
        (like(1), "MIG-1f", 1, ["unknown"]),
        ([], None, 2, ["unknown", "unknown"]),
        (like(1, 2), None, 1, ["H200"]),
    ],
)
def test_names_of_what_a_process_sees(gpus, asked, devices, names):
    variables = {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked}
    assert name_all(find_visible(gpus, variables), devices) == names
