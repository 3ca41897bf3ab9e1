"""What users write: tasks, policies, prompts, lists of files, specs, measures."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness import gate
from harness.analysis import prompting
from harness.disk import foreign
from harness.errors import InputError
from harness.gate.policy import read_policy
from harness.measures.asked import Measure
from harness.spec import parse, split_list
from harness.tasks import catalog
from tests.fuzz import oracles
from tests.fuzz.frame import Reader, fuzz, in_file
from tests.fuzz.mutations import DEEP

TASKS = b"""
[one]
source = "folder:some/where"
description = "a task"
family = "x"
measures = ["nDCG@10", "R@100"]
documents = 10
exclude_self = true
license = "MIT"
parameters = { split = "dev" }

["two:b"]
source = "limit,docs=40"
instruction = "find it"
"""
POLICY = b"""
absolute = 0.02
alpha = 0.01
correction = "none"
required = ["a", "b"]
[cost]
latency = 1.5
[tasks."a b"]
relative = 0.1
"""
SUMS = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in "ab").encode()
DEEP_TOML = b"a = " + b"[" * DEEP


def _read_tasks(path: Path) -> object:
    return {
        name: {**vars(catalog._definition(path, name, table))}
        for name, table in foreign.read_toml(path).items()
    }


def _expect_tasks(data: bytes) -> object:
    fields = {"description": "", "family": "", "measures": (), "documents": None, "queries": None,
              "pairs": None, "exclude_self": None, "license": "", "reference": "",
              "parameters": {}, "instruction": "", "language": ""}  # fmt: skip
    tables = tomllib.loads(data.decode())
    return {
        name: {"name": name, "source": table["source"]}
        | {key: table.get(key, table.get("licence", unset) if key == "license" else unset)
           for key, unset in fields.items()}
        for name, table in tables.items()
    }  # fmt: skip


def _read_policy(path: Path) -> object:
    return _plain(read_policy(path).model_dump(exclude_unset=True))


def _plain(value: object) -> object:
    """A value whose numbers are floats: TOML has 1 where a policy has 1.0."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in sorted(value.items())}
    return float(value) if type(value) is int else value


def _read_sums(path: Path) -> object:
    return gate._sums(path.parent)


def _expect_sums(data: bytes) -> object:
    lines = [line.partition("  ") for line in data.decode().splitlines()]
    return {name: digest for digest, _, name in lines}


def _expect_prompts(data: bytes) -> object:
    found = tomllib.loads(data.decode())
    return found["prompts"], found.get("document_prompts")


def _expect_lines(data: bytes) -> object:
    return oracles.lines(data.decode().removesuffix("\n")), None


def _text(data: bytes) -> str:
    """An argument, as the system hands it over."""
    if b"\0" in data:
        raise InputError("an argument holds no NUL")
    return data.decode("utf-8", "surrogateescape")


def _read_spec(_: Path, data: bytes) -> object:
    spec = parse(_text(data))
    assert parse(str(spec)) == spec
    return spec.name, spec.target, spec.params


def _expect_spec(data: bytes) -> object:
    """Read what has no brackets; a spec with them has come back as it was written."""
    text = _text(data)
    if "[" in text:
        spec = parse(text)
        return spec.name, spec.target, spec.params
    head, *rest = text.split(",")
    name, colon, target = head.partition(":")
    params = tuple(part.split("=", 1) for part in rest)
    return (
        unquote(name.strip()),
        unquote(target) if colon else None,
        tuple((key.strip(), unquote(value)) for key, value in params),
    )


def _read_list(_: Path, data: bytes) -> object:
    return split_list(_text(data))


def _expect_list(data: bytes) -> object:
    text = _text(data)
    return split_list(text) if "[" in text else list(map(unquote, text.split("+") if text else []))


def _read_measure(_: Path, data: bytes) -> object:
    measure = Measure.parse(_text(data))
    assert Measure.parse(str(measure)) == measure
    return measure.cutoff


def _expect_measure(data: bytes) -> object:
    """The number behind an @; what else is said has come back as it was written."""
    _, at, cutoff = data.decode().rpartition("@")
    return int(cutoff) if at else Measure.parse(data.decode()).cutoff


READERS = [
    Reader("tasks", in_file("t.toml", _read_tasks), _expect_tasks, (TASKS,),
           (DEEP_TOML, b"[a]\n", b"a = 1", b"\xff", b"[a]\nsource = 1")),
    Reader("policy", in_file("p.toml", _read_policy),
           lambda data: _plain(tomllib.loads(data.decode())), (POLICY,),
           (DEEP_TOML, b"alpha = nan", b'alpha = "0.1"', b"absolut = 1", b"[cost]\nx = 1")),
    Reader("prompts", in_file("p.toml", prompting.read), _expect_prompts,
           (b'prompts = ["", "query: "]\ndocument_prompts = ["passage: "]\n',),
           (DEEP_TOML, b"prompts = []", b"prompts = [1]", b"a = 1")),
    Reader("lines of prompts", in_file("p.txt", prompting.read),
           _expect_lines,
           (b"query: \n\nask: \n", b"query: \r\na\rb\r\n"), (b"\xff",)),
    Reader("SHA256SUMS", in_file("SHA256SUMS", _read_sums), _expect_sums, (SUMS,),
           (b"x", SUMS[:66] + b"../b\n", SUMS[:66] + b"a\0\n")),
    Reader("specs", _read_spec, _expect_spec,
           (b"st:intfloat/e5-small,dtype=float16,query_prompt=query%3A%20", b"bm25", b"rrf:a+b",
            b"rrf:[bm25,k1=0.9]+[minilm,dim=8],weights=[1+2]"),
           (b"", b"a:", b"a,b", b"a,b=1,b=2")),
    Reader("lists", _read_list, _expect_list, (b"0.1+0.3", b"[hnsw,M=8]+exact", b"a%2Bb", b"")),
    Reader("measures", _read_measure, _expect_measure,
           (b"nDCG@10", b"MRR@10", b"recall_100", b"ndcg_at_10", b"RBP(p=0.8)@10", b"MAP"),
           (b"R@" + b"9" * 5000, b"R@0", b"R@-1", b"R@1.5", b"", b"x@1")),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_settings(reader, tmp_path):
    fuzz(reader, tmp_path)
