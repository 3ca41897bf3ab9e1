"""GPUs of this machine: what the driver, torch and faiss each see, and what changes their sums.

Nothing of CUDA is loaded where no driver is, so that an evaluation on the processor pays nothing.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from harness import optional
from harness.errors import InputError
from harness.optional import install
from harness.wording import count

OLDEST = 525  # drivers that CUDA 12 can run on, and so faiss-gpu
DRIVER = Path("/proc/driver/nvidia/version")
TRACES = (DRIVER, Path("/dev/nvidiactl"), Path("/dev/dxg"))  # the last under WSL
HIDDEN = ("", "-1", "none", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES
# that let products be less exact, in every library, than the bound of rounding supposes
VOIDING = ("NVIDIA_TF32_OVERRIDE", "CUBLAS_EMULATE_SINGLE_PRECISION")
# that decide which device computes, or how
VARIABLES = (
    *VOIDING,
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_EMULATION_STRATEGY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver lists it; memory in bytes, capability as in 9.0."""

    number: int
    name: str
    capability: str
    free: int
    total: int


def present() -> bool:
    """Tell whether a driver is loaded and CUDA_VISIBLE_DEVICES leaves a device to see."""
    return not hidden() and any(trace.exists() for trace in TRACES)


def hidden() -> bool:
    """Tell whether CUDA_VISIBLE_DEVICES hides every device."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in HIDDEN


@cache
def driver() -> str | None:
    """Version of the driver; None where none answers."""
    try:
        found = re.search(r"Kernel Module\D*(\d+\.[\d.]+)", DRIVER.read_text(encoding="utf-8"))
    except OSError:
        found = None
    if found:
        return found[1]
    return next((row[0] for row in _ask_driver("driver_version")), None)


def gpus() -> list[Gpu]:
    """List the GPUs by the driver, whatever CUDA_VISIBLE_DEVICES hides."""
    fields = "index", "name", "compute_cap", "memory.free", "memory.total"
    return [
        Gpu(int(number), name, capability, _mebibytes(free), _mebibytes(total))
        for number, name, capability, free, total in _ask_driver(*fields)
    ]


def _mebibytes(written: str) -> int:
    return int(written) << 20 if written.isdigit() else 0


def _ask_driver(*fields: str) -> list[list[str]]:
    """Ask nvidia-smi for fields of each GPU; nothing where it does not answer."""
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = csv.reader(answer.stdout.splitlines(), skipinitialspace=True)
    return [row for row in rows if len(row) == len(fields)]


def too_old() -> bool:
    """Tell whether the driver is older than CUDA 12 asks for."""
    found = driver()
    return found is not None and int(found.split(".")[0]) < OLDEST


def torch_count() -> int:
    """CUDA devices that torch can use: those that a driver lists count only where CUDA starts."""
    return _start_torch()[0] if present() else 0


def _start_torch() -> tuple[int, str]:
    """Devices that torch can use, and what it says where it can use none."""
    import torch

    if torch.version.cuda is None:
        return 0, f"torch {torch.__version__} is a build for the processor"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return torch.cuda.device_count(), ""
    why = " ".join(str(said[-1].message).split()) if said else "CUDA does not start"
    return 0, f"torch {torch.__version__}: {why}"


def faiss_count() -> int:
    """CUDA devices that faiss can use; under an old driver faiss would end the process."""
    if not present() or too_old():
        return 0
    try:
        return int(optional.load("faiss", "cpu").get_num_gpus())
    except (InputError, RuntimeError):
        return 0


def faiss_name() -> str | None:
    """The distribution that faiss comes from, with its version; None where there is none."""
    found = [(name, dist) for name in FAISS if (dist := _distribution(name))]
    return " over ".join(f"{name} {dist.version}" for name, dist in found[::-1]) or None


def overwritten() -> str:
    """Say how to mend several builds of faiss in one folder, where the last overwrote the others.

    Returns:
        A line with both commands; empty where there is no more than one.
    """
    places: dict[str, list[str]] = {}
    for name in FAISS:
        if dist := _distribution(name):
            places.setdefault(str(dist.locate_file("faiss")), []).append(name)
    for names in places.values():
        if len(names) > 1:
            both = " and ".join(names)
            return f"{both} are installed over each other: {replace(*names)}"
    return ""


def replace(*names: str) -> str:
    """The two commands that put faiss for GPUs in the place of builds of it."""
    line = install("gpu")
    pip = line.partition(" install ")[0]
    return f"{pip} uninstall -y {' '.join(names)}, then {line}"


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def explain() -> str:
    """Say why neither torch nor faiss can use a GPU, and what to do about it."""
    return "; ".join(dict.fromkeys(filter(None, [explain_torch(), explain_faiss()])))


def explain_torch() -> str:
    """Say why torch uses no GPU of a machine that has one; empty where it uses one."""
    if said := _explain_driver():
        return said
    devices, why = _start_torch()
    if devices:
        return ""
    return f"{why}; the driver is {driver() or 'unknown'}: `make setup` chooses builds that fit it"


def explain_faiss() -> str:
    """Say why faiss uses no GPU of a machine that has one; empty where it uses one."""
    if said := _explain_driver():
        return said
    if faiss_count():
        return ""
    if mend := overwritten():
        return mend
    name = faiss_name()
    if name is None or name.startswith("faiss-cpu"):
        return f"{name or 'faiss, which is not installed,'} is for the processor: " + replace(
            "faiss-cpu"
        )
    return f"{name} sees no CUDA device under driver {driver() or 'unknown'}"


def _explain_driver() -> str:
    """Say why no library can use a GPU; empty where a driver lets them."""
    if hidden():
        value = os.environ["CUDA_VISIBLE_DEVICES"]
        return f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU: unset it"
    if not present():
        return "no NVIDIA driver is loaded"
    if too_old():
        return f"driver {driver()} is older than CUDA 12 asks for: install {OLDEST} or newer"
    return ""


def name_voiding() -> str:
    """Name the variables that make products less exact than the bound supposes; empty for none."""
    found = [f"{name}={os.environ[name]}" for name in VOIDING if os.environ.get(name, "0") != "0"]
    return " and ".join(found)


def variables() -> dict[str, str]:
    """Variables of this process that decide which device computes, or how."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def describe() -> str:
    """Say in one line what encodes and what searches, and what to do where it is no GPU."""
    import torch

    used = [
        f"encoding by torch {torch.__version__} on {_where(torch_count())}",
        f"search by {faiss_name() or 'no faiss'} on {_where(faiss_count())}",
    ]
    if hidden():
        return f"{', '.join(used)}: {explain()}"
    if not present():
        return ", ".join(used)
    found = f"{count(len(gpus()), 'GPU')} under driver {driver()}"
    why = explain()
    return f"{found}: {', '.join(used)}" + (f"; {why}" if why else "")


def _where(devices: int) -> str:
    return count(devices, "GPU") if devices else "the processor"
