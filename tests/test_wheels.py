"""Where the environment of the faiss-gpu wheel cannot be made, that is said and nothing fails."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tests.wheels import __main__ as job


@pytest.fixture
def there(monkeypatch, tmp_path):
    monkeypatch.setattr(job, "VENV", tmp_path / "venv")
    monkeypatch.setattr(job, "STAMP", tmp_path / "venv/ready")
    monkeypatch.setattr(job, "PYTHON", tmp_path / "venv/bin/python")
    monkeypatch.setattr(job.platform, "system", lambda: "Linux")
    monkeypatch.setattr(job.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(job.shutil, "disk_usage", lambda _: SimpleNamespace(free=7e9))
    monkeypatch.setattr(sys, "argv", ["wheels"])
    (tmp_path / "venv/lib/python3/site-packages").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"platform.machine": lambda: "aarch64"}, "faiss-gpu has no wheel for Linux on aarch64"),
        ({"platform.system": lambda: "Darwin"}, "faiss-gpu has no wheel for Darwin on x86_64"),
        (
            {"shutil.disk_usage": lambda _: SimpleNamespace(free=5.94e9)},
            "5.9 GB of the disk are free, and installing it takes 6",
        ),
    ],
)
def test_no_wheel_and_no_room_are_said(there, monkeypatch, capsys, patch, said):
    for name, value in patch.items():
        module, function = name.split(".")
        monkeypatch.setattr(getattr(job, module), function, value)
    job.main()
    assert capsys.readouterr().out == f"tests of the faiss-gpu wheel are skipped: {said}\n"


def test_no_time_is_said_and_nothing_half_made_stays(there, monkeypatch, capsys):
    def run(words, **options):
        if "pip" in words:
            raise job.subprocess.TimeoutExpired(words, options["timeout"])

    monkeypatch.setattr(job.subprocess, "run", run)
    job.main()
    assert "skipped: installing faiss-gpu took more than 900 s" in capsys.readouterr().out
    assert not job.VENV.exists()


def test_it_is_made_once_for_the_pins_that_it_is_made_of(there, monkeypatch):
    asked = list[list[str]]()

    def run(words, **_):
        asked.append([str(word) for word in words])
        (there / "venv/lib/python3/site-packages").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(job.subprocess, "run", run)
    assert job.prepare() == ""
    assert len(asked) == 2
    assert asked[1][-4:] == [
        "faiss-gpu==1.15.1",
        "nvidia-cublas-cu12==12.8.4.1",
        "nvidia-cuda-runtime-cu12==12.8.90",
        "nvidia-curand-cu12==10.3.9.90",
    ]
    monkeypatch.setattr(job.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert job.prepare() == ""  # it is there: no room is needed
    assert len(asked) == 2
    monkeypatch.setattr(job, "list_pins", lambda: ["faiss-gpu==1.16"])
    assert "of the disk are free" in job.prepare()


def test_what_pip_cannot_install_fails_the_job(there, monkeypatch):
    def run(words, **_):
        if "pip" in words:
            raise job.subprocess.CalledProcessError(1, words)

    monkeypatch.setattr(job.subprocess, "run", run)
    with pytest.raises(SystemExit, match="faiss-gpu cannot be installed: pip says why above"):
        job.main()
    assert not job.STAMP.exists()
