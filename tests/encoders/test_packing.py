"""Packed batches: what they hold, that they make the vectors of padded ones, and where they do not.

Expected vectors are those of sentence-transformers' own `encode`, which pads.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.encoders import ENCODERS
from harness.encoders.pretrained import PretrainedEncoder
from harness.errors import EncodingError, InputError
from tests.encoders.refusals import refused

WORDS = [1, 1, 3, 8, 20, 20, 60, 200]  # more than the 16 tokens of a window, and than any limit
TEXTS = [" ".join(f"thing {at * 7 % 13}" for at in range(words)) for words in WORDS]
SMALL: dict[str, Any] = {
    "vocab_size": 30522,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
}
RANDOM = {  # the pooling, what the configuration adds
    "Bert": ("mean", {}),
    "Roberta": ("cls", {"pad_token_id": 1, "type_vocab_size": 1}),
    "XLMRoberta": ("mean", {"pad_token_id": 1, "type_vocab_size": 1}),
    "DistilBert": ("mean", {}),
    "ModernBert": (
        "cls",
        {"pad_token_id": 0, "local_attention": 16, "global_attn_every_n_layers": 2},
    ),
    "Qwen3": ("lasttoken", {"num_key_value_heads": 2, "head_dim": 8}),
}


def save(folder: Path, packaged: Path, kind: str, pooling: str = "mean", **changes: Any) -> Path:
    """A random model of that kind, as sentence-transformers saves it."""
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    torch.manual_seed(0)
    body = getattr(transformers, f"{kind}Model")(
        getattr(transformers, f"{kind}Config")(**SMALL, initializer_range=0.3, **changes)
    )
    body.save_pretrained(folder / "body", safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(packaged / name, folder / "body" / name)
    first = Transformer(str(folder / "body"))
    first.max_seq_length = 100
    modules = [first, Pooling(32, pooling, include_prompt=pooling != "mean"), Normalize()]
    model = SentenceTransformer(modules=modules, prompts={"query": "find this: "})
    model.save_pretrained(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


@pytest.fixture(scope="module")
def bert(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("bert"), packaged, "Bert")


def create(folder: Path, options: str = "") -> PretrainedEncoder:
    made = ENCODERS.create(f"st:{folder}{options}")
    assert isinstance(made, PretrainedEncoder)
    return made


def peer(folder: Path, kind: str = "SentenceTransformer") -> Any:
    import sentence_transformers

    return getattr(sentence_transformers, kind)(str(folder), device="cpu", local_files_only=True)


def test_batches_are_filled_by_tokens_the_longest_first_those_of_a_length_side_by_side():
    from harness.packing.batches import fill

    lengths = np.array([3, 5, 2, 5, 9], np.int32)
    assert [rows.tolist() for rows in fill(lengths, np.arange(4), 8)] == [[1], [3, 0], [2]]
    assert fill(lengths, np.arange(5), 8)[0].tolist() == [4]  # larger than a batch, alone
    assert [rows.tolist() for rows in fill(lengths, np.array([2, 1, 3]), 12)] == [[1, 3, 2]]
    assert fill(lengths, np.arange(0), 8) == []


def test_a_batch_lies_flat_with_positions_of_its_own_for_each_text():
    from harness.packing.batches import ROWS, lay_out

    rows = [{"input_ids": [7, 8, 9], "types": [0, 1, 1]}, {"input_ids": [5, 6], "types": [0, 1]}]
    laid = lay_out(rows, 2, padding=1)
    more = ROWS - 2  # texts of one token stand behind: products of few rows have sums of their own
    assert laid["input_ids"].tolist() == [[7, 8, 9, 5, 6] + [1] * more]
    assert laid["types"].tolist() == [[0, 1, 1, 0, 1] + [0] * more]
    assert laid["position_ids"].tolist() == [[2, 3, 4, 2, 3] + [2] * more]
    assert laid["cu_seq_lens_q"].tolist() == [0, 3, *range(5, 6 + more)]
    assert (laid["max_length_q"], laid["groups"]) == (3, ((0, 1, 3), (3, 1, 2), (5, more, 1)))


@pytest.mark.parametrize("kind", RANDOM)
def test_packed_vectors_are_those_of_padded_batches(kind, packaged, tmp_path):
    pooling, changes = RANDOM[kind]
    folder = save(tmp_path, packaged, kind, pooling, **changes)
    encoder, model = create(folder), peer(folder)
    assert encoder.loaded.packed is not None
    for role, prompt in (("document", None), ("query", "find this: ")):
        made = encoder.encode(TEXTS, role)
        np.testing.assert_allclose(made.values, model.encode(TEXTS, prompt=prompt), atol=2e-6)
        asked = [(prompt or "") + text for text in TEXTS]
        counts = [len(ids) for ids in model.tokenizer(asked, truncation=False)["input_ids"]]
        assert made.tokens.tolist() == counts
        assert made.truncated.tolist() == [each > 100 for each in counts]
        assert made.notes == ()


def test_a_text_has_the_same_bits_in_any_batch(bert):
    whole = create(bert).encode(TEXTS, "document").values
    for options in (",batch_tokens=1", ",batch_tokens=40", ",batch_tokens=150"):
        np.testing.assert_array_equal(create(bert, options).encode(TEXTS, "document").values, whole)
    alone = [create(bert).encode([text], "document").values[0] for text in TEXTS]
    np.testing.assert_array_equal(alone, whole)
    rows, parts = zip(*create(bert, ",batch_tokens=4").stream(TEXTS, "document"), strict=True)
    assert [row.start for row in rows] == [0, *(row.stop for row in rows[:-1])]
    assert len(rows) > 2
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), whole)


def test_a_text_without_tokens_is_left_out_of_its_batch(bert, monkeypatch):
    encoder = create(bert)
    tokenizer = encoder.model.tokenizer
    monkeypatch.setattr(tokenizer.backend_tokenizer, "post_processor", None, raising=False)
    made = encoder.encode(["", "some words", ""], "document")
    assert made.tokens.tolist() == [0, 2, 0]
    assert made.values[0].tolist() == made.values[2].tolist() == [0.0] * 32
    assert np.linalg.norm(made.values[1]) == pytest.approx(1)
    assert create(bert).encode([""] * 2, "document").values.shape == (2, 32)


def test_without_packing_it_encodes_as_sentence_transformers_does_to_the_bit(bert):
    encoder = create(bert, ",packing=off")
    assert encoder.loaded.packed is None
    expected = peer(bert).encode(TEXTS, batch_size=32)
    np.testing.assert_array_equal(encoder.encode(TEXTS, "document").values, expected)
    assert (encoder.made_with()["packing"], create(bert).made_with()["packing"]) == ("off", "on")


def test_a_model_whose_packed_vectors_differ_is_left_as_it_is_and_says_so(bert, monkeypatch):
    from harness.encoders.models import MODELS
    from harness.packing import batches

    across = lambda lengths: [(0, 1, sum(lengths))]  # noqa: E731  all texts as one
    monkeypatch.setattr(batches, "group", across)
    MODELS.clear()
    encoder = create(bert)
    made = encoder.encode(TEXTS, "document")
    assert encoder.loaded.packed is None
    (note,) = made.notes
    assert note.startswith(f"{bert} reads padded batches: packed ones ")
    np.testing.assert_array_equal(made.values, peer(bert).encode(TEXTS, batch_size=32))
    MODELS.clear()


def test_a_full_device_gets_smaller_batches_and_the_record_is_told_once(bert, monkeypatch):
    from harness.encoders.models import MODELS
    from harness.packing.model import Packed

    read, asked = Packed.read, list[int]()

    def full(self, rows, *rest):
        tokens = sum(len(row["input_ids"]) for row in rows)
        asked.append(tokens)
        if tokens > 210:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        return read(self, rows, *rest)

    expected = create(bert).encode(TEXTS, "document").values
    MODELS.clear()
    encoder = create(bert, ",batch_tokens=400")
    assert encoder.loaded.packed is not None
    monkeypatch.setattr(Packed, "read", full)
    made = encoder.encode(TEXTS, "document")
    np.testing.assert_array_equal(made.values, expected)
    assert asked[:2] == [318, 100]
    assert made.notes == ("the device was full: batches of 159 tokens since",)
    assert encoder.encode(TEXTS, "document").notes == ()
    monkeypatch.setattr(Packed, "read", lambda *asked: full(asked[0], [{"input_ids": [1] * 999}]))
    with pytest.raises(EncodingError) as refusal:
        encoder.encode(TEXTS[:1], "document")
    assert str(refusal.value) == (
        f"{bert} fails on 1 text: the device is out of memory (21.5 GB more were asked for): "
        "choose a smaller max_length, dtype=bfloat16, another device or device=cpu"
    )
    MODELS.clear()


def test_of_a_huge_text_tokens_are_counted_as_far_as_the_model_could_read(bert, monkeypatch):
    from harness.packing import model

    monkeypatch.setattr(model, "LONGEST", 600)
    texts = ["word " * 200, "word " * 20 + " " * 2000, "words", " " * 700 + "last"]
    made = create(bert).encode(texts, "document")
    assert made.tokens.tolist() == [122, 22, 3, 3]
    assert made.truncated.tolist() == [True, False, False, False]
    assert made.notes == ("tokens of 1 text counted in the first 600 characters",)
    np.testing.assert_allclose(made.values, peer(bert).encode(texts), atol=2e-6)


def test_queries_that_are_filled_up_are_padded(tiny, tmp_path):
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(tiny), device="cpu", local_files_only=True)
    model[0].query_expansion = {"strategy": "fixed", "attend": False, "length": 8}
    model.save_pretrained(str(tmp_path / "late"), create_model_card=False)
    encoder: Any = ENCODERS.create(f"colbert:{tmp_path / 'late'}")
    packed = encoder.loaded.packed
    assert (packed.reads("document"), packed.reads("query")) == (True, False)
    for role, encode in (("query", model.encode_query), ("document", model.encode_document)):
        made = encoder.encode(TEXTS, role).values
        expected = encode(TEXTS)
        assert np.diff(made.offsets).tolist() == [len(each) for each in expected]
        np.testing.assert_allclose(made.values, np.concatenate(expected), atol=2e-6)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "ModernBert"])
def test_classifiers_read_packed_pairs(kind, packaged, tmp_path):
    import torch
    import transformers

    from harness.progress import silent
    from harness.rerankers import RERANKERS

    changes = {**RANDOM[kind][1], "classifier_pooling": "cls"} if kind == "ModernBert" else {}
    if kind == "Roberta":
        changes = {"pad_token_id": 1, "type_vocab_size": 2}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        **SMALL, initializer_range=0.3, num_labels=1, **changes
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    model.save_pretrained(tmp_path, safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(packaged / name, tmp_path / name)
    reranker: Any = RERANKERS.create(f"cross:{tmp_path},max_length=100")
    assert reranker.loaded.packed is not None
    pairs = [(TEXTS[at % 4], text) for at, text in enumerate(TEXTS)]
    found = reranker.score(pairs, silent)
    own = peer(tmp_path, "CrossEncoder")
    own.max_seq_length = 100
    expected = own.predict(pairs, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-5)
    assert found.truncated == 2
    off = RERANKERS.create(f"cross:{tmp_path},max_length=100,packing=off").score(pairs, silent)
    assert (off.tokens, off.truncated) == (found.tokens, found.truncated)


@pytest.mark.parametrize("kind", ["MPNet"])
def test_an_architecture_that_attends_in_its_own_way_is_left_as_it_is(kind, packaged, tmp_path):
    folder = save(tmp_path, packaged, kind)
    encoder = create(folder)
    assert (encoder.loaded.packed, encoder.loaded.notes) == (None, ())
    made = encoder.encode(TEXTS, "document").values
    np.testing.assert_array_equal(made, peer(folder).encode(TEXTS, batch_size=32))


def test_a_batch_of_no_tokens_and_another_word_for_packing_are_refused(bert):
    assert refused(f"st:{bert},batch_tokens=0").endswith("batch_tokens=0: expected at least 1")
    assert "packing=perhaps" in refused(f"st:{bert},packing=perhaps")


def test_another_attention_is_padded_and_makes_the_same_vectors(bert):
    expected = create(bert).encode(TEXTS, "document").values
    for attention in ("eager", "sdpa"):
        encoder = create(bert, f",attention={attention}")
        assert encoder.model[0].model.config._attn_implementation == attention
        assert encoder.loaded.packed is None
        assert encoder.made_with()["attention"] == attention
        made = encoder.encode(TEXTS, "document").values
        np.testing.assert_allclose(made, expected, atol=2e-6)
        assert encoder.fingerprint() == create(bert).fingerprint()


def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(bert):
    for options in ("", ",packing=off"):
        room = create(bert, f",max_length=8,query_prompt=one two three four five{options}")
        assert room.encode(["x"], "query").tokens.tolist() == [8]
        full = create(bert, f",max_length=8,query_prompt=one two three four five six{options}")
        with pytest.raises(InputError) as refusal:
            full.encode(["x"], "query")
        assert str(refusal.value) == (
            f"{bert}: its query prompt has 8 tokens, with the marks around it, of 8 that the model "
            "reads: expected room for a text"
        )
        assert full.encode(["x"], "document").tokens.tolist() == [3]


def test_a_dtype_that_the_processor_computes_slowly_is_told(bert, monkeypatch):
    import torch

    from harness.encoders import devices
    from harness.encoders.models import MODELS

    monkeypatch.setattr(devices, "machine", lambda: "x86_64")
    said = f"{bert}: dtype=bfloat16 is slow on this processor, for want of AVX512-BF16 and AMX"
    for fast, notes in ((False, (said,)), (True, ())):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        MODELS.clear()
        made = create(bert, ",dtype=bfloat16").encode(["words"], "document")
        assert made.notes == notes
    MODELS.clear()


def test_a_model_without_a_limit_says_that_it_reads_all_of_a_text(bert, monkeypatch):
    encoder = create(bert)
    assert encoder.loaded.notes == ()
    monkeypatch.setattr(type(encoder.model), "max_seq_length", 10**30)
    said = f"{bert} names no limit: all tokens of a text are read"
    assert encoder.warn_unlimited(encoder.model) == (said,)


def test_time_left_is_told_by_tokens(bert, tmp_path):
    from harness.store import Store

    seen = list[tuple[int, int, str]]()
    encoder = create(bert, ",batch_tokens=4")
    plan = Store(tmp_path / "store").plan(encoder, TEXTS, "document")
    plan.fetch(lambda stage, done, total, unit: seen.append((done, total, unit)))
    assert seen[0] == (0, 6, "texts")  # each once
    read = 4 + 8 + 18 + 42 + 100 + 100
    assert seen[-1] == (read, read, "tokens")
    assert [done for done, *_ in seen] == sorted(done for done, *_ in seen)
    assert all(unit == "tokens" and done <= total for done, total, unit in seen[1:])
