"""What is refused before a model is loaded, for folders of every kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness import accelerators
from harness.encoders import ENCODERS
from harness.encoders.checkpoint import Checkpoint, ModelOptions, checkpoint
from harness.errors import InputError
from harness.rerankers import RERANKERS

MODULES = "sentence_transformers.models"
KINDS = {
    "static": {"modules.json": [{"type": f"{MODULES}.StaticEmbedding", "path": ""}]},
    "transformer": {
        "modules.json": [{"type": f"{MODULES}.Transformer", "path": "0_Transformer"}],
        "0_Transformer/config.json": {"model_type": "bert"},
    },
    "cross-encoder": {"config.json": {"architectures": ["BertForSequenceClassification"]}},
    "learned sparse": {"config.json": {"architectures": ["BertForMaskedLM"]}},
}


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    """A model's folder of each kind; its weights are nobody's."""
    for name, content in KINDS[request.param].items():
        write(tmp_path / name, content)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def found(folder: Path, *, trust_remote_code: bool = False, **options: object) -> Checkpoint:
    asked = ModelOptions(device="cpu", trust_remote_code=trust_remote_code)
    return checkpoint(str(folder), asked, **options)


def refused(folder: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        found(folder, **options)
    return str(caught.value)


def test_a_folder_is_known_by_its_content(folder):
    first = found(folder).source
    (folder / "README.md").write_text("nothing that decides a vector")
    write(folder / "onnx" / "config.json", {})
    assert found(folder).source == first
    (folder / "model.safetensors").write_bytes(b"others")
    assert found(folder).source != first


@pytest.mark.parametrize(
    ("name", "content", "brought"),
    [
        ("config.json", {"auto_map": {"AutoModel": "custom.Model"}}, "AutoModel"),
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["custom.T", 0]}},
            "AutoTokenizer",
        ),
        ("1_Part/config.json", {"auto_map": {"AutoConfig": "custom.C"}}, "AutoConfig"),
        ("modules.json", [{"type": "custom.Pooling", "path": ""}], "custom.Pooling"),
        ("1_Router/router_config.json", {"types": {"query": "custom.Layer"}}, "custom.Layer"),
    ],
)
def test_code_of_its_own_is_refused_with_the_flag_that_allows_it(folder, name, content, brought):
    write(folder / name, content)
    if name == "config.json":
        write(folder / "modules.json", [])
    assert refused(folder) == (
        f"{folder} brings its own code ({brought}): refused; if you trust its authors, add "
        "trust_remote_code=true to the spec"
    )
    assert found(folder, trust_remote_code=True).options.trust_remote_code


def test_modules_that_another_library_made_may_be_allowed(folder):
    write(folder / "modules.json", [{"type": "pylate.models.Dense.Dense", "path": ""}])
    assert "pylate.models.Dense.Dense" in refused(folder)
    assert found(folder, foreign=("pylate.models.Dense.Dense",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin"])
def test_pickled_weights_are_refused(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    message = (
        f"{folder / name}: weights are pickled, which can run code when loaded: refused; save the "
        "model anew as safetensors"
    )
    assert refused(folder) == message
    assert refused(folder, trust_remote_code=True) == message
    (folder / "adapter.safetensors").write_bytes(b"none of the model's")
    assert refused(folder) == message
    (folder / "model.safetensors").write_bytes(b"weights")
    assert found(folder)


def test_a_pickled_layer_is_refused_too(folder):
    layer = folder / "2_Dense" / "pytorch_model.bin"
    layer.parent.mkdir()
    layer.write_bytes(b"pickle")
    assert refused(folder).startswith(f"{layer}: weights are pickled")


def test_a_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    assert refused(folder) == f"{folder}: no *.safetensors in {folder}: expected a model's folder"


def test_pickled_weights_beside_a_decoy_are_refused(folder):
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "model.safetensors").rename(folder / "model-x.safetensors")
    assert refused(folder).startswith(f"{folder}/pytorch_model.bin: weights are pickled")
    write(folder / "model.safetensors.index.json", {})  # a single file is read before a list
    assert refused(folder).startswith(f"{folder}/pytorch_model.bin: weights are pickled")
    (folder / "pytorch_model.bin").rename(folder / "pytorch_model-00001-of-00002.bin")
    assert found(folder)


WRONG = [
    ("modules.json", [0], "0 = 0: Input should be"),
    ("modules.json", [{}], "0.type = {}: Field required"),
    ("modules.json", False, "False: Input should be a valid list"),
    ("modules.json", [{"type": 1}], "0.type = 1: Input should be a valid string"),
    ("1_Router/router_config.json", {"types": "text"}, "types = 'text': Input should be"),
    ("1_Router/router_config.json", [], "[]: Input should be"),
    ("config.json", {"auto_map": 7}, "7: Input should be a valid dictionary"),
    ("1_Part/config.json", {"auto_map": "custom.Model"}, "'custom.Model': Input should be"),
]


@pytest.mark.parametrize(("name", "content", "said"), WRONG)
def test_settings_of_other_types_are_one_line(folder, name, content, said):
    write(folder / name, content)
    message = refused(folder)
    assert message.startswith(f"{folder}/{name}: ")
    assert said in message
    assert message.endswith("expected a model's folder")
    assert "\n" not in message


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\x00", '{"a": ' + "1" * 5000 + "}"])
def test_settings_that_are_no_json_are_one_line(folder, text):
    (folder / "modules.json").write_text(text)
    assert refused(folder).startswith(f"{folder}/modules.json: not a readable JSON file: ")


SAVED = [
    {"prompts": "text"},
    {"prompts": {"query": 1}},
    {"prompts": ["query"]},
    {"default_prompt_name": ["x"]},
    {"similarity_fn_name": 3},
    {"model_type": {}},
    {"query_prefix": 1},
    [],
    "text",
]


@pytest.mark.parametrize("content", SAVED, ids=str)
@pytest.mark.parametrize("kind", ["st", "splade", "colbert", "cross"])
def test_what_a_model_says_of_itself_is_of_its_types(tmp_path, kind, content):
    """Each loader reads it, and says what is wrong in place of a traceback."""
    write(tmp_path / "modules.json", [])
    write(tmp_path / "config.json", {"architectures": ["BertModel"]})
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    write(tmp_path / "config_sentence_transformers.json", content)
    registry = RERANKERS if kind == "cross" else ENCODERS
    with pytest.raises(InputError) as caught:
        registry.create(f"{kind}:{tmp_path}")
    assert str(caught.value).startswith(f"{tmp_path}/config_sentence_transformers.json: ")


@pytest.mark.parametrize("content", [[], 3, {"architectures": "Bert"}, {"architectures": [1]}])
@pytest.mark.parametrize("kind", ["splade", "colbert", "cross"])
def test_a_config_of_other_types(tmp_path, kind, content):
    write(tmp_path / "config.json", content)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    registry = RERANKERS if kind == "cross" else ENCODERS
    with pytest.raises(InputError) as caught:
        registry.create(f"{kind}:{tmp_path}")
    assert str(caught.value).startswith(f"{tmp_path}/config.json: ")


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda", "device=cuda, but no CUDA device answers: use device=cpu"),
        ("cuda:3", "device=cuda:3, but no CUDA device answers: use device=cpu"),
        ("gpu", "device=gpu: "),
    ],
)
def test_a_device_is_tested_before_the_store_is_asked(folder, monkeypatch, device, said):
    monkeypatch.setattr(accelerators, "torch_count", lambda: 0)
    with pytest.raises(InputError) as caught:
        checkpoint(str(folder), ModelOptions(device=device))
    assert str(caught.value).startswith(f"{folder}: {said}")


def test_a_device_that_is_not_among_those_there_are(folder, monkeypatch):
    monkeypatch.setattr(accelerators, "torch_count", lambda: 2)
    assert checkpoint(str(folder), ModelOptions(device="cuda:1")).torch_device == "cuda:1"
    with pytest.raises(InputError, match="device=cuda:2: there are 2 CUDA devices"):
        checkpoint(str(folder), ModelOptions(device="cuda:2"))
    for devices, said in (
        (2, "there are 2 CUDA devices: expected cuda:0 or cuda:1"),
        (1, "there is 1 CUDA device: expected cuda:0"),
    ):
        monkeypatch.setattr(accelerators, "torch_count", lambda devices=devices: devices)
        with pytest.raises(InputError) as caught:
            checkpoint(str(folder), ModelOptions(device="cuda:3"))
        assert str(caught.value) == f"{folder}: device=cuda:3: {said}"


@pytest.mark.parametrize(
    ("device", "devices", "kind"),
    [("auto", 0, ""), ("auto", 2, "cuda"), ("cpu", 2, ""), ("cuda:1", 2, "cuda")],
)
def test_the_kind_of_device_that_computes(folder, monkeypatch, device, devices, kind):
    monkeypatch.setattr(accelerators, "torch_count", lambda: devices)
    assert checkpoint(str(folder), ModelOptions(device=device)).device_kind == kind


FULL = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.81 GiB. See"
    "\nmore"
)


def test_a_device_that_is_full_while_a_model_is_loaded(folder):
    with pytest.raises(InputError) as caught, found(folder).loading():
        raise FULL
    assert str(caught.value) == (
        f"{folder}: cannot be loaded: the device is out of memory (2.15 GB more were "
        "asked for): choose dtype=bfloat16, another device or device=cpu"
    )
    other = pytest.raises(InputError, match=r"cannot be loaded: RuntimeError: other$")
    with other, found(folder).loading():
        raise RuntimeError("other")


@pytest.mark.parametrize(
    ("dtype", "batch_size", "relief"),
    [
        ("float32", 32, "batch_size=16, a smaller max_length, dtype=bfloat16, another device"),
        ("float16", 2, "batch_size=1, a smaller max_length, another device"),
        ("float32", 1, "a smaller max_length, dtype=bfloat16, another device"),
        ("bfloat16", None, "another device"),
    ],
)
def test_what_to_do_where_a_device_is_full(folder, dtype, batch_size, relief):
    whole = found(folder)
    here = replace(whole, options=replace(whole.options, dtype=dtype))
    assert here.relief(batch_size) == f"choose {relief} or device=cpu"
