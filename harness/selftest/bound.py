"""How far the products of a scan are from exact scores, as a share of the bound that certifies.

What knows of the scans themselves is here and nowhere else in the self-test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import numpy as np

from harness.arrays import Float32, Float64
from harness.indexes import INDEXES, Instead, maxsim, ragged, scoring
from harness.indexes.gpu.certified import Nearest, Precision, rounding_error, scale
from harness.indexes.gpu.faiss_scan import FaissScan
from harness.indexes.gpu.torch_scan import TorchScan
from harness.indexes.maxsim import MaxSimSearcher, TokenScan
from harness.selftest.cases import TOKENS, make_tokens, make_vectors
from harness.selftest.machine import Machine
from harness.selftest.outcomes import Outcome
from harness.selftest.searching import judge_rest
from harness.vectors import MultiVector
from harness.vectors.lengths import measure

Setting = Literal["", "allow_tf32", "fp32_precision"]  # of torch, the last since 2.9
Library = Literal["faiss", "torch"]
SECTION = "bound of rounding"
LATE = "bound of rounding, MaxSim"
TF32: dict[str, Any] = {"allow_tf32": True, "fp32_precision": "tf32"}


def list_settings() -> list[Setting]:
    """Ways to switch TF32 on that this torch has, after none."""
    from torch.backends.cuda import matmul

    names: list[Setting] = ["allow_tf32", "fp32_precision"]
    return ["", *(name for name in names if hasattr(matmul, name))]


@contextmanager
def switching(setting: Setting) -> Iterator[list[str]]:
    """Switch TF32 on meanwhile.

    Yields:
        A list that says afterwards what was not given back as it was found here.
    """
    from torch.backends.cuda import matmul

    said = list[str]()
    if not setting:
        yield said
        return
    # an older and a newer setting of one thing: torch raises where they contradict each other
    before = {name: getattr(matmul, name) for name in list_settings() if name}
    setattr(matmul, setting, TF32[setting])
    try:
        yield said
        if (left := getattr(matmul, setting)) != TF32[setting]:
            said.append(f"torch's {setting} was {TF32[setting]} and is {left} after the search")
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)


@cache
def make_pairs(n: int, q: int, d: int) -> tuple[Float32, Float32, Float32]:
    """Documents [n, d] and queries [q, d] of lengths from 1e-9 to 1e9, and exact scores [q, n]."""
    documents = make_vectors("random", n, d, seed=3).values
    queries = make_vectors("lengths", q, d, seed=4).values
    rows, docs = (each.astype(np.int64).ravel() for each in np.indices((q, n)))
    return documents, queries, scoring.dense(queries, rows, documents, docs).reshape(q, n)


def make_scan(
    library: Library, documents: Float32, longest: float, precision: Precision, machine: Machine
) -> Callable[[Float32, int], Nearest]:
    """Put documents [n, d] on devices for a library. longest: the largest norm of one.

    Returns:
        What finds the documents of the highest products, as a Scan does.
    """
    if library == "torch":
        return TorchScan.of(documents, longest, machine.names, precision).nearest
    half = precision == "float16"
    return FaissScan.of(documents, longest, machine.names, half=half, sharded=False).nearest


def check_bound(
    library: Library, precision: Precision, shape: tuple[int, int, int], setting: Setting,
    machine: Machine,
) -> Outcome:  # fmt: skip
    """Compare the products of a scan with exact scores. shape: documents, queries, width."""
    n, q, d = shape
    documents, queries, exact = make_pairs(n, q, d)
    longest, norms = float(measure(documents).max()), measure(queries)
    scaled, exponents = scale(queries)
    with switching(setting) as said:
        nearest = make_scan(library, documents, longest, precision, machine)
        found = nearest(scaled, n)
    power = exponents + np.frexp(np.float32(longest))[1]
    rough = np.ldexp(found.products.astype(np.float64), power[:, None])
    off = np.abs(np.take_along_axis(exact, found.docs, axis=1) - rough).max(axis=1)
    share = off / rounding_error(norms, d, longest, precision)
    name = f"{library} {precision} d={d:,}{_tell(setting)}"
    return _judge(SECTION, name, share, exact.size, said)


def check_late_bound(
    precision: Precision, shape: tuple[int, int, int], setting: Setting, machine: Machine
) -> Outcome:
    """Compare rough MaxSim with exact scores. shape: documents, queries, width."""
    n, q, d = shape
    documents = make_tokens("random", n, d, seed=5)
    queries = ragged.drop_empty(make_tokens("lengths", q, d, seed=6))[1]
    spec = f"gpu,precision={precision},{machine.ask('sharded')}"
    searcher = INDEXES.create(spec).open(documents)
    if not isinstance(searcher, MaxSimSearcher):
        raise TypeError(f"{spec} searches by {type(searcher).__name__}: expected MaxSimSearcher")
    kept, scan = searcher.compared, searcher.scan
    with switching(setting) as said:
        rough, instead = compare_roughly(scan, queries)
    rows, docs = (each.ravel() for each in np.indices(rough.shape))
    exact = maxsim.scores(queries, kept, rows, docs).reshape(rough.shape)
    slack = np.add.reduceat(scan.slack(measure(queries.values)), queries.offsets[:-1])
    share = np.abs(rough - exact).max(axis=1) / (slack / 2)
    compared = len(queries.values) * len(kept.values)
    name = f"torch {precision} d={d:,}{_tell(setting)}"
    outcome = _judge(LATE, name, share, compared, said)
    return judge_rest(outcome, instead, str(instead)) if instead else outcome


def compare_roughly(scan: TokenScan, queries: MultiVector) -> tuple[Float64, Instead | None]:
    """Rough scores [q, n] of queries that all have tokens, and what the processor made of them."""
    parts = list(scan.compare(queries))
    rough = np.full((len(queries), max(part.documents[1] for part in parts)), np.nan)
    for part in parts:
        rough[slice(*part.queries), slice(*part.documents)] = part.scores
    compared = Counter[maxsim.How]()
    for part in parts:
        compared[part.how] += part.scores.size
    return rough, maxsim.sum_instead(compared)


def shorten(shape: tuple[int, int], d: int) -> tuple[int, int, int]:
    """As many pairs of tokens as there would be of vectors. shape: documents, queries."""
    return max(shape[0] * 2 // TOKENS, 1), max(shape[1] * 2 // TOKENS, 1), d


def _tell(setting: Setting) -> str:
    return f", torch's {setting}={TF32[setting]} around it" if setting else ""


def _judge(
    section: str, name: str, share: Float32 | Float64, compared: int, said: list[str]
) -> Outcome:
    """What errors come to, each as a share of its bound."""
    most = float(share.max())
    beyond = not most < 1  # also NaN
    line = f"largest error / bound {most:.3f} over {compared:,} pairs"
    details = "; ".join([line + (": expected below 1" if beyond else ""), *said])
    status: Literal["equal", "differs"] = "differs" if beyond or said else "equal"
    return Outcome(section, name, status, details, compared=compared, ratio=most)
