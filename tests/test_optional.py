"""The advice for a library that an extra brings."""

import sys

import pytest

from harness import optional
from harness.errors import InputError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A checkout beside a virtual environment that is not activated."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(optional, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_checkout_it_is_that_checkout_and_that_python(place):
    assert optional.install("hub") == ".venv/bin/python -m pip install -e '.[hub]'"


def test_elsewhere_the_checkout_has_its_path(place, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    python = place / ".venv/bin/python"
    assert optional.install("hub") == f"{python} -m pip install -e '{place}[hub]'"


def test_what_is_sent_to_others_names_no_folder(place, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(sys, "prefix", "/home/me/env")
    said = f"{optional.install('hub')} (no /home/me/env/lib/x.so)"
    assert optional.leave_out_folders(said) == (
        "python -m pip install -e '.[hub]' (no PREFIX/lib/x.so)"
    )


def test_in_an_active_environment_pip_is_enough(place, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: str(place / ".venv/bin/pip"))
    assert optional.install("hub") == "pip install -e '.[hub]'"


def test_once_installed_the_package_is_named(place, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: str(place / ".venv/bin/pip"))
    (place / "pyproject.toml").unlink()
    assert optional.install("hub") == "pip install 'retrieval-harness[hub]'"


def test_what_is_missing_is_named_with_the_extra(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError) as caught:
        optional.load("datasets", "hub")
    assert str(caught.value) == (
        "datasets cannot be imported (import of datasets halted; None in sys.modules): "
        ".venv/bin/python -m pip install -e '.[hub]'"
    )


def test_what_fails_while_it_is_imported_is_told_alike(place, monkeypatch):
    """As faiss-gpu does without its NVIDIA wheels."""
    (place / "broken_library.py").write_text('raise RuntimeError("nvidia-cublas is missing")')
    monkeypatch.syspath_prepend(place)
    with pytest.raises(InputError) as caught:
        optional.load("broken_library", "gpu")
    assert str(caught.value) == (
        "broken_library cannot be imported (nvidia-cublas is missing): "
        ".venv/bin/python -m pip install -e '.[gpu]'"
    )
