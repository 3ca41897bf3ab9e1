"""What is refused before a model is loaded, for folders of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.encoders.checkpoint import Checkpoint, ModelOptions, checkpoint
from harness.errors import InputError

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
    assert found(folder, trust_remote_code=True).trust_remote_code


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
