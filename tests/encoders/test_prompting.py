"""Which prompt is put before a text: by the spec, else by task, type of task and role, as mteb."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api import evaluate
from harness.data import Candidates, Pairs, Purpose, Qrels, Queries, Retrieval
from harness.data.texts import Corpus
from harness.encoders import ENCODERS
from harness.encoders.prompting import MODEL_S_OWN, Prompting, PromptOptions
from harness.kinds import KINDS
from tests.mteb_tasks import package

NAMES = [
    *("SciFact-query", "SciFact-document", "SciFact", "Retrieval-query", "Retrieval-document"),
    *("Retrieval", "query", "document", "passage", "STS", "Clustering"),
]
OWN = {name: f"{name}: " for name in NAMES}
PURPOSE = Purpose("SciFact", "Retrieval")


def without(*names: str, purpose: Purpose = PURPOSE) -> Prompting:
    """The prompts but for some of them."""
    own = {name: text for name, text in OWN.items() if name not in names}
    return Prompting(own, default="Clustering", purpose=purpose)


def test_the_most_particular_name_comes_first():
    gone, found = list[str](), list[str]()
    while name := without(*gone).name("query"):
        found.append(name)
        gone.append(name)
    assert found == ["SciFact-query", "SciFact", "Retrieval-query", "Retrieval", "query"]
    assert without("SciFact", "Retrieval").name("text") == "Clustering"
    assert without(purpose=Purpose("x", "STS")).text("text") == "STS: "
    assert without(purpose=Purpose("x", "STS")).text("document") == "STS: "
    assert without("document", purpose=Purpose()).text("document") == "passage: "


def test_the_spec_comes_before_all_names():
    asked = PromptOptions(query_prompt="").replace_own(OWN)
    assert (asked.name("query"), asked.text("query")) == ("query_prompt", "")
    assert asked.name("document") == "document"
    assert (MODEL_S_OWN.replace_own({}).name("query"), asked.text("text")) == ("", "")


def test_an_empty_prompt_counts():
    assert Prompting({"STS": "", "query": "q"}, purpose=Purpose("", "STS")).text("query") == ""


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sets(st.sampled_from([name for name in NAMES if name != "passage"])))
def test_mteb_chooses_the_same_names(names):
    package()
    from mteb.models.abs_encoder import get_prompt_name
    from mteb.types import PromptType

    own = {name: OWN[name] for name in names}
    for kind in ("Retrieval", "STS", "Clustering"):
        ours = Prompting(own, purpose=Purpose("SciFact", kind))
        about = SimpleNamespace(name="SciFact", type=kind)
        for role in ("query", "document", "text"):
            asked = None if role == "text" else PromptType(role)
            assert ours.name(role) == (get_prompt_name(own, about, asked) or "")


def test_kinds_name_their_types_of_tasks():
    corpus, queries = Corpus.of(["d"], ["x"]), Queries(["q"], ["x"])
    data = Retrieval(corpus, queries, Qrels.of([("q", "d", 1.0)], queries, corpus))
    assert KINDS.create("retrieval").name_type(data) == "Retrieval"
    among = Candidates.of({"q": ["d"]}, queries, corpus)
    few = Retrieval(corpus, queries, data.qrels, candidates=among)
    assert KINDS.create("retrieval").name_type(few) == "Reranking"
    pairs = KINDS.create("pairs")
    assert pairs.name_type(Pairs(["a", "b"], ["c", "d"], np.array([0.5, 1.0]))) == "STS"
    assert pairs.name_type(Pairs(["a", "b"], ["c", "d"], np.array([0.0, 1.0]))) == (
        "PairClassification"
    )


@pytest.fixture
def named(tiny, tmp_path):
    """A model with prompts for types of tasks."""
    import shutil

    folder = tmp_path / "named"
    shutil.copytree(tiny, folder)
    prompts = {
        **{"query": "search_query: ", "STS": "represent this sentence ", "Clustering": "for "},
        **{"Retrieval-query": "query: ", "Classification": "represent "},
    }
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": prompts}))
    return folder


def test_what_was_asked_is_in_the_record(named, tmp_path):
    rows = [("a cat", "a dog", 0.2), ("a man", "a boy", 0.7), ("red", "blue", 0.4)]
    lines = [
        json.dumps(dict(zip(("sentence1", "sentence2", "score"), r, strict=True))) for r in rows
    ]
    (tmp_path / "sts.jsonl").write_text("\n".join(lines))
    record = evaluate(f"st:{named}", f"pairs:{tmp_path}/sts.jsonl").record
    assert record.system.prompts["text"] == "represent this sentence "
    assert record.system.prompt_names == {"text": "STS", "query": "STS", "document": "STS"}
    searched = evaluate(f"st:{named},document_prompt=d: ", "limit,docs=20,queries=20").record
    assert searched.system.prompts == {"query": "query: ", "document": "d: ", "text": ""}
    assert searched.system.prompt_names == {
        "query": "Retrieval-query", "document": "document_prompt",
    }  # fmt: skip
    # the same prompts, given by hand, find the same
    plain = ENCODERS.create(f"st:{named},query_prompt=query: ,document_prompt=d: ")
    by_hand = evaluate(plain, "limit,docs=20,queries=20").record
    assert by_hand.main == searched.main
