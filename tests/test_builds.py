"""Builds of torch and faiss by driver and GPUs; nvidia-smi is a program on PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import builds
from harness.builds import Host, decide

ROOT = Path(__file__).parents[1]
TOOLS = ("sh", "sleep", "make", "mkdir", "cp", "rm", "touch", "find")
OLD = (
    'case "$*" in *compute_cap*) echo "Field \\"compute_cap\\" is not a valid field"; exit 2;; esac'
)


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Put an nvidia-smi of so many lines of shell on PATH, alone; none for None."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(builds, "CONTROL", tmp_path / "nvidiactl")
    monkeypatch.setattr(builds, "KERNEL", tmp_path / "version")

    def put(script: str | None) -> Path:
        program = folder / "nvidia-smi"
        program.unlink(missing_ok=True)
        if script is not None:
            program.write_text(f"#!{folder}/sh\n{script}\n")
            program.chmod(0o755)
        return folder

    put(None)
    return put


def gpus(*capabilities: str, driver: str) -> str:
    return "\n".join(f"echo '{driver}, {each}'" for each in capabilities)


def linux(driver: str, *capabilities: tuple[int, int], processor: str = "x86_64") -> Host:
    return Host("Linux", processor, driver, capabilities)


@pytest.mark.parametrize(
    ("script", "driver", "capabilities", "silence"),
    [
        (gpus("9.0", driver="580.65.06"), "580.65.06", ((9, 0),), ""),
        (gpus("7.0", "12.0", driver="575.57"), "575.57", ((7, 0), (12, 0)), ""),
        (f"{OLD}\necho 470.57.02", "470.57.02", (), ""),
        (gpus("[N/A]", driver="550.54"), "550.54", (), ""),
        ("echo No devices were found; exit 6", "", (), "nvidia-smi: No devices were found"),
        ("echo garbage; printf '\\377\\n'", "", (), "nvidia-smi names no driver"),
        ("echo 'x, y'", "", (), "nvidia-smi names no driver"),
        ("", "", (), "nvidia-smi names no driver"),
        ("exit 9", "", (), "nvidia-smi: fails"),
        (None, "", (), "there is no nvidia-smi"),
    ],
)
def test_what_nvidia_smi_says_is_read(smi, script, driver, capabilities, silence):
    smi(script)
    found = builds.look()
    assert (found.driver, found.capabilities, found.silence) == (driver, capabilities, silence)
    assert not found.hangs


def test_one_that_hangs_is_given_up(smi, monkeypatch):
    smi("exec sleep 60")
    monkeypatch.setattr(builds, "PATIENCE", 0.3)
    began = time.monotonic()
    found = builds.look()
    assert time.monotonic() - began < 10
    assert (found.hangs, found.silence) == (True, "nvidia-smi has not answered in 0.3 s")
    assert decide(found).name == "cpu"


def test_a_container_without_nvidia_smi_has_a_driver(smi):
    builds.KERNEL.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue\n")
    assert builds.look().driver == ""  # of the host: no device is given to the container
    builds.CONTROL.touch()
    assert builds.look().driver == "550.54.15"
    builds.KERNEL.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06\n")
    assert builds.look().driver == "580.65.06"


# driver, capabilities -> builds; torch for CUDA 13 has code from 7.5 on, that for CUDA 12 from 7.0
@pytest.mark.parametrize(
    ("machine", "name", "words"),
    [
        (linux("580.65", (9, 0)), "gpu-cuda13", "driver 580.65, compute capability 9.0"),
        (linux("580.65", (7, 5), (8, 9)), "gpu-cuda13", "compute capability 7.5 and 8.9"),
        (linux("610.1"), "gpu-cuda13", "driver 610.1"),
        (linux("580.65", (7, 0)), "gpu-cuda12", "torch 2.13.0 has no code for them"),
        (linux("580.65", (7, 0), (9, 0)), "gpu-cuda12", "compute capability 7.0 and 9.0"),
        (linux("579.99", (9, 0)), "gpu-cuda12", "CUDA 13.0 asks for 580"),
        (linux("550.54", (8, 0)), "gpu-cuda12", "torch 2.10.0 for CUDA 12.8 and faiss-gpu"),
        (linux("525.60", (8, 0)), "gpu-cuda12", "CUDA 13.0 asks for 580"),
        (linux("524.99", (8, 0)), "cpu", "driver 524.99 is older than 525"),
        (linux("470.57"), "cpu", "torch 2.13.0 on the processor and faiss-cpu"),
        (linux("580.65", (6, 1)), "cpu", "no build of torch fits; faiss-gpu has no code"),
        (linux("580.65", (6, 1), (8, 6)), "gpu-cuda13", "those of 6.1 stay idle"),
        (linux("610.1", (13, 0)), "gpu", "no build of torch fits"),
        (linux("580.65", (9, 0), processor="aarch64"), "cpu-cuda13", "no wheel for aarch64"),
        (linux("580.65", (11, 0), processor="aarch64"), "cpu-cuda13", "no wheel for aarch64"),
        (linux("550.54", (9, 0), processor="aarch64"), "cpu", "no build of torch fits"),
        (linux(""), "cpu", "no NVIDIA driver"),
        (Host("Darwin", "arm64"), "cpu", "Darwin has no CUDA"),
        (Host("Darwin", "x86_64", "580.65", ((9, 0),)), "cpu", "Darwin has no CUDA"),
    ],
)
def test_builds_fit_the_driver_and_the_gpus(machine, name, words):
    found = decide(machine)
    assert found.name == name
    assert words in found.describe()
    assert "\n" not in found.describe()


def test_versions_are_those_of_the_files():
    for torch in builds.TORCHES:
        merged = builds.merge(ROOT / name for name in ("constraints.txt", *torch.constraints))
        lines = merged.splitlines()
        assert f"torch=={torch.version}" in lines
        names = [line.partition("==")[0] for line in lines]
        assert len(names) == len(set(names))
        assert {"faiss-gpu==1.15.1", "nvidia-cublas-cu12==12.8.4.1"} <= set(lines)
    assert "triton==3.6.0" in lines  # of the older torch, in place of 3.7.1
    assert "cuda-bindings==12.9.4" in lines


def test_the_more_specific_pin_stays(tmp_path):
    (tmp_path / "a.txt").write_text("# why\nNumPy==1\nfaiss_cpu==1.2\n\ntorch==3\n")
    (tmp_path / "b.txt").write_text("numpy==2\nfaiss.cpu==1.3\n")
    merged = builds.merge([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert merged == "faiss.cpu==1.3\nnumpy==2\ntorch==3\n"


@pytest.mark.parametrize(
    ("installed", "machine", "misfits"),
    [
        ([], linux("580.65"), []),
        (["faiss_cpu-1.15.1", "torch-2.13.0"], linux(""), []),
        (["faiss_cpu-1.15.1", "torch-2.13.0"], linux("580.65"), ["faiss-cpu"]),
        (["faiss_gpu-1.15.1"], linux("580.65"), []),
        (["faiss_gpu-1.15.1", "torch-2.10.0"], linux(""), ["faiss-gpu"]),
        (["faiss_gpu-1.15.1", "faiss_cpu-1.15.1"], linux(""), ["faiss-cpu", "faiss-gpu"]),
        (["faiss_gpu-1.15.1", "faiss_cpu-1.15.1"], linux("580.65"), ["faiss-cpu", "faiss-gpu"]),
        (["faiss_gpu_cuvs-1.15.1"], linux("580.65"), ["faiss-gpu-cuvs"]),
        (["faiss_gpu-1.15.1", "torch-2.13.0+cpu"], linux("580.65"), ["torch"]),
        (["faiss_gpu-1.15.1", "torch-2.13.0+cu130"], linux("580.65"), []),
        (["faiss_cpu-1.15.1", "torch-2.13.0+cpu"], linux(""), []),
    ],
)
def test_what_is_in_the_way_is_named(tmp_path, installed, machine, misfits):
    for name in installed:
        (tmp_path / f"lib/python3.11/site-packages/{name}.dist-info").mkdir(parents=True)
    assert builds.find_misfits(tmp_path, decide(machine)) == misfits


# make, with a Python whose venv and pip write down what they are asked for
PYTHON = """#!/bin/sh
site=.venv/lib/python3.11/site-packages
case "$*" in
  "-m venv "*) mkdir -p .venv/bin $site; cp "$0" .venv/bin/python;;
  *" uninstall "*) echo "$*" >>asked; rm -r $site/faiss_*;;
  *" install "*) echo "$*" >>asked
    case "$*" in *'.[cpu'*) mkdir -p $site/faiss_cpu-1.15.1.dist-info;;
      *'.[gpu'*) mkdir -p $site/faiss_gpu-1.15.1.dist-info;; esac;;
  *accelerators*) echo described;;
  *) exec {python} "$@";;
esac
"""


@pytest.fixture
def make(tmp_path, smi):
    """A function that runs make in a copy of what it reads: what pip was asked for, and lines."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU, which make would see")
    place = tmp_path / "checkout"
    for name in ("harness", "tests", "benchmarks"):
        (place / name).mkdir(parents=True)
    pins = [path.name for path in ROOT.glob("constraints*.txt")]
    for name in ("Makefile", "pyproject.toml", "harness/builds.py", *pins):
        shutil.copyfile(ROOT / name, place / name)
    python = place / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)

    def run(*goals: str, said: str = "") -> tuple[list[str], list[str]]:
        (place / "asked").unlink(missing_ok=True)
        outer = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
        done = subprocess.run(
            ["make", f"PYTHON={python}", *goals],
            cwd=place, env=outer, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, said)
        asked = (place / "asked").read_text().splitlines() if (place / "asked").exists() else []
        return [re.sub(r".* (?=(un)?install )", "", line) for line in asked], _lines(done.stdout)

    return run


def _lines(text: str) -> list[str]:
    shown = (".venv/bin/python", "rm ", "find ")  # commands as make shows them
    return [line for line in text.splitlines() if not line.startswith(shown)]


def stamps(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "checkout/.venv").glob("ready*")}


def test_an_environment_is_remade_when_a_gpu_comes_and_goes(make, smi, tmp_path):
    venv = tmp_path / "checkout/.venv"
    asked, lines = make(".venv/ready")
    assert [line.split()[-1] for line in asked] == [".[cpu,minilm]"]
    assert lines == [
        "Setting up .venv: torch 2.13.0 on the processor and faiss-cpu (there is no nvidia-smi); "
        "a few minutes, once",
        "described",
    ]
    assert stamps(tmp_path) == {"ready", "ready-cpu"}

    smi(gpus("9.0", driver="580.65.06"))
    asked, lines = make("setup")
    assert [line.split()[0] for line in asked] == ["uninstall", "install"]
    assert asked[0].endswith("faiss-cpu")
    assert asked[1].endswith(".[gpu,minilm]")
    assert "driver 580.65.06, compute capability 9.0" in lines[0]
    assert lines[1:] == ["described"]
    assert stamps(tmp_path) == {"ready", "ready-gpu-cuda13"}
    assert "torch==2.13.0\n" in (venv / "constraints.txt").read_text()

    smi(gpus("9.0", driver="550.54"))  # an older driver
    asked, _ = make(".venv/ready")
    assert [line.split()[0] for line in asked] == ["install"]
    assert "torch==2.10.0\n" in (venv / "constraints.txt").read_text()

    smi(gpus("9.0", driver="470.57"))  # one that no build for GPUs runs under
    asked, _ = make(".venv/ready")
    assert asked[0].endswith("faiss-gpu")
    assert asked[1].endswith(".[cpu,minilm]")
    assert stamps(tmp_path) == {"ready", "ready-cpu"}


KEPT = (
    "no driver answers here ({}): .venv keeps its builds for GPUs (gpu-cuda12), which compute on "
    "the processor too; to have those for it: make clean, then make setup\n"
)


def test_an_environment_for_gpus_stays_where_no_driver_answers(make, smi, tmp_path):
    venv = tmp_path / "checkout/.venv"
    smi(gpus("9.0", driver="550.54"))
    make(".venv/ready-dev")
    before = stamps(tmp_path)
    for script, why in (
        (None, "there is no nvidia-smi"),
        ("echo No devices were found; exit 6", "nvidia-smi: No devices were found"),
    ):
        smi(script)
        assert make(".venv/ready-dev", said=KEPT.format(why))[0] == []
        assert make("setup", said=KEPT.format(why)) == ([], ["described"])
        assert stamps(tmp_path) == before

    for path in venv.glob("ready*"):  # older than the pins: made again, for the same GPUs
        os.utime(path, (1e9, 1e9))
    asked, lines = make(".venv/ready", said=KEPT.format(why))
    assert [line.split()[0] for line in asked] == ["install"]
    assert asked[0].endswith(".[gpu,minilm]")
    assert "for CUDA 12.8 and faiss-gpu (as gpu-cuda12 was chosen before)" in lines[0]
    assert "torch==2.10.0\n" in (venv / "constraints.txt").read_text()
    assert stamps(tmp_path) == {"ready", "ready-gpu-cuda12"}

    make("clean")  # the way back
    asked, _ = make(".venv/ready")
    assert [line.split()[-1] for line in asked] == [".[cpu,minilm]"]
    assert stamps(tmp_path) == {"ready", "ready-cpu"}


@pytest.mark.parametrize(
    ("made", "machine", "name"),
    [
        ("gpu-cuda13", linux(""), "gpu-cuda13"),
        ("gpu", linux(""), "gpu"),
        ("cpu-cuda13", linux("", processor="aarch64"), "cpu-cuda13"),
        ("cpu", linux(""), "cpu"),
        ("", linux(""), "cpu"),
        ("cpu", linux("580.65"), "gpu-cuda13"),
        ("cpu", linux("580.65", (9, 0)), "gpu-cuda13"),
        ("gpu-cuda12", linux("580.65", (9, 0)), "gpu-cuda13"),
        ("gpu-cuda13", linux("580.65", (7, 0)), "gpu-cuda12"),
        ("gpu-cuda12", linux("580.65"), "gpu-cuda12"),  # nvidia-smi fails: perhaps of V100s
        ("gpu-cuda13", linux("550.54"), "gpu-cuda12"),
        ("gpu-cuda12", linux("470.57"), "cpu"),
        ("gpu", linux("470.57"), "cpu"),
        ("gpu-cuda13", linux("580.65", (6, 1)), "cpu"),
        ("gpu-cuda11", linux(""), "cpu"),  # builds that nobody knows any more
        ("gpu-cuda13", Host("Darwin", "arm64"), "cpu"),
    ],
)
def test_what_an_environment_was_made_for_counts_where_no_gpu_answers(
    tmp_path, monkeypatch, made, machine, name
):
    if made:
        (tmp_path / f"ready-{made}").touch()
    monkeypatch.setattr(builds, "look", lambda patience: machine)
    assert builds.choose_name(tmp_path) == name


@pytest.mark.parametrize("name", ["cpu", "gpu", "cpu-cuda13", "gpu-cuda12", "gpu-cuda13"])
def test_builds_are_known_by_the_name_of_their_stamp(name):
    assert builds.recall(name).name == name


def test_what_fits_stays(make, smi, tmp_path):
    smi(gpus("9.0", driver="580.65.06"))
    make(".venv/ready-ci")
    assert stamps(tmp_path) == {"ready", "ready-ci", "ready-dev", "ready-gpu-cuda13"}
    assert make(".venv/ready-ci")[0] == []
    assert make("setup") == ([], ["described"])
    smi(gpus("9.0", driver="590.1"))  # a driver for the same builds
    assert make(".venv/ready-ci")[0] == []
    for path in (tmp_path / "checkout/.venv").glob("ready*"):  # before constraints were written
        os.utime(path, (1e9, 1e9))
    assert [line.split()[0] for line in make(".venv/ready")[0]] == ["install"]


def test_an_environment_of_before_is_made_again_once(make, tmp_path):
    (tmp_path / "checkout/.venv").mkdir()
    (tmp_path / "checkout/.venv/ready").touch()
    assert len(make(".venv/ready")[0]) == 1
    assert make(".venv/ready")[0] == []


def test_a_hanging_driver_changes_nothing(smi, tmp_path, monkeypatch, capsys):
    smi("exec sleep 60")
    monkeypatch.setattr(builds, "PATIENCE", 0.2)
    venv = tmp_path / "venv"
    assert builds.choose_name(venv) == "cpu"
    assert capsys.readouterr().err == HANGS.format("builds are chosen without it")
    venv.mkdir()
    (venv / "ready-gpu-cuda12").touch()
    (venv / "ready-dev").touch()
    assert builds.choose_name(venv) == "gpu-cuda12"
    assert capsys.readouterr().err == (
        "nvidia-smi has not answered in 0.2 s: builds for GPUs stay as they are\n"
    )
    (venv / "ready-gpu-cuda12").rename(venv / "ready-cpu")
    assert builds.choose_name(venv) == "cpu"
    assert capsys.readouterr().err == HANGS.format("builds for the processor stay as they are")


HANGS = "nvidia-smi has not answered in 0.2 s: {}\n"


def test_a_driver_that_is_loaded_counts_while_nvidia_smi_hangs(smi, tmp_path, monkeypatch):
    smi("exec sleep 60")
    monkeypatch.setattr(builds, "PATIENCE", 0.2)
    builds.KERNEL.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue\n")
    builds.CONTROL.touch()
    found = builds.look()
    assert (found.driver, found.hangs) == ("550.54.15", True)
    assert builds.choose_name(tmp_path / "none") == "gpu-cuda12"
    (tmp_path / "ready-cpu").touch()
    assert builds.choose_name(tmp_path) == "cpu"  # until it answers


def test_nobody_waits_long_for_one_that_hung_lately(smi, tmp_path, monkeypatch):
    waited = list[float | None]()
    hanging = Host("Linux", "x86_64", hangs=True, silence="hangs")
    seen = [hanging, hanging, hanging, linux("580.65"), hanging]

    def look(patience: float | None) -> Host:
        waited.append(patience)
        return seen[len(waited) - 1]

    monkeypatch.setattr(builds, "look", look)
    (tmp_path / "ready-cpu").touch()
    mark = tmp_path / "nvidia-smi-hangs"
    for _ in range(2):
        builds.choose_name(tmp_path)
    assert mark.exists()
    os.utime(mark, (time.time() - builds.LATELY - 9,) * 2)
    builds.choose_name(tmp_path)  # an hour later it may do again
    builds.choose_name(tmp_path)  # it answers
    assert not mark.exists()
    builds.choose_name(tmp_path)
    assert waited == [None, builds.AGAIN, None, builds.AGAIN, None]
    monkeypatch.setattr(Path, "touch", lambda path: Path("/dev/null/x").mkdir())
    mark.unlink()
    seen.append(hanging)
    builds.choose_name(tmp_path)  # in an environment that is another's
    assert builds.AGAIN < builds.PATIENCE


def test_help_asks_no_driver(make, smi, tmp_path):
    smi("echo asked >seen; echo '580.65, 9.0'")
    make("--dry-run", "help")
    make("--dry-run", "clean")
    assert not (tmp_path / "checkout/seen").exists()
    make("--dry-run", "setup")
    assert (tmp_path / "checkout/seen").exists()
