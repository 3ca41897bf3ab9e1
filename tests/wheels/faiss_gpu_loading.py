"""The real wheel loads without a driver, and the harness says what it does then."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from harness import accelerators
from harness.errors import InputError
from harness.indexes import INDEXES
from harness.progress import silent
from harness.vectors import Dense

LOADED = "print(faiss.get_num_gpus(), torch.cuda.is_available())"
SCORED = """
import hashlib, sys
import numpy as np
import faiss
random = np.random.default_rng(0)
d = int(sys.argv[1])
documents, queries = (random.standard_normal((n, d)).astype(np.float32) for n in (2000, 50))
for kind in (faiss.IndexFlatIP, faiss.IndexFlatL2):
    index = kind(d)
    index.add(documents)
    for _ in range(2):
        scores, docs = index.search(queries, 10)
        print(hashlib.sha256(scores.tobytes()).hexdigest(), scores.sum())
"""

pytestmark = pytest.mark.skipif(accelerators.present(), reason="there is a driver")


@pytest.fixture(scope="module")
def documents() -> Dense:
    return Dense(np.random.default_rng(0).standard_normal((3000, 48)).astype(np.float32))


def ran(python: str, *words: str) -> list[str]:
    done = subprocess.run([python, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("order", ["faiss, torch", "torch, faiss"])
def test_it_loads_in_either_order_with_torch(order):
    assert ran(sys.executable, "-c", f"import {order}\n{LOADED}") == ["0 False"]


def test_it_is_told_from_the_build_for_the_processor_that_lies_in_another_folder():
    version = accelerators.metadata.version("faiss-gpu")
    assert accelerators.faiss_name() == f"faiss-gpu {version}"
    assert accelerators.overwritten() == ""
    assert f"search by faiss-gpu {version} on the processor; no NVIDIA" in accelerators.describe()


def test_it_loads_for_the_harness():
    assert accelerators.faiss_count() == 0
    assert accelerators._start_faiss() == (0, "")


@pytest.mark.parametrize("spec", ["gpu", "gpu:IVF8_Flat"])
def test_without_a_driver_one_line_says_so(spec):
    index = INDEXES.create(spec)
    with pytest.raises(InputError) as caught:
        index.require("dense")
    assert "no CUDA device answers" in str(caught.value)
    assert "no NVIDIA driver is loaded" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("d", [8, 48])
def test_the_processor_stands_in(documents, d):
    few = Dense(documents.values[:, :d])
    wanted = INDEXES.create("exact").open(few).search(few, 20, silent).run
    index = INDEXES.create("gpu,fallback=cpu")
    index.require("dense")
    found = index.open(few).search(few, 20, silent).run
    np.testing.assert_array_equal(found.docs, wanted.docs)
    np.testing.assert_array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("d", ["16", "32", "384"])
def test_each_build_repeats_its_bits_and_both_are_within_rounding(d, capsys):
    beside = os.environ["BESIDE"]
    ours, others = ran(sys.executable, "-c", SCORED, d), ran(beside, "-c", SCORED, d)
    for lines in (ours, others):
        assert lines[0] == lines[1]
        assert lines[2] == lines[3]
    sums = [[float(line.split()[1]) for line in lines] for lines in (ours, others)]
    np.testing.assert_allclose(*sums, rtol=1e-5)
    with capsys.disabled():
        same = "the same" if ours == others else "other"
        sys.stdout.write(f"\n{d} dimensions: the build for the processor gives {same} bits\n")
