"""Folders of models, word vectors, and wheels that models are taken from."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from harness.data import Role
from harness.encoders import ENCODERS, encoder_spec
from harness.encoders.word_vectors import WordVectors
from harness.errors import StoreError
from harness.rerankers import RERANKERS
from harness.spec import Spec
from harness.zoo import Wheel
from harness.zoo.pull import _unpack
from tests.fuzz.frame import Reader, fuzz, in_file
from tests.fuzz.mutations import DEEP
from tests.zoo.wheels import FILES, entry

ROLES: tuple[Role, ...] = get_args(Role)
PART = "sentence_transformers.models"
SETTINGS = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": f"{PART}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{PART}.Pooling"},
    ],
    "config.json": {"architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": 9},
    "config_sentence_transformers.json": {
        "model_type": "SparseEncoder",
        "prompts": {"query": "query: ", "document": "passage: "},
        "default_prompt_name": None,
        "similarity_fn_name": "dot",
    },
    "router_config.json": {"types": {"a": f"{PART}.Transformer"}, "structure": {"query": ["a"]}},
}


def _encoder(kind: str, folder: Path) -> Any:
    spec = Spec(kind, str(folder))
    return RERANKERS.create(spec) if kind == "cross" else ENCODERS.create(encoder_spec(str(spec)))


def _of_kind(kind: str, name: str) -> Any:
    """One of the settings, as models of this kind have it."""
    if "sentence" not in name or kind == "splade":
        return SETTINGS[name]
    saved = {"model_type": "CrossEncoder"} if kind == "cross" else {"model_type": None}
    return {**SETTINGS[name], **saved}


def _read_settings(kind: str, name: str, folder: Path, data: bytes) -> object:
    """The prompts of a model whose folder holds this file beside others that are well."""
    place = folder / "model"
    place.mkdir(exist_ok=True)
    (place / "model.safetensors").write_bytes(b"")
    for other in SETTINGS:
        (place / other).write_text(json.dumps(_of_kind(kind, other)))
    (place / name).write_bytes(data)
    made = _encoder(kind, place)
    return made.prompt if kind == "cross" else {r: made.prompt(r) for r in ROLES}


def _expect_settings(kind: str, name: str, data: bytes) -> object:
    """What its JSON says; only code of sentence-transformers is named in what is accepted."""
    found = json.loads(data)
    content = {**SETTINGS, name: found}
    types = [module["type"] for module in content["modules.json"]]
    types += (content["router_config.json"].get("types") or {}).values()
    assert all(one.startswith("sentence_transformers.") for one in types)
    assert not any(isinstance(one, dict) and one.get("auto_map") for one in content.values())
    prompts = content["config_sentence_transformers.json"].get("prompts") or {}
    default = content["config_sentence_transformers.json"].get("default_prompt_name") or ""
    if kind == "cross":
        return prompts.get(default) or ""
    document = next((prompts[one] or "" for one in ("document", "passage", "corpus")
                     if one in prompts), "")  # fmt: skip
    return {"query": prompts.get("query") or "", "document": document,
            "text": prompts.get(default) or ""}  # fmt: skip


def _settings(kind: str, name: str) -> Reader:
    return Reader(
        f"{kind} {name}",
        partial(_read_settings, kind, name),
        partial(_expect_settings, kind, name),
        (json.dumps(_of_kind(kind, name)).encode(),),
        (b"[" * DEEP, b'{"a":' * DEEP, b"\xff", b"{"),
    )


def _read_words(path: Path) -> object:
    words, rows = WordVectors((path,), "none").read_table()
    return sorted((word, rows[row].tolist()) for word, row in words.items())


def _expect_words(data: bytes) -> object:
    """Words and numbers between blanks; of equal words the first counts."""
    lines = data.decode("utf-8-sig", "replace").removesuffix("\n").split("\n")
    rows = [line.rstrip().split(" ") for line in lines]
    dim = len(rows[0]) - 1
    if len(rows[0]) == 2 and "".join(rows[0]).isascii() and all(map(str.isdigit, rows[0])):
        dim, rows = int(rows[0][1]), rows[1:]
    table = {" ".join(row[:-dim]): np.float32([*map(float, row[-dim:])]).tolist()
             for row in reversed(rows)}  # fmt: skip
    return sorted(table.items())


def _array() -> bytes:
    out = BytesIO()
    np.save(out, np.array([[1, 2.5], [3, 4]], np.float32))
    return out.getvalue()


def _read_array(folder: Path, data: bytes) -> object:
    (folder / "a.npy").write_bytes(data)
    (folder / "a.txt").write_text("one\ntwo\n")
    words, rows = WordVectors((folder / "a.npy", folder / "a.txt"), "none").read_table()
    return words, rows.tolist()


def _expect_array(data: bytes) -> object:
    rows = np.load(BytesIO(data)).astype(np.float32)
    assert np.isfinite(rows).all()
    return {"two": 1, "one": 0}, rows.tolist()


def _wheel() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"tiny/model/{name}", content)
    return out.getvalue()


def _read_wheel(folder: Path, data: bytes) -> object:
    """The files that are taken out of a wheel, which is pinned as it is."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "tiny.whl").write_bytes(data)
    wheel = Wheel("tiny==1.0", "tiny.whl", hashlib.sha256(data).hexdigest())
    try:
        _unpack(entry("tiny", (wheel,), FILES), [work / "tiny.whl"], work)
    except OSError as error:  # of which pull makes one line
        raise StoreError("cannot be read") from error
    return {name: (work / "model" / name).read_bytes() for name in FILES}


def _expect_wheel(data: bytes) -> object:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {name: archive.read(f"tiny/model/{name}") for name in FILES}


READERS = [
    *(_settings("st", name) for name in SETTINGS),
    *(_settings(kind, "config_sentence_transformers.json") for kind in ("splade", "colbert")),
    _settings("cross", "config_sentence_transformers.json"),
    *(_settings(kind, "config.json") for kind in ("splade", "colbert", "cross")),
    Reader("words.vec", in_file("w.vec", _read_words), _expect_words,
           (b"2 3\nthe 1 2 3\ncat 0.5 -1e3 0\n", b"the 1 2\ncat 3 4\n",
            b"\xef\xbb\xbfthe 1 2\ncat 3 4\n"),
           (b"", b"\nthe 1 2\n", b"the 1 2\ncat 3\n", b"the nan 1\n",
            b"2 0\nthe 1 2 3\ncat 0.5 -1e3 0\n", b"9" * 13 + b" 3\nthe 1 2 3\n")),
    Reader("words.npy", _read_array, _expect_array, (_array(),), (b"", _array()[:40])),
    Reader("wheel", _read_wheel, _expect_wheel, (_wheel(),), (b"", b"PK", _wheel()[:-1])),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_models(reader, tmp_path):
    fuzz(reader, tmp_path)
