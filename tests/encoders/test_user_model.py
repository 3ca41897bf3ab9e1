"""Models of the user's own: what is taken, how it is known again, what is refused."""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import harness
from harness.api import evaluate
from harness.data import Purpose
from harness.encoders import ENCODERS, Encoder
from harness.encoders.hashing import Hashing
from harness.encoders.models import MODELS
from harness.encoders.user_model import adapt, register
from harness.errors import EncodingError, InputError
from harness.exchange import mteb
from harness.pipeline.phases import Clock
from harness.pipeline.represent import Workplace, represent
from harness.registry import load_plugin
from harness.spec import parse
from harness.store import Store
from harness.systems import RETRIEVERS
from harness.vectors import MultiVector, Sparse
from harness.vectors.lengths import unit
from tests.mteb_tasks import package

TEXTS = [
    "a longer text of several words",
    "two words",
    "three words here",
    "one",
    "ten of it: eeeee",
]
LETTERS = "etaoin"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    ENCODERS.entries()
    monkeypatch.setattr(ENCODERS, "_entries", dict(ENCODERS._entries))


def letters(texts: Sequence[str]) -> np.ndarray:
    return np.array([[text.count(letter) for letter in LETTERS] for text in texts])


class Letters:
    """Counts of letters, of another width for each instance."""

    def __init__(self, width: int = 6, *, scale: float = 1.0) -> None:
        self.width, self.scale = width, scale

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return letters(texts)[:, : self.width] * self.scale


class Told:
    """Counts of letters, negated for queries, by the role that the model is told."""

    fingerprint = "1"

    def encode(self, texts: Sequence[str], role: str = "?") -> np.ndarray:
        assert role in ("query", "document", "text")
        return -letters(texts) if role == "query" else letters(texts)


class Prompted:
    """The same, told as a model of mteb is."""

    def __call__(self, texts: Sequence[str], prompt_type: str | None = None) -> np.ndarray:
        assert prompt_type in ("query", "document", None)
        return -letters(texts) if prompt_type == "query" else letters(texts)


def vectors(encoder: Encoder, texts: Sequence[str] = TEXTS, role: Any = "document") -> Any:
    return encoder.encode(texts, role).values


def refused(model: object, texts: Sequence[str] = TEXTS) -> str:
    """The one line in which a model is refused, when it is taken or encodes."""
    with pytest.raises((InputError, EncodingError)) as error:
        adapt(model, "mine").encode(texts, "document")
    assert "\n" not in str(error.value)
    return str(error.value)


def as_tensor(texts: Sequence[str]) -> Any:
    import torch

    return torch.tensor(letters(texts), dtype=torch.bfloat16, requires_grad=True)


def as_tensors(texts: Sequence[str]) -> Any:
    return list(as_tensor(texts))


@pytest.mark.parametrize(
    "model",
    [
        letters,
        Letters(),
        Letters().encode,
        lambda texts: letters(texts).tolist(),
        lambda texts: list(letters(texts).astype(np.float16)),
        as_tensor,
        as_tensors,
    ],
)
def test_whatever_gives_an_array_is_a_model(model):
    encoder = adapt(model)
    made = encoder.encode(TEXTS, "document")
    assert made.values.dtype == np.float32
    assert made.values.tolist() == letters(TEXTS).tolist()
    assert made.tokens.tolist() == [-1] * 5
    assert not made.truncated.any()
    assert (encoder.representation, encoder.similarity, encoder.prompt("query")) == (
        "dense",
        "cosine",
        "",
    )


@pytest.mark.parametrize("model", [Told(), Told().encode, Prompted()])
def test_a_model_is_told_the_role_where_it_asks(model):
    encoder = adapt(model)
    for role, sign in (("query", -1), ("document", 1), ("text", 1)):
        assert vectors(encoder, role=role).tolist() == (sign * letters(TEXTS)).tolist()


def test_an_encoder_is_taken_as_it_is():
    encoder = Hashing(8)
    assert adapt(encoder) is encoder


def test_what_a_model_says_of_itself():
    model = Letters()
    model.name, model.similarity, model.fingerprint = "mine", "dot", {"version": 3}
    encoder = adapt(model)
    assert (encoder.similarity, encoder.cacheable, encoder.notes) == ("dot", True, ())
    assert encoder.fingerprint() == {"own": "mine", "fingerprint": {"version": 3}}
    assert adapt(model, "other").fingerprint()["own"] == "other"
    model.fingerprint = lambda: "by a function"
    assert adapt(model).fingerprint()["fingerprint"] == "by a function"
    model.similarity = lambda one, other: one @ other.T
    assert adapt(model).similarity == "dot"
    model.similarity = lambda one, other: unit(one) @ unit(other).T
    assert adapt(model).similarity == "cosine"


def test_without_a_fingerprint_vectors_are_not_kept_and_code_and_weights_tell_models_apart():
    import torch

    encoder = adapt(letters)
    assert not encoder.cacheable
    assert encoder.notes == ("letters has no fingerprint: its vectors are not kept, and made anew",)
    assert set(encoder.fingerprint()) == {"own", "source_sha256"}
    assert encoder.fingerprint() == adapt(letters).fingerprint()
    assert encoder.fingerprint() != adapt(as_tensor, "letters").fingerprint()

    class Network(torch.nn.Linear):
        def encode(self, texts: Sequence[str]) -> torch.Tensor:
            return self(torch.tensor(letters(texts), dtype=torch.float32))

    network = Network(6, 2)
    before = adapt(network).fingerprint()
    assert before == adapt(network).fingerprint()
    with torch.no_grad():
        network.weight += 1
    after = adapt(network).fingerprint()
    assert before.pop("weights_sha256") != after.pop("weights_sha256")
    assert before == after


def test_ten_lines_make_a_model_that_specs_name(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        textwrap.dedent(
            """
            import numpy as np
            from harness.encoders.user_model import register

            @register("vowels")
            def vowels(texts):
                '''How often each vowel occurs.'''
                return np.array([[text.count(vowel) for vowel in "aeiou"] for text in texts])
            """
        )
    )
    load_plugin(file)
    assert str(ENCODERS.resolve("vowels")) == "vowels"
    (entry,) = [entry for entry in ENCODERS.entries() if entry.name == "vowels"]
    assert entry.summary == "How often each vowel occurs."
    assert vectors(ENCODERS.create("vowels"), ["aei", "e"]).tolist() == [
        [1, 1, 1, 0, 0],
        [0, 1, 0, 0, 0],
    ]
    with pytest.raises(InputError, match="unknown parameter of vowels 'dim'"):
        ENCODERS.create("vowels,dim=3")


def test_parameters_of_a_class_are_those_of_its_specs():
    assert register("letters")(Letters) is Letters
    assert str(ENCODERS.resolve("letters,width=2")) == "letters,scale=1.0,width=2"
    encoder = ENCODERS.create("letters,width=2,scale=0.5")
    assert vectors(encoder).tolist() == (letters(TEXTS)[:, :2] * 0.5).tolist()
    assert encoder.fingerprint()["parameters"] == {"scale": "0.5", "width": "2"}
    with pytest.raises(InputError, match="letters: width=two: expected a whole number"):
        ENCODERS.create("letters,width=two")
    with pytest.raises(InputError, match="encoder 'letters' is registered already"):
        register("letters")(Told)


@pytest.mark.parametrize("part", ["fingerprint", "state_dict", "similarity"])
def test_what_a_model_fails_to_say_of_itself_is_one_line(part):
    model = Letters()
    setattr(model, part, lambda *given: {}["key"])
    what = {"similarity": "its similarity of two arrays fails"}
    with pytest.raises(InputError) as error:
        adapt(model, "mine")
    said = what.get(part, "what identifies it cannot be read")
    assert str(error.value) == f"mine: {said}: KeyError: 'key'"


def test_a_fingerprint_does_not_stand_for_other_parameters():
    class Versioned(Letters):
        fingerprint = "1"

    register("versioned")(Versioned)
    one, other = (ENCODERS.create(f"versioned,width={width}") for width in (2, 3))
    assert one.cacheable
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint() == ENCODERS.create("versioned,width=2").fingerprint()


def sorting(key: Callable[[str], int], back: bool) -> Callable[[Sequence[str]], np.ndarray]:
    """A model that sorts its texts, and puts their vectors back or forgets it."""

    def encode(texts: Sequence[str]) -> np.ndarray:
        order = np.array(sorted(range(len(texts)), key=lambda row: key(texts[row])))
        made = letters([texts[row] for row in order])
        return made[np.argsort(order)] if back else made

    return encode


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[::-1], sorted(TEXTS, key=len)])
def test_a_model_that_forgets_to_put_its_vectors_back(sign, texts):
    good = sorting(lambda text: sign * len(text), back=True)
    assert vectors(adapt(good), texts).tolist() == letters(texts).tolist()
    line = refused(sorting(lambda text: sign * len(text), back=False), texts)
    assert line.startswith("mine returns vectors in another order than texts: that of '")
    assert line.endswith("' has the place of another; put them back after sorting")


def test_a_model_whose_vectors_do_not_repeat():
    def centred(texts: Sequence[str]) -> np.ndarray:
        made = letters(texts)
        return made - made.mean(axis=0)

    line = refused(centred)
    assert re.fullmatch(  # alone, a text is its own mean
        r"mine gives '.*' another vector alone than among other texts, by 100% of its length: "
        r"expected one vector a text \(dropout off: model\.eval\(\)\)",
        line,
    )
    random = np.random.default_rng(0)
    assert "another vector alone" in refused(lambda t: random.standard_normal((len(t), 3)))


def test_what_rounding_changes_is_told_and_no_more():
    def rounded(texts: Sequence[str], by: float) -> np.ndarray:
        return letters(texts) * (1 + by * (len(texts) > 1))

    rough = adapt(lambda texts: rounded(texts, 0.01), "rough")
    for _ in range(2):
        assert rough.encode(TEXTS, "document").notes == (
            "vectors of rough change by 1.0% with the texts encoded beside them",
        )
    assert len(rough.notes) == 1  # that its vectors are not kept
    fine = adapt(lambda texts: rounded(texts, 1e-4), "fine")
    assert fine.encode(TEXTS, "document").notes == ()
    assert len(fine.notes) == 1


def test_only_the_first_batch_of_a_role_is_encoded_again():
    asked: list[int] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        asked.append(len(texts))
        return letters(texts)

    encoder = adapt(encode)
    vectors(encoder, TEXTS[:1])  # of one text there is no order
    vectors(encoder)
    vectors(encoder)
    assert asked == [1, 5, 1, 1, 1, 1, 4, 5]
    vectors(encoder, role="query")
    assert asked[8:] == [5, 1, 1, 1, 1, 4]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda t: letters(t)[1:], "an array of shape (4, 6) for 5 texts: expected (5, d)"),
        (lambda t: letters([*t, ""]), "an array of shape (6, 6) for 5 texts: expected (5, d)"),
        (lambda t: letters(t)[:, 0], "an array of shape (5,) for 5 texts: expected (5, d)"),
        (lambda t: letters(t)[:, :0], "an array of shape (5, 0) for 5 texts: expected (5, d)"),
        (lambda t: None, "no numbers but object for 5 texts"),
        (lambda t: [["1", "2"]] * len(t), "no numbers but <U1 for 5 texts"),
        (lambda t: letters(t) * 1j, "no numbers but complex128 for 5 texts"),
        (lambda t: letters(t).squeeze(), "an array of shape (6,) for 1 text: expected (1, d)"),
        (lambda t: letters(t)[:, : 5 + len(t) % 2], "5-d vectors after 6-d ones: expected one"),
    ],
)
def test_what_is_no_vector_for_each_text_is_one_line(returned, message):
    assert refused(returned).startswith(f"mine returned {message}")


def test_a_model_that_fails_says_how():
    assert refused(lambda t: [[1, 2], [3]]).startswith("mine fails on 5 texts: ValueError: ")
    assert refused(lambda t: {}["key"]) == "mine fails on 5 texts: KeyError: 'key'"


def test_a_model_whose_device_is_full_says_what_to_do():
    def fail(texts: list[str]) -> None:
        raise RuntimeError("MPS backend out of memory")

    assert refused(fail) == (
        "mine fails on 5 texts: the device is out of memory: have it encode "
        "fewer texts at a time, in 16 bits, or on another device"
    )


def test_a_width_that_changes_in_mid_run():
    widths = iter([4] * 6 + [3])
    encoder = adapt(lambda t: np.ones((len(t), next(widths))), "mine")
    vectors(encoder)
    with pytest.raises(
        EncodingError, match="mine returned 3-d vectors after 4-d ones: expected one"
    ):
        vectors(encoder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_refused_when_it_is_kept(value, tmp_path):
    def broken(texts: Sequence[str]) -> np.ndarray:
        return np.where(letters(texts) == 2, value, 1.0)

    with pytest.raises(EncodingError, match="returned NaN or infinity for 3 of 5 texts"):
        represent(
            "b",
            adapt(broken),
            {"documents": ("document", TEXTS)},
            Workplace(Store(tmp_path), Clock()),
        )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "mine is no model: expected a function of texts, an object with encode(texts), or a"),
        (Letters, "mine is a class: hand over an object of it, mine()"),
    ],
)
def test_what_is_no_model(model, message):
    assert refused(model).startswith(message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("similarity", "euclidean", "mine compares vectors by euclidean: expected cosine or dot"),
        (
            "similarity",
            lambda one, other: one @ other.T + 1,
            "mine compares vectors by a function that makes 13 of (3, 0) and (4, 0): expected",
        ),
        ("fingerprint", {1, 2}, "mine: its fingerprint cannot be written as JSON (Object of type"),
    ],
)
def test_what_a_model_may_not_say(name, value, message):
    model = Letters()
    setattr(model, name, value)
    assert refused(model).startswith(message)


def test_models_of_sentence_transformers_are_taken_as_their_specs_would_be(tiny, tmp_path):
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

    options: dict[str, Any] = {"local_files_only": True, "device": "cpu"}
    prompts = {"query": "find: ", "document": ""}
    dense = SentenceTransformer(str(tiny), prompts=prompts, **options)
    ours = ENCODERS.create(f"st:{tiny},query_prompt=find: ")
    encoder = adapt(dense)
    assert (encoder.representation, encoder.similarity, encoder.cacheable) == (
        "dense",
        "cosine",
        False,
    )
    assert encoder.prompt("query") == "find: "
    for role in ("query", "document", "text"):
        made, expected = encoder.encode(TEXTS, role), ours.encode(TEXTS, role)
        np.testing.assert_array_equal(made.values, expected.values)
        assert made.tokens.tolist() == expected.tokens.tolist()
    assert encoder.encode(["word " * 40], "text").truncated.tolist() == [True]
    assert "weights_sha256" in encoder.fingerprint()
    asked = SentenceTransformer(str(tiny), prompts={"query": "{instruction}: "}, **options)
    told = adapt(asked).for_task(Purpose(instructions={"query": "find"}))
    np.testing.assert_array_equal(vectors(told, role="query"), vectors(encoder, role="query"))
    sparse = adapt(SparseEncoder(str(tiny), **options))
    assert isinstance(vectors(sparse), Sparse)
    assert (sparse.representation, sparse.similarity) == ("sparse", "dot")
    many = adapt(MultiVectorEncoder(str(tiny), **options))
    assert isinstance(vectors(many), MultiVector)
    assert (many.representation, many.similarity) == ("multi-vector", "maxsim")


def test_what_sentence_transformers_compares_otherwise(tiny):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tiny), local_files_only=True, similarity_fn_name="manhattan")
    assert refused(model) == (
        "mine compares vectors by a function that makes -1 of (3, 0) and (4, 0): expected cosine "
        "or dot"
    )


class OfMteb:
    """A model after mteb's EncoderProtocol that counts letters and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **options: Any,
    ) -> np.ndarray:
        prompt = task_metadata.prompt
        self.told.append((prompt_type, task_metadata.type, prompt, hf_split, hf_subset))
        texts = [text for batch in inputs for text in batch["text"]]
        assert len(texts) == len(inputs.dataset)
        return letters(texts)

    def similarity(self, one: Any, other: Any) -> Any:
        import torch

        return torch.as_tensor(one) @ torch.as_tensor(other).T


def test_a_model_of_mteb_is_told_what_mteb_tells():
    package()
    model = OfMteb()
    encoder = adapt(model)
    many = [str(number) for number in range(100)]
    assert vectors(encoder, many, "text").shape == (100, 6)
    assert vectors(encoder).tolist() == letters(TEXTS).tolist()
    assert encoder.similarity == "dot"
    vectors(encoder, role="query")
    assert {told[:2] for told in model.told} == {
        (None, "STS"),
        ("document", "Retrieval"),
        ("query", "Retrieval"),
    }
    assert {told[2:] for told in model.told} == {(None, "test", "default")}
    model.told.clear()
    asked = encoder.for_task(Purpose(instructions={"query": "find letters"}))
    vectors(asked, role="query")
    assert [told[2] for told in model.told] == [{"query": "find letters"}]
    assert asked.fingerprint() == {
        **encoder.fingerprint(),
        "instructions": {"query": "find letters"},
    }


def test_the_wrapper_of_mteb_gives_the_vectors_that_the_spec_gives(tiny):
    package()
    from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(tiny), local_files_only=True, device="cpu")
        encoder = adapt(SentenceTransformerEncoderWrapper(model))
    expected = ENCODERS.create(f"st:{tiny}")
    for role in ("query", "document", "text"):
        made = vectors(encoder, role=role)
        np.testing.assert_allclose(made, vectors(expected, role=role), atol=1e-6)
    assert encoder.similarity == "cosine"


# --- what a record says of a model that was handed over -----------------------------------------


def hashing(texts: Sequence[str]) -> np.ndarray:
    """Called as an encoder of the package is."""
    return letters(texts)


class Named:
    """Calls itself as a model of the hub."""

    name, fingerprint = "intfloat/e5-small-v2", "mine, 1"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return letters(texts)


OWN_TASK = "limit,docs=40,queries=9,k=2,attributes=5"


@pytest.mark.parametrize(
    ("model", "full"),
    [
        (hashing, "own:hashing"),
        (Named(), "own:intfloat/e5-small-v2"),
        (Letters(), "own:Letters"),
        (Hashing(8), "own:Hashing"),
        (lambda texts: letters(texts) * 2, "own:lambda"),
    ],
)
def test_a_model_that_is_handed_over_is_never_taken_for_a_registered_one(model, full, tmp_path):
    record = evaluate(model, OWN_TASK, store=Store(tmp_path / "store")).record
    assert (record.system.spec, record.system.full) == (full, full)
    assert str(parse(full)) == full
    assert record.system.fingerprint == {**adapt(model).fingerprint()}
    path = mteb.save(record, tmp_path)
    meta = json.loads((path.parent / "model_meta.json").read_text())
    assert meta["name"].startswith("retrieval-harness/own")


def test_the_registered_one_is_another_system(tmp_path):
    store = Store(tmp_path)
    own, ours = (evaluate(model, OWN_TASK, store=store).record for model in (hashing, "hashing"))
    assert own.system.full != ours.system.full == "hashing,dim=256"
    assert own.id != ours.id


def test_nobody_registers_what_models_of_ones_own_are_called_by():
    for registry in (ENCODERS, RETRIEVERS):
        with pytest.raises(InputError, match="'own': the name is reserved"):
            registry.register("own")(letters)
    with pytest.raises(InputError, match="unknown encoder 'own'"):
        evaluate("own:hashing", OWN_TASK)


def test_a_registered_model_keeps_its_name(tmp_path):
    assert harness.encoder is harness.model is register
    harness.encoder("letters-6")(Letters)
    record = evaluate("letters-6,width=3", OWN_TASK, store=Store(tmp_path)).record
    assert record.system.full == "letters-6,scale=1.0,width=3"


def test_an_object_of_a_registered_class_is_made_once_for_all_that_ask():
    made: list[int] = []

    @harness.encoder("heavy-letters")
    class Heavy(Letters):
        def __init__(self, width: int = 6) -> None:
            super().__init__(width)
            made.append(width)

    MODELS.clear()
    for spec in ("heavy-letters", "heavy-letters", "heavy-letters,width=2"):
        ENCODERS.create(spec).encode(TEXTS, "document")
    assert made == [6, 2]
    MODELS.clear()
