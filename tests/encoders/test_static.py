"""Static models: folders of model2vec and of sentence-transformers; unknown and no tokens."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from harness import accelerators
from harness.encoders import ENCODERS
from harness.kinds.pairs import PairsKind
from harness.measures.asked import Measure
from harness.progress import silent
from harness.sources.pairs import pairs
from tests.encoders.refusals import refused
from tests.shared import shared

WORDS = {"[UNK]": 0, "cat": 1, "dog": 2, "mat": 3}
ROWS = [[9, 9], [3, 4], [0, 2], [-5, 0]]
TEXTS = ["cat", "cat dog", "cat zebra", "zebra", "", " "]


def lay(folder: Path, tensors: dict, *, normalize: bool, **config: object) -> str:
    """A folder as model2vec lays it out."""
    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"normalize": normalize, **config}))
    return f"st:{folder}"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_vectors_of_known_tokens_are_averaged_by_hand(tmp_path, dtype):
    spec = lay(tmp_path, {"embeddings": np.array(ROWS, dtype)}, normalize=False)
    made = ENCODERS.create(spec).encode(TEXTS, "text")
    assert made.values.tolist() == [[3, 4], [1.5, 3], [3, 4], [0, 0], [0, 0], [0, 0]]
    assert made.values.dtype == np.float32
    assert made.tokens.tolist() == [1, 2, 2, 1, 0, 0]


def test_they_may_be_of_unit_length(tmp_path):
    spec = lay(tmp_path, {"embeddings": np.float32(ROWS)}, normalize=True)
    made = ENCODERS.create(spec).encode(TEXTS, "text").values
    np.testing.assert_allclose(made[0], [0.6, 0.8], atol=1e-7)
    assert not made[3:].any()


def test_a_quantised_vocabulary_is_spread_by_hand(tmp_path):
    """cat is 2 x the second row, dog 0.5 x the first."""
    tensors = {
        "embeddings": np.int8([[0, 2], [3, 4]]),
        "mapping": np.int64([0, 1, 0, 1]),
        "weights": np.float32([1, 2, 0.5, 1]),
    }
    spec = lay(tmp_path, tensors, normalize=False)
    assert ENCODERS.create(spec).encode(TEXTS[:2], "text").values.tolist() == [[6, 8], [3, 4.5]]


def test_other_texts_of_a_batch_leave_a_vector_as_it_is(tmp_path):
    spec = lay(tmp_path, {"embeddings": np.float32(ROWS) / 3}, normalize=True)
    encoder = ENCODERS.create(spec)
    whole = encoder.encode(TEXTS, "text").values
    alone = np.concatenate([encoder.encode([text], "text").values for text in TEXTS])
    np.testing.assert_array_equal(whole, alone)


def test_fewer_dimensions_and_half_precision(tmp_path):
    spec = lay(tmp_path, {"embeddings": np.float32(ROWS)}, normalize=False)
    made = ENCODERS.create(f"{spec},dim=1,dtype=bfloat16").encode(["cat dog"], "text")
    assert made.values.tolist() == [[1.5]]


def test_what_cannot_be_is_one_clear_line(tmp_path, monkeypatch):
    spec = lay(tmp_path, {"embeddings": np.float32(ROWS)}, normalize=False)
    monkeypatch.setattr(accelerators, "present", lambda: False)
    assert refused(f"{spec},device=cuda") == (
        f"{tmp_path}: device=cuda, but no CUDA device answers: use device=cpu "
        "(no NVIDIA driver is loaded)"
    )
    assert refused(f"{spec},max_length=8") == (
        f"{tmp_path}: max_length=8: a static model reads all of a text"
    )
    lay(tmp_path, {"embeddings": np.float32(ROWS), "mapping": np.int64([9])}, normalize=False)
    assert refused(spec).startswith(f"{tmp_path}: cannot be loaded: IndexError: ")
    (tmp_path / "tokenizer.json").unlink()
    assert refused(spec).startswith(f"{tmp_path}: cannot be loaded: ")


@pytest.fixture(scope="module")
def wordllama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder of WordLlama's weights."""
    found = importlib.util.find_spec("wordllama")  # does not run the package
    if found is None or found.origin is None:
        pytest.skip("wordllama is not installed")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    package, folder = Path(found.origin).parent, tmp_path_factory.mktemp("models") / "wordllama"
    rows = load_file(package / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    tokens = package / "tokenizers" / "l2_supercat_tokenizer_config.json"
    static = StaticEmbedding(Tokenizer.from_file(str(tokens)), torch.from_numpy(rows))
    SentenceTransformer(modules=[static]).save(str(folder))
    return folder


def test_wordllama_meets_the_value_of_its_makers(wordllama):
    """75.86 on STSBenchmark, in the table that the package ships."""
    data = pairs(str(shared("sts-b/test.jsonl")))
    _, texts = PairsKind().parts(data)["sentences"]
    made = ENCODERS.create(f"st:{wordllama}").encode(texts, "text")
    assert made.values.dtype == np.float32
    measures = [Measure("cosine_spearman")]
    found = PairsKind().judge({"sentences": made.values}, data, measures, seed=0, progress=silent)
    assert found.scores["cosine_spearman"].mean == pytest.approx(0.7586, abs=5e-5)


def test_half_precision_weights_are_averaged_in_single_precision(wordllama):
    encoder = ENCODERS.create(f"st:{wordllama}")
    assert encoder.model[0].embedding.weight.dtype == torch.float32
    made = encoder.encode(["a cat", "", "dogs"], "text").values
    rows = load_file(wordllama / "model.safetensors")["embedding.weight"].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(wordllama / "tokenizer.json"))
    for text, vector in zip(["a cat", "dogs"], made[[0, 2]], strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        np.testing.assert_allclose(vector, rows[ids].mean(axis=0), atol=1e-6)
    assert not made[1].any()
    assert refused(f"st:{wordllama},max_length=8").endswith("a static model reads all of a text")
    assert refused(f"st:{wordllama},attention=sdpa").endswith(
        "attention=sdpa: a static model has none"
    )
