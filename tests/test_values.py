"""Systems are values: pickled and read back they give the same bits, here and elsewhere."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import Purpose
from harness.encoders import ENCODERS, CollectionEncoder, Encoder, TextEncoder, user_model
from harness.pipeline.single import Request
from harness.progress import silent
from harness.rerankers import RERANKERS
from harness.rewriting import REWRITERS, TextRewriter
from harness.store import Store
from harness.systems import RETRIEVERS
from harness.tasks import catalog
from harness.vectors import Dense, Embeddings, MultiVector, Run, Sparse

TEXTS = ["red apple", "", "several words of one text", "a red car", "zebra"]
PAIRS = [("red", "red apple"), ("red", "a car"), ("zebra", "zebra")]
TASK = "limit,docs=40,queries=9,k=2,attributes=5"


def arrays(values: Any) -> list[np.ndarray]:
    """What decides whether vectors are the same to the bit."""
    if isinstance(values, Dense):
        return [values.values]
    if isinstance(values, Sparse):
        return [values.matrix.data, values.matrix.indices, values.matrix.indptr]
    if isinstance(values, MultiVector):
        return [values.values, values.offsets]
    return [np.asarray(values)]


def digest(encoder: Encoder) -> str:
    """SHA-256 of what an encoder makes of the texts."""
    found: list[Embeddings | np.ndarray] = []
    if isinstance(encoder, CollectionEncoder):
        made = encoder.encode_collection(TEXTS, TEXTS[:2])
        found += [made.documents, made.queries]
    else:
        found += [encoder.encode(TEXTS, role).values for role in ("query", "document", "text")]
    whole = hashlib.sha256()
    for values in found:
        for array in arrays(values):
            whole.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return whole.hexdigest()


def again(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.fixture(scope="module")
def models(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a masked language model, a cross-encoder and word vectors."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("values")
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny)
    BertForMaskedLM(config).save_pretrained(folder / "masked")
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(folder / "cross")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        for model in ("masked", "cross"):
            shutil.copyfile(tiny / name, folder / model / name)
    (folder / "words.txt").write_text("red 1 0\napple 0 2\ncar 3 1\n")
    return folder


def specs(models: Path, tiny: Path, url: str) -> dict[str, str]:
    """One of every registered encoder."""
    return {
        "hashing": "hashing,dim=32",
        "bm25": "bm25,k1=0.9",
        "tfidf-svd": "tfidf-svd,dim=3",
        "words": f"words:{models / 'words.txt'},weighting=sif",
        "st": f"st:{tiny},query_prompt=find,dim=16",
        "splade": f"splade:{models / 'masked'}",
        "colbert": f"colbert:{tiny},seed=3",
        "api": f"api:m,url={url},batch_size=2",
    }


def registered(registry: Any) -> set[str]:
    """Names of what the package itself registers."""
    found = registry.entries()
    return {one.name for one in found if one.factory.__module__.startswith("harness.")}


def test_every_registered_encoder_is_the_same_to_the_bit(models, tiny, server):
    ours = specs(models, tiny, server.url)
    assert set(ours) == registered(ENCODERS)
    for spec in ours.values():
        encoder = ENCODERS.create(spec)
        back = again(encoder)
        assert back == encoder, spec
        assert digest(back) == digest(encoder), spec
        assert back.fingerprint() == encoder.fingerprint(), spec
        assert len(pickle.dumps(encoder)) < 5000, f"{spec} carries weights"


CHILD = """
import pickle, sys
from tests.test_values import digest
for line in sys.stdin:
    print(digest(pickle.loads(bytes.fromhex(line))))
"""


def test_another_process_encodes_the_same_bits(models, tiny, packaged):
    given = [*specs(models, tiny, "http://h").values()][:-1]
    encoders = [ENCODERS.create(spec) for spec in [*given, "minilm"]]
    for encoder in encoders:
        digest(encoder)  # so that what is loaded already is seen not to travel
    encoders.append(user_model.adapt(letters))
    lines = "".join(f"{pickle.dumps(encoder).hex()}\n" for encoder in encoders)
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=lines, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(encoder) for encoder in encoders]


def letters(texts: Sequence[str], role: str = "") -> np.ndarray:
    return np.array([[text.count(letter) for letter in "aer"] + [len(role)] for text in texts])


class Letters:
    """A model of one's own that knows what it is."""

    fingerprint = "letters, 1"

    def encode(self, texts: Sequence[str], prompt_type: str | None = None) -> np.ndarray:
        return letters(texts, prompt_type or "")


def counts(texts: Sequence[str]) -> list[list[int]]:
    return [[len(text), 1] for text in texts]


@pytest.mark.parametrize("model", [letters, Letters(), Letters().encode, counts])
def test_a_model_of_ones_own_too(model):
    encoder = user_model.adapt(model)
    back = again(encoder)
    assert digest(back) == digest(encoder)
    assert back.fingerprint() == encoder.fingerprint()


def test_a_loaded_model_of_sentence_transformers_too(tiny):
    from sentence_transformers import SentenceTransformer

    encoder = user_model.adapt(SentenceTransformer(str(tiny), device="cpu"))
    assert digest(again(encoder)) == digest(encoder)


def test_every_registered_reranker_is_the_same_to_the_bit(models, server, tmp_path):
    ours = {"cross": f"cross:{models / 'cross'}", "api": f"api:m,url={server.url}"}
    assert set(ours) == registered(RERANKERS)
    for name, spec in ours.items():
        reranker = RERANKERS.create(spec)
        scores = reranker.score(PAIRS, silent, root=tmp_path / name / "one").scores
        back = again(reranker)
        assert back == reranker
        found = back.score(PAIRS, silent, root=tmp_path / name / "other").scores
        np.testing.assert_array_equal(found, scores)
        assert len(pickle.dumps(reranker)) < 5000, f"{spec} carries weights"


def test_every_registered_rewriting_is_the_same_to_the_bit(server, tmp_path):
    from scipy.sparse import csr_matrix

    chat = f"chat:m,url={server.url},style=document"
    ours = {name: name for name in ("none", "rm3", "average", "rocchio")} | {"chat": chat}
    assert set(ours) == registered(REWRITERS)
    values = np.float32([[1, 0, 2], [0, 3, 1]])
    run = Run(np.int32([[0, 1], [1, 0]]), np.float32([[2, 1], [3, 1]]))
    for name, spec in ours.items():
        rewriter = REWRITERS.create(spec)
        back = again(rewriter)
        assert back == rewriter
        if isinstance(rewriter, TextRewriter):
            one, other = (
                each.rewrite(["one", "two"], silent, root=tmp_path / f"{name}{place}")
                for place, each in enumerate((rewriter, back))
            )
            assert one == other
            continue
        sparse = name == "rm3"
        vectors = Sparse(csr_matrix(values)) if sparse else Dense(values)
        moved = [each.expand(vectors, vectors, run, silent) for each in (rewriter, back)]
        for a, b in zip(*map(arrays, moved), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "spec",
    [
        "rrf:bm25+[hashing,dim=64]",
        "convex:bm25+hashing,weights=0.3+0.7,norm=theoretical",
        "rerank:hashing,first=bm25,depth=5",
    ],
)
def test_every_registered_retriever_ranks_the_same(spec, tmp_path):
    data = catalog.task(TASK).load()
    request = Request(10, Store(tmp_path))
    retriever = RETRIEVERS.create(spec)
    back = again(retriever)
    assert back == retriever
    one, other = (each.rank(spec, data, request).run for each in (retriever, back))
    np.testing.assert_array_equal(one.docs, other.docs)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert registered(RETRIEVERS) == {"rrf", "convex", "rerank", "search"}


# --- what decides vectors, and what made them ---------------------------------------------------


@pytest.mark.filterwarnings("ignore::harness.errors.RenamedWarning")
def test_new_names_of_parameters_leave_the_store_where_it_is(packaged, tmp_path):
    """Addresses as they were when parameters had their old names."""
    for specs_, address in ADDRESSES:
        for spec in specs_:
            plan = Store(tmp_path).plan(ENCODERS.create(spec), ["a"], "query")
            assert plan.space.name == address, spec


ADDRESSES = [
    (["hashing,dim=64"], "b9566e74e1da57631a92439210a68973"),
    (["minilm,truncate_dim=128", "minilm,dim=128"], "5f8611aca188598dc1a48849e6d94c0d"),
    (["api:m,url=http://h/v1,style=tei,truncate=true",
      "api:m,url=http://h/v1,dialect=tei,truncate=true"], "a32cd223d74c9c11a6b060ed74fb369b"),
    (["api:m,url=http://h/v1,dimensions=3,batch=2,query_type=q",
      "api:m,url=http://h/v1,dim=3,batch_size=9,query_type=q"], "65dc6c63caa93446561340fd8219b90c"),
]  # fmt: skip


def test_what_made_vectors_is_told_and_decides_nothing(models, tiny):
    for name, spec in specs(models, tiny, "http://h").items():
        encoder = ENCODERS.create(spec)
        made = encoder.made_with()
        assert all(isinstance(key, str) and isinstance(made[key], str) for key in made), name
        assert bool(made) == (name != "api"), name
    torch = ENCODERS.create(f"st:{tiny}")
    keys = ["device", "threads", "dtype", "batch_size", "packing"]
    assert [*torch.made_with()] == [*keys, "torch", "transformers", "sentence-transformers"]
    assert torch.made_with()["batch_size"] == "32"
    other = replace(torch, batch_size=2)
    assert other.made_with() != torch.made_with()
    assert other.fingerprint() == torch.fingerprint()
    assert RERANKERS.create(f"cross:{models / 'cross'}").made_with() == torch.made_with()


def test_optional_members_have_defaults():
    class Least(TextEncoder):
        representation, similarity = "dense", "cosine"

        def fingerprint(self) -> dict[str, object]:
            return {}

        def encode(self, texts: Sequence[str], role: Any) -> Any:
            raise NotImplementedError

    least = Least()
    assert (least.notes, least.cacheable, least.batch_size) == ((), True, 0)
    assert (least.paid, least.no_usage, least.prompt("query"), least.made_with()) == (
        False, {}, "", {},
    )  # fmt: skip
    assert least.for_task(Purpose(instructions={"query": "x"})) is least
    least.load()
    with pytest.raises(TypeError, match="abstract"):
        TextEncoder()
