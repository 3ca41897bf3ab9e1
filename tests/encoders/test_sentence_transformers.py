"""Models of sentence-transformers: what identifies them, what they are asked, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import accelerators, systems
from harness.data import Role
from harness.encoders import ENCODERS, Encoder, TextEncoder, encoder_spec
from harness.encoders.user_model import adapt
from harness.errors import EncodingError, InputError
from harness.spec import Spec
from harness.store import Store
from tests.encoders.refusals import refused

Copy = Callable[..., Path]


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Copy:
    """Make a copy of the tiny model with some JSON files changed."""

    def make(name: str = "copy", **changes: dict) -> Path:
        folder = tmp_path / name
        shutil.copytree(tiny, folder)
        for file, content in changes.items():
            path = folder / f"{file}.json"
            known = json.loads(path.read_text())
            path.write_text(json.dumps({**known, **content}))
        return folder

    return make


def create(folder: Path, options: str = "") -> Encoder:
    return ENCODERS.create(f"st:{folder}{options}")


def cosines(values: np.ndarray) -> np.ndarray:
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit @ unit.T


def prompts_of(encoder: TextEncoder) -> dict[Role, str]:
    roles: tuple[Role, ...] = ("query", "document", "text")
    return {role: encoder.prompt(role) for role in roles}


def test_the_packaged_minilm_gives_its_known_vectors(packaged):
    encoder = ENCODERS.create("minilm")
    made = encoder.encode(
        ["A cat sat on the mat.", "A cat is sitting on a mat.", "Quarterly revenue fell."], "text"
    )
    assert made.values.shape == (3, 384)
    assert made.values.dtype == np.float32
    np.testing.assert_allclose(made.values[0, :3], [0.120813, -0.023536, -0.036689], atol=2e-5)
    np.testing.assert_allclose(cosines(made.values)[0], [1, 0.946797, -0.003559], atol=2e-5)
    assert made.tokens.tolist() == [9, 10, 6]
    assert not made.truncated.any()
    assert encoder.model.max_seq_length == 256
    assert prompts_of(encoder) == {"query": "", "document": "", "text": ""}
    assert encoder.similarity == "cosine"
    assert str(ENCODERS.resolve("minilm")) == (
        "st:minilm,batch_size=32,device=auto,dtype=float32,packing=on,trust_remote_code=false"
    )


def test_a_folder_may_be_named_bare(tiny):
    assert encoder_spec(str(tiny)) == Spec("st", str(tiny))
    assert encoder_spec(f"{tiny},dtype=float16") == Spec("st", str(tiny), (("dtype", "float16"),))
    assert encoder_spec("organisation/name") == Spec("st", "organisation/name")
    assert encoder_spec("bm25") == Spec("bm25")


def test_a_folder_whose_name_holds_a_colon_may_be_named_bare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c:d").mkdir()
    for path in ("./c:d", f"{tmp_path}/c:d", "c:d"):
        assert encoder_spec(f"{path},dtype=float16").target == path
        assert str(systems.resolve(path)).startswith(f"st:{path},batch_size=32")
    with pytest.raises(InputError, match=r"unknown model '\./c'"):  # no such folder
        systems.resolve("./c:e")


@pytest.mark.parametrize("query", ["find: ", "", "\t", "a=b ", "\u00a0x\u00a0"])
def test_prompts_arrive_as_they_are_given(tiny, query):
    asked = create(tiny, f",query_prompt={query},document_prompt=passage: ")
    assert prompts_of(asked) == {"query": query, "document": "passage: ", "text": ""}


def test_it_encodes_as_sentence_transformers_does(tiny):
    from sentence_transformers import SentenceTransformer

    texts = ["one", "", "several words of one text", "two words"]
    found = create(tiny).encode(texts, "document")
    expected = SentenceTransformer(str(tiny), local_files_only=True).encode(texts)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.tokens.tolist() == [3, 2, 7, 4]


def test_prompts_of_the_model_are_honoured_in_each_role(copy):
    prompts = {"query": "search: ", "passage": "passage: ", "other": "?"}
    encoder = create(copy(config_sentence_transformers={"prompts": prompts}))
    plain = create(copy("plain"))
    assert [encoder.prompt(role) for role in ("query", "document", "text")] == [
        "search: ",
        "passage: ",
        "",
    ]
    query = encoder.encode(["cats"], "query")
    document = encoder.encode(["cats"], "document")
    text = encoder.encode(["cats"], "text")
    for made, written in ((query, "search: cats"), (document, "passage: cats"), (text, "cats")):
        expected = plain.encode([written], "text")
        np.testing.assert_allclose(made.values, expected.values, atol=1e-6)
        assert made.tokens.tolist() == expected.tokens.tolist()
    assert np.abs(query.values - document.values).max() > 0.01


def test_the_models_default_prompt_serves_sentences_of_pairs(copy):
    settings = {"prompts": {"sts": "same: ", "query": "q: "}, "default_prompt_name": "sts"}
    encoder = create(copy(config_sentence_transformers=settings))
    assert prompts_of(encoder) == {"query": "q: ", "document": "", "text": "same: "}
    expected = create(copy("plain")).encode(["same: cats"], "text").values
    np.testing.assert_allclose(encoder.encode(["cats"], "text").values, expected, atol=1e-6)
    # and does not creep into a role that has no prompt
    bare = create(copy("other")).encode(["cats"], "document").values
    np.testing.assert_allclose(encoder.encode(["cats"], "document").values, bare, atol=1e-6)


def test_prompts_in_the_spec_replace_those_of_the_model(copy):
    folder = copy(config_sentence_transformers={"prompts": {"query": "q: ", "document": "d: "}})
    encoder = create(folder, ",query_prompt=find%3A%20,document_prompt=")
    assert prompts_of(encoder) == {"query": "find: ", "document": "", "text": ""}
    expected = create(folder).encode(["find: cats"], "text").values
    np.testing.assert_allclose(encoder.encode(["cats"], "query").values, expected, atol=1e-6)


def test_a_prompt_makes_another_entry_of_the_store(tiny, tmp_path):
    store = Store(tmp_path / "store")
    made = [
        store.plan(create(tiny, options), ["cats"], "query").fetch().made
        for options in ("", ",query_prompt=q%3A%20", "", ",document_prompt=d%3A%20")
    ]
    assert made == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ("", True),
        (",batch_size=2", True),
        (",device=cpu", True),
        (",dtype=bfloat16", False),
        (",max_length=8", False),
        (",dim=8", False),
    ],
)
def test_the_fingerprint_holds_what_decides_a_vector_and_nothing_else(tiny, options, same):
    assert (create(tiny, options).fingerprint() == create(tiny).fingerprint()) is same


def test_two_folders_share_vectors_only_if_their_content_is_the_same(tiny, copy, tmp_path):
    from safetensors.numpy import load_file, save_file

    other = copy("other")
    weights = load_file(other / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] *= -1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    changed = copy("changed", sentence_bert_config={"max_seq_length": 16})
    store, texts = Store(tmp_path / "store"), ["cats", "dogs"]
    made = [
        store.plan(create(folder), texts, "document").fetch() for folder in (tiny, other, changed)
    ]
    assert [found.made for found in made] == [2, 2, 2]
    assert np.abs(made[0].encoded.values - made[1].encoded.values).max() > 0.01
    assert store.plan(create(copy("same")), texts, "document").fetch().made == 0


def test_fewer_dimensions(tiny):
    whole = create(tiny).encode(["cats", "dogs"], "text").values
    found = create(tiny, ",dim=8").encode(["cats", "dogs"], "text").values
    np.testing.assert_allclose(found, whole[:, :8], atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near_and_comes_back_as_float32(tiny, dtype):
    texts = ["cats and dogs", "a"]
    whole = create(tiny).encode(texts, "text").values
    found = create(tiny, f",dtype={dtype}").encode(texts, "text").values
    assert found.dtype == np.float32
    assert not np.array_equal(found, whole)
    np.testing.assert_allclose(found, whole, atol=0.05)


def test_texts_longer_than_the_model_reads_are_counted(tiny):
    long = "word " * 30  # 30 tokens and two marks
    made = create(tiny).encode([long, long + "word", "word"], "document")
    assert made.tokens.tolist() == [32, 33, 3]
    assert made.truncated.tolist() == [False, True, False]
    np.testing.assert_allclose(made.values[0], made.values[1], atol=1e-6)

    short = create(tiny, ",max_length=8").encode(["a b c d e f", "a b c d e f g"], "document")
    assert short.truncated.tolist() == [False, True]
    np.testing.assert_allclose(short.values[0], short.values[1], atol=1e-6)


def test_a_prompt_takes_room_from_the_text(tiny):
    made = create(tiny, ",max_length=8,query_prompt=a%20b%20").encode(["c d e f g"], "query")
    assert made.tokens.tolist() == [9]
    assert made.truncated.tolist() == [True]


def test_the_spec_may_ask_for_all_positions_and_no_more(tiny):
    long = "word " * 62
    assert not create(tiny, ",max_length=64").encode([long], "text").truncated.any()
    assert refused(f"st:{tiny},max_length=65") == (
        f"{tiny}: max_length=65: the model reads 64 tokens"
    )


@pytest.fixture
def roberta(tiny: Path, tmp_path: Path) -> Path:
    """A RoBERTa of 34 positions, the first two of them for padding; its tokenizer has no limit."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=30522, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(tmp_path / "roberta")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny / name, tmp_path / "roberta" / name)
    path = tmp_path / "roberta" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": 10**30}))
    return tmp_path / "roberta"


@pytest.mark.parametrize("name", ["st", "colbert"])
def test_a_roberta_reads_no_more_than_its_positions(roberta, name):
    texts = ["a " * 30, "a " * 31, "a " * 500]  # with two tokens around them
    made = ENCODERS.create(f"{name}:{roberta}").encode(texts, "document")
    assert made.tokens.tolist() == [32, 33, 502]
    assert made.truncated.tolist() == [False, True, True]
    assert refused(f"{name}:{roberta},max_length=33") == (
        f"{roberta}: max_length=33: the model reads 32 tokens"
    )


def test_a_roberta_that_is_handed_over_is_told_of_its_positions(roberta):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(roberta), device="cpu", local_files_only=True)
    assert model.max_seq_length == 34
    with pytest.raises(InputError, match=r"has 32 positions: expected model.max_seq_length = 32"):
        adapt(model)
    model.max_seq_length = 32
    assert adapt(model).encode(["a " * 500], "query").truncated.tolist() == [True]


@pytest.mark.parametrize("name", ["max_length", "dim", "batch_size"])
def test_sizes_below_one_are_refused(tiny, name):
    assert refused(f"st:{tiny},{name}=0") == f"{tiny}: {name}=0: expected at least 1"


@pytest.mark.parametrize("dim", [33, 64, 9999])
def test_more_dimensions_than_there_are_are_refused(tiny, dim):
    """Also where the weights are in memory already, for fewer dimensions."""
    assert np.shape(create(tiny, ",dim=32").encode(["cats"], "query").values) == (1, 32)
    for name in ("dim", "truncate_dim"):
        with pytest.warns() if name == "truncate_dim" else nullcontext():
            encoder = create(tiny, f",{name}={dim}")
        for texts in (["cats"], []):
            with pytest.raises(InputError) as caught:
                encoder.encode(texts, "query")
            assert str(caught.value) == f"{tiny}: dim={dim}: the model makes 32-d vectors"


def test_an_unknown_dtype_is_refused_with_the_choices(tiny):
    assert refused(f"st:{tiny},dtype=int8") == (
        "st: dtype=int8: expected one of float32, float16, bfloat16"
    )


def test_a_cuda_device_must_answer(tiny, monkeypatch):
    monkeypatch.setattr(accelerators, "present", lambda: False)
    assert refused(f"st:{tiny},device=cuda") == (
        f"{tiny}: device=cuda, but no CUDA device answers: use device=cpu "
        "(no NVIDIA driver is loaded)"
    )


def test_a_similarity_that_cannot_be_searched_is_refused(copy):
    dot = copy("dot", config_sentence_transformers={"similarity_fn_name": "dot"})
    assert create(dot).similarity == "dot"
    other = copy("other", config_sentence_transformers={"similarity_fn_name": "euclidean"})
    assert refused(str(other)) == f"{other} compares vectors by euclidean: expected cosine or dot"


def test_code_that_a_model_brings_is_refused_before_it_runs(copy, tmp_path):
    folder = copy(config={"auto_map": {"AutoModel": "custom.Model"}})
    marker = tmp_path / "ran"
    (folder / "custom.py").write_text(f"open({str(marker)!r}, 'w')")
    assert refused(str(folder)) == (
        f"{folder} brings its own code (AutoModel): refused; "
        "if you trust its authors, add trust_remote_code=true to the spec"
    )
    assert not marker.exists()
    assert create(folder, ",trust_remote_code=true").checkpoint.options.trust_remote_code


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("st:./no/such/folder", "./no/such/folder: no such folder, and not a hub id"),
        ("/no/such/folder", "/no/such/folder: no such folder, and not a hub id"),
        ("st:nothing", "nothing: no such folder, and not a hub id (organisation/name)"),
        ("no-such/model", "no-such/model: cannot be fetched from the hub (LocalEntryNotFound"),
        ("minilm,revision=main", "minilm is no model of the hub: it has no revision=main"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_clear_line(packaged, spec, message):
    assert refused(spec).startswith(message)


def test_a_folder_that_holds_no_model(tmp_path, copy):
    assert refused(f"st:{tmp_path}") == (
        f"{tmp_path}: no modules.json or config.json: expected a model's folder"
    )
    empty = copy("empty")
    (empty / "model.safetensors").unlink()
    assert refused(str(empty)).startswith(f"{empty}: no *.safetensors in {empty}")
    broken = copy()
    (broken / "model.safetensors").write_bytes(b"nothing of the kind")
    assert refused(str(broken)).startswith(f"{broken}: cannot be loaded: ")
    garbled = copy("garbled")
    (garbled / "modules.json").write_text("[{")
    assert refused(str(garbled)).startswith(f"{garbled}/modules.json: not a readable JSON file: ")


def test_texts_without_tokens_are_zero_vectors_or_none(tmp_path):
    """A tokenizer that adds no marks: a batch of nothing would stop the model."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "cat": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    config = BertConfig(vocab_size=3, num_hidden_layers=1, max_position_embeddings=8, **sizes)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(tmp_path)

    encoder = create(tmp_path, ",batch_size=1")
    made = encoder.encode(["", "cat", " ", "dog"], "document")
    assert made.tokens.tolist() == [0, 1, 0, 1]
    assert made.values.any(axis=1).tolist() == [False, True, False, True]
    np.testing.assert_allclose(made.values[1], encoder.encode(["cat"], "document").values[0])
    assert encoder.encode(["", " "], "document").values.tolist() == [[0] * 16] * 2

    sparse, many = (ENCODERS.create(f"{name}:{tmp_path}") for name in ("splade", "colbert"))
    terms = sparse.encode(["", "cat", " "], "document").values.matrix
    assert (np.diff(terms.indptr) > 0).tolist() == [False, True, False]
    assert sparse.encode([""], "query").values.matrix.shape == (1, 3)
    assert many.encode(["", "cat", " "], "document").values.lengths.tolist() == [0, 1, 0]
    assert many.encode(["", ""], "query").values.values.shape == (0, 128)


def test_an_empty_text_has_the_vector_of_the_marks(packaged):
    made = ENCODERS.create("minilm").encode(["", " "], "text")
    assert made.tokens.tolist() == [2, 2]
    np.testing.assert_allclose(made.values[0], made.values[1], atol=1e-6)
    assert made.values.any()


@pytest.mark.parametrize("kind", ["st", "colbert"])
def test_a_model_that_fails_on_texts_is_one_line(tiny, monkeypatch, kind):
    encoder = ENCODERS.create(f"{kind}:{tiny},packing=off")
    monkeypatch.setattr(encoder.model, "encode", lambda *_, **__: {}["token_embeddings"])
    with pytest.raises(EncodingError) as caught:
        encoder.encode(["cats", "dogs"], "query")
    assert str(caught.value) == f"{tiny} fails on 2 texts: KeyError: 'token_embeddings'"


def test_a_device_that_is_full_says_what_to_do(tiny, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    encoder = ENCODERS.create(f"st:{tiny},packing=off,batch_size=8")
    handed = replace(encoder, handed=encoder.model)
    monkeypatch.setattr(encoder.model, "encode", fail)
    said = "fails on 2 texts: the device is out of memory (2.15 GB more were asked for): "
    for made, relief in (
        (encoder, "choose batch_size=4, a smaller max_length, dtype=bfloat16, another device or"),
        (handed, "hand over a model on another device, or with weights in 16 bits"),
    ):
        with pytest.raises(EncodingError) as caught:
            made.encode(["cats", "dogs"], "query")
        assert str(caught.value).startswith(f"{tiny} {said}{relief}")
