"""Settings of torch that decide how GPUs multiply: full within a scan, as they were after it."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch

from harness.indexes.gpu.arithmetic import full_sums

MATMUL = torch.backends.cuda.matmul
NEWER = [
    (backend, what)
    for backend, some in {
        "generic": ["all"],
        "cuda": ["all", "matmul", "conv", "rnn"],
        "mkldnn": ["all", "matmul", "conv", "rnn"],
    }.items()
    for what in some
]
get, put = torch._C._get_fp32_precision_getter, torch._C._set_fp32_precision_setter


def read(function):
    """A setting; torch raises where the older and the newer ones differ."""
    try:
        return function()
    except RuntimeError:
        return "raises"


def state() -> dict[object, object]:
    found = {each: get(*each) for each in NEWER}
    found["older"] = read(torch.get_float32_matmul_precision)
    found["tf32"] = read(lambda: MATMUL.allow_tf32)
    found["half"] = torch._C._get_cublas_allow_fp16_reduced_precision_reduction()
    found["bfloat16"] = torch._C._get_cublas_allow_bf16_reduced_precision_reduction()
    found["accumulation"] = MATMUL.allow_fp16_accumulation
    return found


def check_full() -> None:
    found = state()
    assert found["tf32"] is False
    assert found["older"] == "highest"
    assert found["cuda", "matmul"] in ("ieee", "none")
    assert found["mkldnn", "matmul"] in ("ieee", "none")
    assert found["half"][0] is False
    assert found["bfloat16"][0] is False
    assert found["accumulation"] is False


@pytest.fixture(autouse=True)
def given_back():
    yield
    torch.set_float32_matmul_precision("highest")
    for each in NEWER:
        put(*each, "none")
    put("cuda", "conv", "tf32"), put("cuda", "rnn", "tf32")
    MATMUL.allow_fp16_reduced_precision_reduction = True
    MATMUL.allow_bf16_reduced_precision_reduction = True
    MATMUL.allow_fp16_accumulation = False


def test_sums_are_full_whatever_was_set_and_that_comes_back():
    choices = itertools.product(
        ["highest", "high", "medium"], ["left", "none", "ieee", "tf32"],
        ["left", "none", "ieee", "tf32", "bf16"], ["none", "ieee", "tf32"],
        ["none", "ieee", "tf32"], ["none", "ieee", "tf32", "bf16"],
    )  # fmt: skip
    for older, cuda, mkldnn, general, all_cuda, all_mkldnn in choices:
        put("generic", "all", general), put("cuda", "all", all_cuda)
        put("mkldnn", "all", all_mkldnn)
        torch.set_float32_matmul_precision(older)
        for backend, value in (("cuda", cuda), ("mkldnn", mkldnn)):
            if value != "left":
                put(backend, "matmul", value)
        before = state()
        with full_sums():
            check_full()
        assert state() == before


def test_what_inherits_tf32_inherits_it_again():
    torch.backends.fp32_precision = "tf32"
    assert MATMUL.fp32_precision == "tf32"
    with full_sums():
        check_full()
    torch.backends.fp32_precision = "ieee"
    assert MATMUL.fp32_precision == "ieee"


@pytest.mark.parametrize("value", [True, False, (True, True), (False, True), (False, False)])
def test_sums_of_16_bits_are_given_back_with_how_they_are_split(value):
    MATMUL.allow_fp16_reduced_precision_reduction = value
    MATMUL.allow_bf16_reduced_precision_reduction = value
    MATMUL.allow_fp16_accumulation = True
    before = state()
    with full_sums():
        check_full()
    assert state() == before


def test_the_last_of_several_threads_gives_back():
    MATMUL.allow_tf32 = True
    before, entered, leave = state(), threading.Event(), threading.Event()

    def scan():
        with full_sums():
            entered.set()
            assert leave.wait(10)

    other = threading.Thread(target=scan)
    with full_sums():
        other.start()
        assert entered.wait(10)
    check_full()  # the other still multiplies
    leave.set()
    other.join()
    assert state() == before
