"""What GPUs cannot do is refused in one line, or done otherwise with a note; never a traceback."""

from __future__ import annotations

from harness.errors import InputError, reason
from harness.indexes import INDEXES
from harness.progress import silent
from harness.selftest.cases import make_vectors
from harness.selftest.machine import Machine
from harness.selftest.outcomes import Outcome

SECTION = "refusals"
N, D = 2500, 32  # documents, more than a GPU gives results of a query
BY_ANY = (  # specs without devices, and results of a query
    ("gpu,devices=99", 10),
    ("gpu,devices=0+", 10),
    ("gpu,precision=int8", 10),
    ("gpu,nprobe=3", 10),
    ("gpu,metric=l2", 10),
)
BY_FAISS = (
    ("gpu:Flat,devices=99", 10),
    ("gpu:Flat,nprobe=3", 10),
    ("gpu:Flat,precision=bfloat16", 10),
    ("gpu:Flat", 2049),
    ("gpu:IVF16_Flat,nprobe=16", 2049),
    ("gpu:IVF16_Flat,nprobe=4096", 10),
    ("gpu:IVF16_Flat,nprobe=0", 10),
    ("gpu:IVF16_Flat,ef_search=3", 10),
    ("gpu:IVF16_Flat,precision=float16", 10),
    ("gpu:IVF16_Flat,devices=cpu", 10),
    ("gpu:IVF4096_Flat", 10),
    ("gpu:IVF16_PQ5", 10),
    ("gpu:HNSW32", 10),
    ("gpu:SQ8", 10),
    ("gpu:BFlat", 10),
    ("gpu:BIVF16", 10),
    ("gpu:NoSuchIndex", 10),
)


def check_refusal(spec: str, k: int, machine: Machine) -> Outcome:
    """Ask for what GPUs cannot do."""
    name = f"{spec} k={k:,}"
    asked = spec if "devices=" in spec else f"{spec},{machine.ask('replicated')}"
    documents = make_vectors("unit", N, D, seed=10)
    try:
        index = INDEXES.create(asked)
        index.require("dense")
        searcher = index.open(documents)
        found = searcher.search(make_vectors("unit", 3, D, seed=11), k, silent)
    except InputError as error:
        lines = str(error.args[0]).splitlines()
        if len(lines) == 1:
            return Outcome(SECTION, name, "refused", str(error))
        return Outcome(SECTION, name, "differs", f"refused in {len(lines)} lines: {reason(error)}")
    notes = (*searcher.info.notes, *index.notes(k), *found.notes)
    if notes:
        return Outcome(SECTION, name, "equal", f"done, and noted: {notes[0]}", notes=notes)
    return Outcome(SECTION, name, "differs", "accepted without a note: expected a refusal")
