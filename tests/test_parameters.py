"""Odd numbers: whatever is registered refuses them, or they mean something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import ValidationError

from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.gate.policy import CostPolicy, Policy, TaskPolicy
from harness.indexes import INDEXES
from harness.parameters import Entry, kind_of
from harness.registry import Registry
from harness.rerankers import RERANKERS
from harness.rewriting import REWRITERS
from harness.session import Session
from harness.sources import SOURCES
from harness.spec import parse
from harness.store import Store
from harness.studies import STUDIES, conduct
from harness.systems import RETRIEVERS

REGISTRIES: tuple[Registry[Any], ...] = (
    ENCODERS, INDEXES, RETRIEVERS, REWRITERS, RERANKERS, SOURCES, STUDIES,
)  # fmt: skip
HUGE = str(10**30)
ODD = {int: ("-1", "0", HUGE), float: ("nan", "inf", "-inf", "-1", "0", HUGE)}

ENDPOINT = "url=http://localhost:1/v1"
BASE = {  # what must be given beside the parameter
    "api": f"api:m,{ENDPOINT}", "chat": f"chat:m,{ENDPOINT}", "search": "search:http://localhost:1/v1",
    "colbert": "colbert:x", "splade": "splade:x", "st": "st:x", "cross": "cross:x",
    "mteb": "mteb:x", "rrf": "rrf:bm25+hashing", "convex": "convex:bm25+hashing",
    "rerank": "rerank:cross:x,first=bm25", "faiss": "faiss:IVF4_Flat",
    "faiss ef_search": "faiss:HNSW8",
}  # fmt: skip
MEANT = {  # odd numbers that have a meaning
    "api backoff": {"0"},  # asked again at once
    "api price": {"0"},  # free, as a model of one's own
    "api retries": {"0"},  # asked once
    "bm25 b": {"0"},  # whatever the lengths of documents
    "bm25 k1": {"0", HUGE},  # whether a term is there; how often it is
    "chat backoff": {"0"}, "chat price": {"0"}, "chat retries": {"0"},
    "chat temperature": {"0"},  # the likeliest answer
    "search retries": {"0"},
    "entities negated": {"0"},  # no query with a negation
    "limit relevant": {"0"},  # as many as it takes
    "muvera final_dim": {"0"}, "muvera projection_dim": {"0"},  # as they are
    "muvera rerank_depth": {"0"},  # the encodings' own scores
    "rm3 weight": {"0"},  # the feedback alone
    "rocchio alpha": {"0", HUGE}, "rocchio beta": {"0", HUGE},  # one part alone; in proportion
    "rrf k": {"0"},  # by 1 / rank
    "seismic max_fraction": {HUGE},  # blocks of any size
    "ann margin": {"0"},  # nothing may be lost
    "ann recall": {"0"},  # any will do
}  # fmt: skip
MEANT |= {f"{name} oversample": {"0"} for name in ("binary", "faiss", "int8", "pca", "truncate")}
MEANT |= {
    f"{name} seed": {"0"}
    for name in ("colbert", "entities", "faiss", "hnsw", "hnswlib", "limit", "muvera", "pca")
}
WHEN_RUN = {  # what only the task and the index of a study tell
    "geometry dims": {"-1", "0"},
    "insertion M": {"-1", "0"}, "insertion ef_construction": {"-1", "0"},
    "insertion ef_search": {"-1", "0"},
    "scale sizes": {"-1", "0"}, "scale dims": {"-1", "0"},
}  # fmt: skip


def number_of(hint: Any) -> type | None:
    """int or float, where a parameter of this type takes one or a list of them."""
    if get_origin(hint) in (Union, UnionType, tuple):
        return next(filter(None, map(number_of, get_args(hint))), None)
    return hint if hint in (int, float) else None


def numeric(entry: Entry[Any]) -> Iterator[tuple[str, type]]:
    hints = entry.hints
    for key, one in entry.parameters.items():
        if kind := number_of(hints.get(key, kind_of(one.default))):
            yield key, kind


PARAMETERS = [
    pytest.param(registry, entry.name, key, kind, id=f"{registry.noun} {entry.name} {key}")
    for registry in REGISTRIES
    for entry in registry.entries()
    if entry.place and entry.place.startswith("harness.")
    for key, kind in numeric(entry)
]


def is_refused(registry: Registry[Any], spec: str, key: str, value: str) -> bool:
    """Whether an error says, in one line, that a parameter or its value is wrong."""
    try:
        registry.create(spec)
    except InputError as error:
        said = str(error)
        assert "\n" not in said
        return key in said or f"{float(value):g}" in said
    return False


@pytest.mark.parametrize(("registry", "name", "key", "kind"), PARAMETERS)
def test_an_odd_number_is_refused_or_means_something(registry, name, key, kind):
    base = BASE.get(f"{name} {key}") or BASE.get(name, name)
    taken = {v for v in ODD[kind] if not is_refused(registry, f"{base},{key}={v}", key, v)}
    parameter = f"{name} {key}"
    assert taken == MEANT.get(parameter, set()) | WHEN_RUN.get(parameter, set())


def test_every_meaning_is_of_a_parameter():
    known = {f"{one.values[1]} {one.values[2]}" for one in PARAMETERS}
    assert len(PARAMETERS) > 90
    assert {*MEANT, *WHEN_RUN} <= known


@pytest.mark.parametrize(("parameter", "value"), [(p, v) for p in WHEN_RUN for v in ("-1", "0")])
def test_a_study_says_what_its_task_cannot_have(tmp_path, parameter, value):
    name, key = parameter.split()
    if name == "insertion":
        pytest.importorskip("hnswlib")
    with pytest.raises(InputError, match=rf"{key}={value}|{value} (dimensions|documents)"):
        conduct(
            parse(f"{name},{key}={value}"), Session(Store(tmp_path)), ["hashing,dim=16"],
            "limit,docs=40,queries=9,k=2,attributes=5",
        )  # fmt: skip


POLICY = {  # odd numbers of policies that have a meaning
    **{f"{name} absolute": {0, 10**30} for name in ("Policy", "TaskPolicy")},  # nothing, or all
    **{f"{name} detectable": {0, 10**30} for name in ("Policy", "TaskPolicy")},
    **{f"{name} relative": {0} for name in ("Policy", "TaskPolicy")},
    **{
        f"CostPolicy {name}": {10**30}  # at most so much: whatever it costs
        for name in ("start", "latency", "memory", "dimension", "throughput")
    },
    "CostPolicy noise": {0},
}


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        (policy, key)
        for policy in (Policy, TaskPolicy, CostPolicy)
        for key, hint in get_type_hints(policy).items()
        if key in policy.model_fields and number_of(hint)
    ],
)
def test_an_odd_number_of_a_policy_is_refused_or_means_something(policy, key):
    taken = set()
    for value in (float("nan"), float("inf"), float("-inf"), -1, 0, 10**30):
        with suppress(ValidationError):
            policy(**{key: value})
            taken.add(value)
    assert taken == POLICY.get(f"{policy.__name__} {key}", set())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "x", True])
def test_what_a_store_and_a_session_cannot_have(tmp_path, value):
    for field in ("shard", "limit", "since"):
        with pytest.raises(InputError, match=rf"^{field}=.*: expected "):
            Store(tmp_path, **{field: value})
    session, task = Session(Store(tmp_path)), "limit,docs=40,queries=9,k=2,attributes=5"
    for ask in (session.evaluate, session.rank):
        with pytest.raises(InputError, match=r"^depth=.*: expected a whole number from 0"):
            ask("hashing", task, depth=value)


@pytest.mark.parametrize(
    "words",
    [
        f"{command} {option} {value}"
        for command, option, values in (
            ("eval -m hashing -t limit-small", "--seed", ("-1", "nan", HUGE)),
            ("eval -m hashing -t limit-small", "--latency", ("-1", "inf", HUGE)),
            ("study geometry -m hashing", "--seed", ("-1", HUGE)),
            ("leaderboard results/bm25", "--alpha", ("nan", "inf", "-1", "0", HUGE)),
            ("leaderboard results/bm25", "--rows", ("-1", "0", "nan")),
            ("store prune", "--limit", ("nan", "inf", "-1")),
        )
        for value in values
    ],
)
def test_an_odd_number_of_an_option_is_wrong_usage(run, words):
    done = run(*words.split())
    assert (done.status, done.out) == (2, "")
    assert len(done.err.strip().splitlines()) <= 4  # with how the command is used
    assert "Traceback" not in done.err
