"""What is said of GPUs, of drivers, and of builds that do not fit them: one line each."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness import accelerators, builds, environment, visibility
from harness.builds import Host

H200 = visibility.Gpu(0, "NVIDIA H200", "9.0", 1 << 37, 1 << 37)
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12040).\nPlease update"


def overlay(folder: Path, name: str, code: str) -> None:
    """Write the files of a build of faiss, and what its RECORD says of them."""
    (folder / "faiss").mkdir(exist_ok=True)
    (folder / "faiss/_swigfaiss.so").write_text(code)
    digest = base64.urlsafe_b64encode(hashlib.sha256(code.encode()).digest()).rstrip(b"=").decode()
    record = folder / f"{name.replace('-', '_')}-1.15.1.dist-info/RECORD"
    record.write_text(f"faiss/_swigfaiss.so,sha256={digest},{len(code)}\n{name}.libs/x.so,,\n")


@dataclass
class Stand:
    """What stands in the place of a driver, torch and the installed distributions of faiss."""

    patch: pytest.MonkeyPatch
    folder: Path

    def __call__(
        self,
        driver: str | None = "580.65.06",
        capabilities: tuple[tuple[int, int], ...] = ((9, 0),),
        *,
        torch: str = "2.13.0",
        cuda: str | None = "13.0",
        starts: bool = True,
        code: str = "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120",
        faiss: tuple[str, ...] = ("faiss-gpu",),
        sees: int | Exception | None = None,
        processor: str = "x86_64",
    ) -> None:
        self.drive(Host("Linux", processor, driver or "", capabilities, "no nvidia-smi"))
        self.set_torch(torch, cuda, starts, code, capabilities)
        self.set_faiss(faiss, len(capabilities) if sees is None else sees)

    def drive(self, machine: Host) -> None:
        listed = [H200] * len(machine.capabilities)
        self.patch.setattr(accelerators, "gpus", lambda: listed)
        self.patch.setattr(builds, "look", lambda patience: machine)
        self.patch.setattr(builds, "read_loaded", lambda: machine.driver)
        trace = self.folder / "nvidiactl"
        self.patch.setattr(accelerators, "TRACES", (trace,))
        if machine.driver:
            trace.touch()

    def set_torch(self, version, cuda, starts, code, capabilities) -> None:
        def start() -> bool:
            if not starts:
                warnings.warn(TOO_OLD, stacklevel=2)
            return starts

        self.patch.setattr(torch, "__version__", version)
        self.patch.setattr(torch.version, "cuda", cuda)
        self.patch.setattr(torch.cuda, "is_available", start)
        self.patch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        self.patch.setattr(torch.cuda, "get_arch_list", code.split)
        self.patch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
        self.install("torch", version)

    def set_faiss(self, names, sees) -> None:
        def count() -> int:
            if isinstance(sees, Exception):
                raise sees
            return sees

        for name in names:  # each over the one before
            self.install(name, "1.15.1")
            overlay(self.folder, name, f"code of {name}")
        spec = SimpleNamespace(origin=str(self.folder / "faiss/__init__.py") if names else None)
        self.patch.setattr(accelerators.importlib.util, "find_spec", lambda _: spec)
        self.patch.setitem(sys.modules, "faiss", SimpleNamespace(get_num_gpus=count))

    def install(self, name: str, version: str) -> None:
        folder = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")

    def find(self, name: str) -> metadata.Distribution:
        for each in metadata.Distribution.discover(name=name, path=[str(self.folder)]):
            return each
        raise metadata.PackageNotFoundError(name)


@pytest.fixture
def machine(monkeypatch, tmp_path) -> Iterator[Stand]:
    for name in accelerators.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    stand = Stand(monkeypatch, tmp_path)
    monkeypatch.setattr(metadata, "distribution", stand.find)
    monkeypatch.setattr(accelerators, "install", lambda extra: f"pip install -e '.[{extra}]'")
    cached = accelerators.driver, accelerators._look, accelerators._list_once
    for function in cached:
        function.cache_clear()
    yield stand
    for function in cached:
        function.cache_clear()


GOOD = "encoding by torch 2.13.0 on 1 GPU, search by faiss-gpu 1.15.1 on 1 GPU"
TORCH = "encoding by torch 2.13.0 on 1 GPU"
NONE = "encoding by torch 2.13.0 on the processor, search by faiss-gpu 1.15.1 on the processor"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, f"1 GPU under driver 580.65.06: {GOOD}"),
        (
            {"capabilities": ((9, 0), (8, 6))},
            f"2 GPUs under driver 580.65.06: {GOOD.replace('1 GPU', '2 GPUs')}",
        ),
        ({"driver": None}, f"{NONE}; no NVIDIA driver is loaded"),
        (
            {"driver": None, "faiss": ("faiss-cpu",), "cuda": None, "torch": "2.13.0+cpu"},
            "encoding by torch 2.13.0+cpu on the processor, search by faiss-cpu 1.15.1 "
            "on the processor; no NVIDIA driver is loaded",
        ),
        (  # older than any build
            {"driver": "470.57", "capabilities": (), "starts": False},
            f"driver 470.57: {NONE}; driver 470.57 is older than CUDA 12 asks for: "
            "install 525 or newer",
        ),
        (  # faiss alone can use the driver
            {"driver": "550.54", "starts": False},
            "1 GPU under driver 550.54: encoding by torch 2.13.0 on the processor, search by "
            "faiss-gpu 1.15.1 on 1 GPU; torch 2.13.0 is a build for CUDA 13.0, which asks for "
            "driver 580 or newer; this is 550.54: pip uninstall -y torch, "
            "then pip install torch==2.10.0",
        ),
        (  # CUDA does not start under a driver that fits
            {"starts": False, "sees": 0},
            f"1 GPU under driver 580.65.06: {NONE}; torch 2.13.0: The NVIDIA driver on your system "
            "is too old (found version 12040). Please update; "
            "faiss-gpu 1.15.1 sees no CUDA device under driver 580.65.06: expected a GPU of "
            "compute capability 7.0 or newer under driver 525 or newer: see whether nvidia-smi "
            "lists it, and this user may read and write /dev/nvidia*",
        ),
        (  # torch alone
            {"faiss": ("faiss-cpu",), "sees": 0},
            f"1 GPU under driver 580.65.06: {TORCH}, search by torch 2.13.0 on 1 GPU, where exact, "
            "else faiss-cpu 1.15.1 on the processor; faiss-cpu 1.15.1 is for the processor: "
            "pip uninstall -y faiss-cpu, then pip install -e '.[gpu]'",
        ),
        (
            {"faiss": ("faiss-cpu",), "sees": 0, "processor": "aarch64"},
            f"1 GPU under driver 580.65.06: {TORCH}, search by torch 2.13.0 on 1 GPU, where exact, "
            "else faiss-cpu 1.15.1 on the processor; faiss-cpu 1.15.1 searches on the processor "
            "(faiss-gpu has no wheel for aarch64)",
        ),
        (
            {"faiss": ("faiss-cpu", "faiss-gpu")},
            "1 GPU under driver 580.65.06: encoding by torch 2.13.0 on 1 GPU, search by faiss-gpu "
            "1.15.1 over faiss-cpu 1.15.1 on 1 GPU; faiss-cpu and faiss-gpu are installed over "
            "each other: pip uninstall -y faiss-cpu faiss-gpu, then pip install -e '.[gpu]'",
        ),
        (
            {"cuda": None, "torch": "2.13.0+cpu"},
            "1 GPU under driver 580.65.06: encoding by torch 2.13.0+cpu on the processor, search "
            "by faiss-gpu 1.15.1 on 1 GPU; torch 2.13.0+cpu is a build for the processor: "
            "pip uninstall -y torch, then pip install torch==2.13.0",
        ),
        (  # torch lists a device that it has no code for
            {"capabilities": ((7, 0),)},
            "1 GPU under driver 580.65.06: encoding by torch 2.13.0 on the processor, search by "
            "faiss-gpu 1.15.1 on 1 GPU; torch 2.13.0 has no code for GPU 0 of compute capability "
            "7.0: pip uninstall -y torch, then pip install torch==2.10.0",
        ),
        (
            {"capabilities": ((6, 1),)},
            f"1 GPU under driver 580.65.06: {NONE}; torch 2.13.0 has no code for GPU 0 of compute "
            "capability 6.1 (no build of torch fits); faiss-gpu 1.15.1 searches on the processor "
            "(faiss-gpu has no code for these GPUs)",
        ),
        (
            {"sees": RuntimeError("faiss-gpu installed but nvidia-cublas-cu12 is missing")},
            f"1 GPU under driver 580.65.06: {TORCH}, search by torch 2.13.0 on 1 GPU, where exact, "
            "else faiss-gpu 1.15.1 on the processor; faiss cannot be loaded (faiss-gpu installed "
            "but nvidia-cublas-cu12 is missing) under driver 580.65.06: pip install -e '.[gpu]'",
        ),
        (
            {"faiss": (), "sees": 0},
            f"1 GPU under driver 580.65.06: {TORCH}, search by torch 2.13.0 on 1 GPU, where exact, "
            "else no faiss on the processor; faiss, which is not installed, is for the processor: "
            "pip install -e '.[gpu]'",
        ),
    ],
)
def test_one_line_says_what_encodes_and_what_searches(machine, given, line):
    machine(**given)
    assert accelerators.describe() == line


def test_devices_that_are_hidden(machine, monkeypatch):
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert accelerators.describe() == (f"{NONE}; CUDA_VISIBLE_DEVICES='' hides every GPU: unset it")
    assert (accelerators.torch_count(), accelerators.faiss_count()) == (0, 0)


def test_a_variable_that_may_hide_what_faiss_looks_for_is_named(machine, monkeypatch):
    machine(sees=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert accelerators.explain_faiss().endswith(
        "read and write /dev/nvidia* and CUDA_VISIBLE_DEVICES='7' names it"
    )


@pytest.mark.parametrize(
    ("devices", "named"), [(1, "cuda:0"), (2, "cuda:0 or cuda:1"), (8, "cuda:0 to cuda:7")]
)
def test_devices_are_named_for_a_choice(devices, named):
    assert accelerators.name_ordinals(devices) == named


def test_a_variable_that_voids_the_bound_is_named(machine, monkeypatch):
    machine()
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert accelerators.describe().endswith(
        "; NVIDIA_TF32_OVERRIDE=1 is refused by exact search: unset it"
    )


@pytest.mark.parametrize(
    ("code", "capabilities", "count"),
    [
        ("sm_80 sm_90", ((9, 0), (8, 6), (7, 5)), 2),
        ("sm_80 sm_90", ((7, 5), (9, 0)), 0),  # the first is what encoding takes
        ("sm_80 sm_86", ((8, 0), (8, 9)), 2),
        ("sm_86", ((8, 0),), 0),
        ("sm_80 compute_80", ((12, 0),), 1),  # PTX
        ("sm_80 compute_80", ((7, 5),), 0),
        ("sm_75 sm_100 sm_120", ((10, 3), (12, 1), (11, 0)), 2),
        ("", ((9, 0),), 1),  # a build that does not tell
    ],
)
def test_devices_count_up_to_the_first_that_torch_has_no_code_for(
    machine, code, capabilities, count
):
    machine(capabilities=capabilities, code=code)
    assert accelerators.torch_count() == count


def test_faiss_uses_gpus_that_it_has_code_for(machine):
    machine(capabilities=((8, 6), (6, 1)))
    assert accelerators.faiss_count() == 1


def test_nothing_is_loaded_where_there_is_no_driver(machine):
    machine(None, cuda="13.0", sees=RuntimeError("faiss was asked"))
    assert (accelerators.torch_count(), accelerators.faiss_count()) == (0, 0)
    assert accelerators.explain() == "no NVIDIA driver is loaded"


def test_torch_that_cannot_be_imported_is_said(machine, monkeypatch):
    machine()
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch cannot be imported (import of torch halted" in accelerators.describe()


ROWS = [
    ["0", "NVIDIA A100", "8.0", "80000", "81920", "GPU-aa"],
    ["1", "NVIDIA A100", "8.0", "[N/A]", "[N/A]", "GPU-bb"],
    ["2", "NVIDIA A100", "8.0", "0", "81920", "GPU-cc"],
    ["[N/A]", "", "", "", "", ""],
]


@pytest.fixture
def real_gpus():
    """What lists GPUs, before `machine` puts something in its place."""
    return accelerators.gpus


def test_what_a_gpu_does_not_tell_is_unknown(real_gpus, machine, monkeypatch):
    machine()
    monkeypatch.setattr(accelerators, "gpus", real_gpus)
    monkeypatch.setattr(builds, "ask_driver", lambda *fields: ROWS)
    assert [(gpu.number, gpu.free, gpu.total) for gpu in accelerators.gpus()] == [
        (0, 80000 << 20, 81920 << 20),
        (1, None, None),
        (2, 0, 81920 << 20),
    ]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    free = [accelerators.free_memory(ordinal) for ordinal in range(4)]
    assert free == [80000 << 20, None, 0, None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-cc,GPU-aa")
    free = [accelerators.free_memory(ordinal) for ordinal in range(3)]
    assert free == [0, 80000 << 20, None]
    assert accelerators.name_devices(2) == ["NVIDIA A100"] * 2


def test_nobody_waits_again_for_a_nvidia_smi_that_hung(real_gpus, machine, monkeypatch):
    def ask(*fields: str) -> list[list[str]]:
        raise AssertionError("asked again")

    machine()
    machine.drive(Host("Linux", "x86_64", "580.65", (), "nvidia-smi hangs", hangs=True))
    monkeypatch.setattr(accelerators, "gpus", real_gpus)
    monkeypatch.setattr(builds, "ask_driver", ask)
    assert accelerators.gpus() == []
    assert accelerators.free_memory(0) is None
    assert accelerators.name_devices(2) == ["unknown", "unknown"]


@pytest.mark.parametrize(("noted", "patience"), [(False, None), (True, builds.AGAIN)])
def test_what_make_noted_of_a_nvidia_smi_that_hangs_counts(
    machine, monkeypatch, tmp_path, noted, patience
):
    waited = list[float | None]()
    monkeypatch.setattr(builds, "look", waited.append)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if noted:
        (tmp_path / builds.HANGS).touch()
    accelerators._look()
    assert waited == [patience]


def test_a_record_names_the_gpus_that_faiss_alone_sees(machine, monkeypatch):
    machine(starts=False)
    assert environment.current().gpus == ["NVIDIA H200"]
    monkeypatch.delitem(sys.modules, "faiss")  # nothing is loaded for it
    assert environment.current().gpus == []
    assert "faiss" not in sys.modules


def test_a_record_asks_nothing_where_there_is_no_driver(machine, monkeypatch):
    machine(None, starts=False, sees=RuntimeError("faiss was asked"))
    monkeypatch.setattr(accelerators, "gpus", lambda: pytest.fail("nvidia-smi was asked"))
    assert environment.current().gpus == []


ALL = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")


@pytest.mark.parametrize(
    ("order", "name", "lost"),
    [
        (ALL[:1], "faiss-cpu 1.15.1", []),
        (ALL[:2], "faiss-gpu 1.15.1 over faiss-cpu 1.15.1", ["faiss-cpu"]),
        (ALL[1::-1], "faiss-cpu 1.15.1 over faiss-gpu 1.15.1", ["faiss-gpu"]),
        (
            ALL[::-1],
            "faiss-cpu 1.15.1 over faiss-gpu 1.15.1 over faiss-gpu-cuvs 1.15.1",
            ["faiss-gpu", "faiss-gpu-cuvs"],
        ),
    ],
)
def test_faiss_is_the_build_whose_files_are_there(machine, order, name, lost):
    machine(faiss=order)
    assert accelerators.faiss_name() == name
    assert accelerators.list_lost() == lost
    listed = " and ".join(sorted(order))
    said = f"{listed} are installed over each other: the files of faiss are those of {order[-1]}"
    assert accelerators.tell_overwritten() == (f"{said} 1.15.1" if lost else "")
    assert accelerators.overwritten().startswith(f"{listed} are installed" if lost else "")
    assert bool(accelerators.overwritten()) == bool(lost)


def test_mixed_files_are_of_no_build(machine, tmp_path):
    machine(faiss=ALL[:2])
    (tmp_path / "faiss/_swigfaiss.so").write_text("code of nobody")
    assert accelerators.faiss_name() == "faiss-cpu 1.15.1 and faiss-gpu 1.15.1 over each other"
    assert accelerators.list_lost() == []
    assert accelerators.tell_overwritten().endswith("are not those of one of them")


def test_a_build_that_lost_is_no_package_of_a_record(machine, monkeypatch):
    versions = {"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.1"}
    monkeypatch.setattr(environment, "_version", versions.get)
    for order, won in ((ALL[:2], "faiss-gpu"), (ALL[1::-1], "faiss-cpu")):
        for folder in machine.folder.glob("*.dist-info"):
            shutil.rmtree(folder)
        machine(faiss=order)
        found = environment._machine.__wrapped__().packages
        assert [name for name in found if name.startswith("faiss")] == [won]


def test_builds_are_exchanged_by_two_commands(machine):
    machine(None, faiss=("faiss-gpu",))
    assert accelerators.replace() == ("pip uninstall -y faiss-gpu, then pip install -e '.[cpu]'")
    assert accelerators.replace("faiss-cpu", extra="cuvs") == (
        "pip uninstall -y faiss-cpu, then pip install -e '.[cuvs]'"
    )
