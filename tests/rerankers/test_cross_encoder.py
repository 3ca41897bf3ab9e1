"""Cross-encoders: their scores, what they read, what identifies them, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.errors import EncodingError, InputError
from harness.progress import silent
from harness.rerankers import RERANKERS, reranker_spec
from harness.rerankers.cross_encoder import CrossEncoderReranker
from harness.spec import Spec

PAIRS = [
    ("cats", "a cat sat on the mat"),
    ("cats", "dogs"),
    ("", ""),
    ("what is the answer to the question", "it is forty two " * 3),
    ("two words", "internationalisation uncharacteristically"),
]


@pytest.fixture(scope="module")
def scoring(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a random BERT of 2 layers and 64 positions that gives a pair some numbers."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()

    def make(labels: int = 1) -> Path:
        folder = tmp_path_factory.mktemp("cross")
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=30522,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            num_labels=labels,
            initializer_range=0.3,
        )
        BertForSequenceClassification(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copyfile(packaged / name, folder / name)
        return folder

    return make


@pytest.fixture(scope="module")
def tiny_cross(scoring: Callable[..., Path]) -> Path:
    return scoring()


def create(folder: Path, options: str = "") -> CrossEncoderReranker:
    made = RERANKERS.create(f"cross:{folder}{options}")
    assert isinstance(made, CrossEncoderReranker)
    return made


def refused(spec: str) -> str:
    """The one line in which a spec is refused, on creation or on loading."""
    with pytest.raises(InputError) as error:
        RERANKERS.create(reranker_spec(spec)).load()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_scores_are_the_logits_of_sentence_transformers(tiny_cross):
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(tiny_cross), local_files_only=True)
    expected = model.predict(PAIRS, activation_fn=torch.nn.Identity())
    made = create(tiny_cross, ",packing=off").score(PAIRS, silent)
    assert made.scores.dtype == np.float32
    assert np.ptp(made.scores) > 0.5
    np.testing.assert_allclose(made.scores, expected, atol=1e-6)
    squeezed = model.predict(PAIRS)  # by the model's own sigmoid
    assert np.argsort(made.scores).tolist() == np.argsort(squeezed).tolist()
    np.testing.assert_allclose(1 / (1 + np.exp(-made.scores)), squeezed, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_pairs_of_a_length_share_a_batch_and_come_back_in_their_order(
    tiny_cross, batch_size, monkeypatch
):
    made = create(tiny_cross, f",packing=off,batch_size={batch_size}")
    expected = create(tiny_cross).score(PAIRS, silent).scores
    predict, batches = made.model.predict, []
    monkeypatch.setattr(
        made.model,
        "predict",
        lambda pairs, **options: batches.append(pairs) or predict(pairs, **options),
    )
    found = made.score(PAIRS, silent).scores
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # 22, 15, 10, 5 and 3 tokens: that of the fewest characters but one has many
    by_tokens = [PAIRS[row] for row in (3, 4, 0, 1, 2)]
    assert [pair for batch in batches for pair in batch] == by_tokens
    assert max(map(len, batches)) == min(batch_size, 5)
    turned = made.score(PAIRS[::-1], silent).scores[::-1]
    np.testing.assert_allclose(turned, found, atol=1e-5)


def test_tokens_are_counted_and_truncated_pairs_too(tiny_cross):
    long = [("a b c", "word " * 58), ("a b c", "word " * 59), ("a", "b")]
    made = create(tiny_cross).score(long, silent)  # three marks: 64 tokens, 65 and 5
    assert (made.tokens, made.truncated) == (64 + 64 + 5, 1)
    short = create(tiny_cross, ",max_length=8").score([*long, ("a b", "c d e")], silent)
    assert (short.tokens, short.truncated) == (8 + 8 + 5 + 8, 2)
    cut = create(tiny_cross, ",max_length=8").score([("a b", "c d e f g")], silent).scores
    np.testing.assert_allclose(cut, short.scores[3:], atol=1e-6)


def test_no_pairs_have_no_scores(tiny_cross):
    made = create(tiny_cross).score([], silent)
    assert (made.scores.shape, made.tokens, made.truncated) == ((0,), 0, 0)


def test_progress_is_told(tiny_cross):
    seen = []
    made = create(tiny_cross, ",packing=off,batch_size=2")
    made.score(PAIRS, lambda stage, done, total, unit: seen.append((stage, done, total, unit)))
    assert seen == [
        ("count tokens", 5, 5, "pairs"),
        *(("rerank", done, 5, "pairs") for done in (2, 4, 5)),
    ]


def test_a_prompt_stands_before_the_query(tiny_cross, tmp_path):
    plain = create(tiny_cross)
    asked = create(tiny_cross, ",prompt=find: ")
    one = asked.score([("cats", "dogs")], silent)
    other = plain.score([("find: cats", "dogs")], silent)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    assert one.tokens == other.tokens == 7
    assert asked.fingerprint() != plain.fingerprint()
    own = tmp_path / "own"
    create(tiny_cross, ",packing=off").model.save_pretrained(str(own))
    settings = own / "config_sentence_transformers.json"
    told = {"prompts": {"search": "find: "}, "default_prompt_name": "search"}
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **told}))
    assert create(own).score([("cats", "dogs")], silent).scores == pytest.approx(one.scores)
    assert create(own, ",prompt=").prompt == ""


def test_a_language_model_is_asked_for_yes_or_no(packaged, tmp_path):
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copyfile(packaged / name, tmp_path / name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}?"
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=30522, **sizes, **heads)).eval()
    model.save_pretrained(tmp_path)
    reranker = create(tmp_path)
    made, read = reranker.score([("cats", "dogs")], silent), reranker.model.tokenizer
    asked = "query cats document dogs ?"
    ids = read(asked, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        last = model(ids).logits[0, -1]
    yes, no = read.convert_tokens_to_ids(["yes", "no"])
    assert made.scores[0] == pytest.approx(float(last[yes] - last[no]), abs=1e-6)
    assert made.tokens == ids.numel()


def test_what_decides_a_score_is_its_fingerprint(tiny_cross):
    whole = create(tiny_cross).fingerprint()
    assert whole == create(tiny_cross, ",batch_size=2,device=cpu").fingerprint()
    assert set(whole) == {"folder_sha256", "dtype", "max_length", "prompt"}
    for options in (",dtype=bfloat16", ",max_length=9", ",prompt=q"):
        assert create(tiny_cross, options).fingerprint() != whole
    half = create(tiny_cross, ",dtype=bfloat16").score(PAIRS, silent).scores
    assert not np.array_equal(half, create(tiny_cross).score(PAIRS, silent).scores)


def test_a_folder_may_be_named_bare(tiny_cross):
    assert reranker_spec(str(tiny_cross)) == Spec("cross", str(tiny_cross))
    assert reranker_spec("organisation/name") == Spec("cross", "organisation/name")


def test_a_classifier_is_no_reranker(scoring):
    for labels in (2, 3):
        folder = scoring(labels)
        assert refused(f"cross:{folder}") == (
            f"{folder} gives {labels} numbers for a pair, as a classifier does: expected a model "
            "with one score"
        )


def test_an_encoder_is_no_reranker(tiny, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny, bare)
    (bare / "modules.json").unlink()
    for folder in (tiny, bare):
        assert refused(str(folder)) == (
            f"{folder} does not score pairs: expected a CrossEncoder of sentence-transformers or "
            "a model for sequence classification"
        )


def test_what_is_unsafe_is_refused_as_for_encoders(tiny_cross, tmp_path):
    pickled, coded = tmp_path / "pickled", tmp_path / "coded"
    for folder in (pickled, coded):
        shutil.copytree(tiny_cross, folder)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "weights are pickled" in refused(f"cross:{pickled}")
    config = json.loads((coded / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "custom.Model"}
    (coded / "config.json").write_text(json.dumps(config))
    assert refused(f"cross:{coded}").endswith("add trust_remote_code=true to the spec")
    for name in ("batch_size", "max_length"):
        line = f"{tiny_cross}: {name}=0: expected at least 1"
        assert refused(f"cross:{tiny_cross},{name}=0") == line
    line = f"{tiny_cross}: max_length=65: the model reads 64 tokens"
    assert refused(f"cross:{tiny_cross},max_length=65") == line


def test_scores_that_are_no_numbers_are_one_line(tiny_cross, monkeypatch):
    made = create(tiny_cross, ",packing=off")
    broken = np.array([1, np.nan, np.inf, 2, 3], np.float32)
    monkeypatch.setattr(made.model, "predict", lambda pairs, **_: broken)
    with pytest.raises(EncodingError) as error:
        made.score(PAIRS, silent)
    assert str(error.value).startswith(f"{tiny_cross} gives NaN or infinity for 2 of 5 pairs, the")
    assert str(error.value).endswith(": try dtype=float32")


@pytest.mark.parametrize("part", ["predict", "preprocess"])
def test_a_model_that_fails_while_it_scores_is_one_line(tiny_cross, monkeypatch, part):
    made = create(tiny_cross, ",packing=off" if part == "predict" else "")

    def fail(pairs, **options):
        raise RuntimeError("index out of range\nin self")

    monkeypatch.setattr(made.model, part, fail)
    with pytest.raises(EncodingError) as error:
        made.score(PAIRS, silent)
    assert str(error.value) == f"{tiny_cross} fails on 5 pairs: RuntimeError: index out of range"


def test_a_device_that_is_full_says_what_to_do(tiny_cross, monkeypatch):
    def fail(pairs, **options):
        raise RuntimeError("CUDA error: out of memory")

    made = create(tiny_cross, ",packing=off")
    monkeypatch.setattr(made.model, "predict", fail)
    with pytest.raises(EncodingError) as error:
        made.score(PAIRS, silent)
    assert str(error.value).startswith(
        f"{tiny_cross} fails on 5 pairs: the device is out of memory: choose batch_size="
    )
