"""Late interaction: vectors of tokens as the model gives them, from checkpoints of every make."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.encoders import ENCODERS, Encoder
from harness.encoders.models import MODELS
from harness.indexes.exact import Exact
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent
from harness.progress import silent
from harness.sources import SOURCES
from harness.store import Store
from harness.vectors import MultiVector
from tests.encoders.refusals import refused
from tests.shared import shared

TEXTS = ["one", "", "several words of one text", "two, words"]


def create(folder: Path, options: str = "") -> Encoder:
    return ENCODERS.create(f"colbert:{folder}{options}")


def change(path: Path, **changes: object) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, **changes}))


@pytest.fixture(scope="module")
def saved(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of sentence-transformers; queries are filled up to 8 tokens."""
    from sentence_transformers import MultiVectorEncoder

    folder = tmp_path_factory.mktemp("late") / "saved"
    prompts = {"query": "find: ", "document": ""}
    model = MultiVectorEncoder(str(tiny), local_files_only=True, prompts=prompts)
    model[0].document_length = 12
    model[0].query_expansion = {"strategy": "fixed", "attend": False, "length": 8}
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def pylate(saved: Path) -> Path:
    """The same as PyLate saved them: two modules, markers beside the prompts."""
    folder = saved.parent / "pylate"
    shutil.copytree(saved, folder)
    modules = json.loads((folder / "modules.json").read_text())[:2]
    modules[1]["type"] = "pylate.models.Dense.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))
    bert = json.loads((folder / "sentence_bert_config.json").read_text())
    for name in ("query_length", "document_length", "query_expansion"):
        bert.pop(name, None)
    (folder / "sentence_bert_config.json").write_text(json.dumps(bert))
    change(
        folder / "config_sentence_transformers.json",
        model_type="ColBERT",
        query_prefix="[Q] ",
        document_prefix="[D] ",
        query_length=9,
        document_length=11,
        similarity_fn_name=None,
    )
    return folder


@pytest.fixture(scope="module")
def stanford(tiny: Path, saved: Path) -> Path:
    """The same as Stanford's ColBERT saved them: the projection among the weights."""
    from safetensors.numpy import load_file, save_file

    folder = saved.parent / "stanford"
    folder.mkdir()
    for path in tiny.glob("*.*"):
        if path.name not in ("modules.json", "config_sentence_transformers.json"):
            shutil.copyfile(path, folder / path.name)
    change(folder / "config.json", architectures=["HF_ColBERT"])
    weights = load_file(tiny / "model.safetensors")
    (dense,) = saved.glob("1_*")
    weights["linear.weight"] = load_file(dense / "model.safetensors")["linear.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    metadata = {"query_token_id": "[unused5]", "query_maxlen": 10, "doc_maxlen": 13}
    (folder / "artifact.metadata").write_text(json.dumps(metadata))
    return folder


@pytest.mark.parametrize(
    ("make", "query", "document"),
    [
        ("saved", "find: ", ""),
        ("pylate", "[Q] find: ", "[D] "),
        ("stanford", "[unused5] ", "[unused1] "),
    ],
)
def test_it_encodes_as_sentence_transformers_does(request, make, query, document):
    from sentence_transformers import MultiVectorEncoder

    folder = request.getfixturevalue(make)
    encoder, model = create(folder), MultiVectorEncoder(str(folder), local_files_only=True)
    assert (encoder.prompt("query"), encoder.prompt("document")) == (query, document)
    assert encoder.notes == ()
    for role, encode in (("query", model.encode_query), ("document", model.encode_document)):
        made = encoder.encode(TEXTS, role).values
        assert isinstance(made, MultiVector)
        expected = encode(TEXTS, convert_to_numpy=True)
        assert made.lengths.tolist() == [len(rows) for rows in expected]
        np.testing.assert_allclose(made.values, np.concatenate(expected), atol=1e-5)
    assert made.values.dtype == np.float32
    assert made.offsets.dtype == np.int64
    assert (encoder.representation, encoder.similarity, made.dim) == (
        "multi-vector",
        "maxsim",
        128,
    )


def test_maxsim_is_that_of_sentence_transformers(saved):
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(saved), local_files_only=True)
    expected = model.similarity(model.encode_query(TEXTS), model.encode_document(TEXTS)).numpy()
    encoder = create(saved)
    queries, documents = (encoder.encode(TEXTS, role).values for role in ("query", "document"))
    run = Exact().open(documents).search(queries, 4, silent).run
    np.testing.assert_allclose(
        run.scores, np.take_along_axis(expected, run.docs.astype(int), axis=1), atol=1e-5
    )


@pytest.mark.parametrize(("make", "limits"), [("saved", (8, 12)), ("pylate", (9, 11))])
def test_tokens_are_counted_with_the_prompt_and_cut_where_the_role_stops(request, make, limits):
    encoder = create(request.getfixturevalue(make))
    for role, limit in zip(("query", "document"), limits, strict=True):
        counted = encoder.encode([""], role).tokens[0]  # marks and prompt
        fits, longer = "word " * (limit - counted), "word " * (limit - counted + 1)
        made = encoder.encode([fits, longer], role)
        assert made.tokens.tolist() == [limit, limit + 1]
        assert made.truncated.tolist() == [False, True]


def test_the_spec_may_ask_for_longer_or_shorter_documents(saved, tiny):
    texts = ["word " * 18, "word " * 19]
    made = create(saved, ",max_length=20").encode(texts, "document")
    assert made.truncated.tolist() == [False, True]
    assert made.values.lengths.tolist() == [20, 20]
    queries = create(saved, ",max_length=20").encode(texts, "query")
    assert queries.values.lengths.tolist() == [8, 8]  # filled up, or cut
    plain = create(tiny, ",max_length=20").encode(texts, "query")
    assert plain.truncated.tolist() == [False, True]
    assert refused(f"colbert:{tiny},max_length=65").endswith("the model reads 64 tokens")


def test_an_ordinary_model_is_projected_at_random_by_the_seed_and_says_so(tiny):
    import torch
    from sentence_transformers import MultiVectorEncoder

    encoder = create(tiny)
    torch.manual_seed(0)
    expected = MultiVectorEncoder(str(tiny), local_files_only=True).encode_document(TEXTS)
    torch.manual_seed(7)  # must not matter
    made = encoder.encode(TEXTS, "document").values
    np.testing.assert_allclose(made.values, np.concatenate(expected), atol=1e-5)
    other = create(tiny, ",seed=1").encode(TEXTS, "document").values
    assert np.abs(other.values - made.values).max() > 0.01
    assert encoder.notes == (
        f"{tiny} was not made for late interaction: its token vectors are projected at random "
        "(seed 0)",
    )


def test_a_projection_that_the_model_has_is_kept(tiny, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    model = SentenceTransformer(str(tiny), local_files_only=True)
    model.append(Dense(32, 8))
    model.save_pretrained(str(tmp_path / "dense"), create_model_card=False)
    encoder = create(tmp_path / "dense")
    assert encoder.notes == ()
    made = [create(tmp_path / "dense", f",seed={seed}") for seed in (0, 1)]
    values = [each.encode(TEXTS, "document").values for each in made]
    assert values[0].dim == 8
    np.testing.assert_array_equal(values[0].values, values[1].values)


def test_a_model_of_transformers_alone_is_projected_too(tiny, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(tiny, folder)
    (folder / "modules.json").unlink()
    (folder / "config_sentence_transformers.json").unlink()
    made = [create(folder).encode(TEXTS, "document").values.values for _ in range(2)]
    np.testing.assert_array_equal(*made)
    assert "projected at random" in create(folder).notes[0]


def test_the_fingerprint_holds_the_seed_where_it_decides(tiny, saved):
    assert create(tiny).fingerprint() != create(tiny, ",seed=1").fingerprint()
    assert create(tiny).fingerprint() != ENCODERS.create(f"st:{tiny}").fingerprint()
    assert create(saved).fingerprint() == create(saved, ",seed=1,batch_size=2").fingerprint()
    assert create(saved).fingerprint() != create(saved, ",max_length=9").fingerprint()


def test_vectors_come_back_from_the_store_as_they_were_made(tiny, tmp_path):
    store, encoder = Store(tmp_path, shard=3), create(tiny)
    parts = {"documents": ("document", [*TEXTS, "one"]), "queries": ("query", TEXTS[:2])}
    first = represent("c", encoder, parts, Workplace(store, Clock()))
    MODELS.clear()
    second = represent("c", create(tiny), parts, Workplace(store, Clock()))
    assert len(MODELS) == 0  # the weights stayed on the disk
    assert first.counts["documents_encoded_now"] == 4
    assert second.counts["documents_encoded_now"] == 0
    assert first.warnings == second.warnings == list(encoder.notes)
    expected = encoder.encode([*TEXTS, "one"], "document").values
    for vectors in (first, second):
        found = vectors.parts["documents"]
        np.testing.assert_array_equal(found.offsets, expected.offsets)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    np.testing.assert_array_equal(first.parts["documents"].values, second.parts["documents"].values)


def test_code_that_a_model_brings_is_refused(saved, tmp_path):
    folder = tmp_path / "code"
    shutil.copytree(saved, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "custom.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))
    assert refused(f"colbert:{folder}") == (
        f"{folder} brings its own code (custom.Dense): refused; "
        "if you trust its authors, add trust_remote_code=true to the spec"
    )


def test_bad_parameters_are_refused(tiny, saved):
    assert refused(f"colbert:{tiny},seed=-1") == f"{tiny}: seed=-1: expected 0 or more"
    assert refused(f"colbert:{tiny},batch_size=0").endswith("batch_size=0: expected at least 1")
    assert refused(f"st:{saved}") == f"{saved} makes no dense vectors: expected colbert:{saved}"


def test_minilm_by_its_tokens_on_limit(packaged, tmp_path):
    """R@2 of 100 queries as sentence-transformers 6.2.0 scores them itself (torch seed 0)."""
    data = SOURCES.create(f"folder:{shared('limit-small')}")
    encoder = ENCODERS.create("colbert:minilm")
    documents = encoder.encode(data.corpus.texts, "document").values
    queries = encoder.encode(data.queries.texts[:100], "query").values
    run = Exact().open(documents).search(queries, 2, silent).run
    indptr, relevant = data.qrels.indptr, data.qrels.docs
    found = [
        np.isin(run.docs[row], relevant[indptr[row] : indptr[row + 1]]).mean() for row in range(100)
    ]
    assert np.mean(found) == 0.89
