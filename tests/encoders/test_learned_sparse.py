"""Learned sparse models: weights as the model gives them, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.data import Purpose
from harness.encoders import ENCODERS, Encoder, TextEncoder
from harness.encoders.models import MODELS
from harness.errors import InputError
from harness.indexes.exact import Exact
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent
from harness.progress import silent
from harness.store import Store
from harness.vectors import Sparse
from tests.encoders.refusals import refused

TEXTS = ["one", "", "several words of one text", "two words"]


@pytest.fixture(scope="module")
def masked(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random masked language model, without a word of sentence-transformers."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("sparse") / "masked"
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny)
    BertForMaskedLM(config).save_pretrained(folder, safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(tiny / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def saved(masked: Path) -> Path:
    """The same as sentence-transformers saves it, with prompts and a shorter length."""
    from sentence_transformers import SparseEncoder

    folder = masked.parent / "saved"
    model = SparseEncoder(str(masked), local_files_only=True, prompts={"query": "find: "})
    model.max_seq_length = 16
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def create(folder: Path, options: str = "") -> Encoder:
    return ENCODERS.create(f"splade:{folder}{options}")


@pytest.mark.parametrize("options", ["", ",batch_size=1", ",batch_size=3"])
def test_it_encodes_as_sentence_transformers_does(saved, options):
    from sentence_transformers import SparseEncoder

    encoder = create(saved, options)
    model = SparseEncoder(str(saved), local_files_only=True)
    for role, encode in (("query", model.encode_query), ("document", model.encode_document)):
        made = encoder.encode(TEXTS, role).values
        assert isinstance(made, Sparse)
        assert made.matrix.dtype == np.float32
        assert made.matrix.has_sorted_indices
        expected = encode(TEXTS, convert_to_sparse_tensor=False).numpy()
        np.testing.assert_allclose(made.matrix.toarray(), expected, atol=1e-6)
    assert (encoder.representation, encoder.similarity, made.dim) == ("sparse", "dot", 30522)


def test_a_weight_that_is_zero_in_one_way_of_reading_does_not_keep_it_from_being_packed(saved):
    import torch

    encoder = create(saved)
    assert encoder.loaded.packed is not None
    weights = torch.tensor([[0.0, 0.5], [1e-9, 0.5]])
    found = encoder.compare({"sentence_embedding": weights}, 2)
    assert [each.tolist() for each in found] == [weights.tolist()]


def test_tokens_are_counted_with_the_prompt_and_cut_where_the_model_stops(saved):
    made = create(saved).encode(["a b c", "word " * 14, "word " * 15], "document")
    assert made.tokens.tolist() == [5, 16, 17]
    assert made.truncated.tolist() == [False, False, True]
    assert create(saved).encode(["a b c"], "query").tokens.tolist() == [7]  # find: a b c
    short = create(saved, ",max_length=4,query_prompt=").encode(["a b", "a b c"], "query")
    assert short.truncated.tolist() == [False, True]


@pytest.mark.parametrize("name", ["st", "splade", "colbert"])
def test_an_instruction_of_the_task_is_filled_in_whatever_a_text_becomes(saved, tiny, name):
    folder = saved if name == "splade" else tiny
    asking = ENCODERS.create(f"{name}:{folder},query_prompt={{instruction}}:%20")
    told = asking.for_task(Purpose(instructions={"query": "find"}))
    assert (told.prompt("query"), told.prompt("document")) == ("find: ", "")
    plain = ENCODERS.create(f"{name}:{folder},query_prompt=find:%20")
    assert told.encode(["cats"], "query").tokens == plain.encode(["cats"], "query").tokens
    assert asking.model is told.model  # loaded once
    with pytest.raises(InputError) as error:
        asking.for_task(Purpose(instructions={})).encode(["cats"], "query")
    assert str(error.value) == (
        f"{folder}: its query prompt '{{instruction}}: ' wants an instruction, and the task has "
        "none: give query_prompt, or the task one in TOML"
    )


def test_a_masked_language_model_is_pooled_by_maximum(masked):
    import torch
    from transformers import AutoTokenizer, BertForMaskedLM

    model = BertForMaskedLM.from_pretrained(masked).eval()
    inputs = AutoTokenizer.from_pretrained(masked)(TEXTS[2], return_tensors="pt")
    with torch.inference_mode():
        expected = torch.log1p(model(**inputs).logits.relu()).amax(dim=1).numpy()
    made = create(masked).encode([TEXTS[2]], "text").values
    np.testing.assert_allclose(made.matrix.toarray(), expected, atol=1e-5)


def test_vectors_come_back_from_the_store_as_they_were_made(saved, tmp_path):
    store, encoder = Store(tmp_path, shard=2), create(saved)
    parts = {"documents": ("document", TEXTS), "queries": ("query", TEXTS[:1])}
    first = represent("s", encoder, parts, Workplace(store, Clock()))
    assert (first.counts["documents_encoded_now"], first.counts["documents_zero_vectors"]) == (4, 0)
    MODELS.clear()
    second = represent("s", create(saved), parts, Workplace(store, Clock()))
    assert len(MODELS) == 0  # the weights stayed on the disk
    assert second.counts["documents_encoded_now"] == 0
    direct = encoder.encode(TEXTS, "document").values.matrix
    for vectors in (first, second):
        np.testing.assert_allclose(
            vectors.parts["documents"].matrix.toarray(), direct.toarray(), atol=1e-6
        )
    run = Exact().open(second.parts["documents"]).search(second.parts["queries"], 4, silent).run
    assert (np.diff(run.scores[0]) <= 0).all()


def test_a_text_without_a_weight_is_counted_and_told(tmp_path):
    class Silent(TextEncoder):
        representation, similarity = "sparse", "dot"

        def fingerprint(self):
            return {"name": "silent"}

        def encode(self, texts, role):
            from scipy.sparse import csr_matrix

            from harness.encoders import Encoded

            rows = np.array([[len(text), 0, 0] for text in texts], np.float32)
            none = np.zeros(len(texts), np.int32)
            return Encoded(Sparse(csr_matrix(rows)), none, none.astype(bool))

    parts = {"documents": ("document", ["", "a", "ab"])}
    made = represent("silent", Silent(), parts, Workplace(Store(tmp_path), Clock()))
    assert made.counts["documents_zero_vectors"] == 1
    assert made.warnings == ["1 of the documents has the zero vector: similar to nothing"]
    assert made.parts["documents"].matrix.toarray().tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]


def test_the_fingerprint_is_not_that_of_the_dense_model(masked):
    sparse, dense = create(masked).fingerprint(), ENCODERS.create(f"st:{masked}").fingerprint()
    assert sparse != dense
    assert sparse == {**create(masked, ",batch_size=2,device=cpu").fingerprint()}
    assert sparse != create(masked, ",max_length=8").fingerprint()


def test_a_model_without_weights_for_terms_is_refused(tiny, saved, tmp_path):
    expected = (
        "has no weights for terms: expected a SparseEncoder of sentence-transformers or a masked "
        "language model"
    )
    assert refused(f"splade:{tiny}") == f"{tiny} {expected}"
    bare = tmp_path / "bare"
    shutil.copytree(tiny, bare)
    (bare / "modules.json").unlink()
    assert refused(f"splade:{bare}") == f"{bare} {expected}"
    other = tmp_path / "cosine"
    shutil.copytree(saved, other)
    config = json.loads((other / "config_sentence_transformers.json").read_text())
    config["similarity_fn_name"] = "cosine"
    (other / "config_sentence_transformers.json").write_text(json.dumps(config))
    assert refused(f"splade:{other}") == f"{other} compares sparse vectors by cosine: expected dot"


def test_a_sparse_model_is_no_dense_one(saved):
    assert refused(f"st:{saved}") == f"{saved} makes no dense vectors: expected splade:{saved}"


def test_what_is_unsafe_is_refused_as_for_dense_models(masked, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(masked, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "weights are pickled" in refused(f"splade:{folder}")
    assert refused(f"splade:{masked},batch_size=0").endswith("batch_size=0: expected at least 1")


def test_the_packaged_model_gives_its_known_weights():
    """Values of sentence-transformers 6.2.0's own SparseEncoder on the same folder."""
    try:
        encoder = ENCODERS.create("splade-tiny")
    except InputError as error:
        pytest.skip(str(error))
    made = encoder.encode(["a dog chased a puppy", ""], "text").values.matrix
    words = encoder.model.tokenizer.convert_ids_to_tokens(made[0].indices)
    weights = dict(zip(words, made[0].data.tolist(), strict=True))
    assert np.diff(made.indptr).tolist() == [17, 6]
    for word, weight in {"dog": 2.22014, "dogs": 2.12341, "chasing": 1.57563}.items():
        assert weights[word] == pytest.approx(weight, abs=1e-4)
