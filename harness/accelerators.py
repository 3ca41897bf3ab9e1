"""GPUs of this machine: what the driver, torch and faiss each see, and what changes their sums.

Nothing of CUDA is loaded where no driver is, so that an evaluation on the processor pays nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import warnings
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import builds
from harness.errors import InputError, reason
from harness.optional import install, load
from harness.overlaid import find_owner
from harness.visibility import Gpu, find_visible, least_free, name_all
from harness.wording import count

TRACES = (builds.KERNEL, builds.CONTROL, Path("/dev/dxg"))  # the last under WSL
FULL = ("out of memory", "alloc fail", "alloc_failed", "cudaerrormemoryallocation")
# how much a full device was asked for, by torch and by faiss
ASKED = re.compile(r"allocate (\d[\d.]*) ([KMG]?)i?B|size (\d+) bytes")
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


def present() -> bool:
    """Tell whether a driver is loaded and CUDA_VISIBLE_DEVICES leaves a device to see."""
    return not hidden() and any(trace.exists() for trace in TRACES)


def hidden() -> bool:
    """Tell whether CUDA_VISIBLE_DEVICES hides every device."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in HIDDEN


@cache
def driver() -> str | None:
    """Version of the driver; None where none answers."""
    loaded = builds.read_loaded()
    return loaded or next((row[0] for row in _ask_driver("driver_version")), None)


def gpus() -> list[Gpu]:
    """List the GPUs by the driver, whatever CUDA_VISIBLE_DEVICES hides."""
    fields = "index", "name", "compute_cap", "memory.free", "memory.total", "uuid"
    return [
        Gpu(int(number), name, capability, _mebibytes(free), _mebibytes(total), uuid)
        for number, name, capability, free, total, uuid in _ask_driver(*fields)
        if number.isdigit()
    ]


def _mebibytes(written: str) -> int | None:
    return int(written) << 20 if written.isdigit() else None


def free_memory(ordinal: int) -> int | None:
    """Bytes that the driver says are free on cuda:0, cuda:1, ...; None where it does not tell."""
    return least_free(find_visible(gpus(), os.environ), ordinal)


def name_devices(devices: int) -> list[str]:
    """Name so many devices that this process sees, as the driver does; unknown where it does not.

    Args:
        devices: How many a library uses: the first of those that are visible.
    """
    return name_all(find_visible(_list_once(), os.environ), devices)


@cache
def _list_once() -> tuple[Gpu, ...]:
    """GPUs whose free memory nobody reads."""
    return tuple(gpus())


def _ask_driver(*fields: str) -> list[list[str]]:
    """Ask nvidia-smi for fields of each GPU; nothing where it does not answer, or hung before."""
    try:
        return [] if _look().hangs else builds.ask_driver(*fields)
    except builds.NoAnswerError:
        return []


@cache
def _look() -> builds.Host:
    return builds.look(builds.find_patience(Path(sys.prefix)))


def too_old() -> bool:
    """Tell whether the driver is older than CUDA 12 asks for."""
    found = builds.read_major(driver() or "")
    return 0 < found < builds.FAISS_DRIVER


def torch_count() -> int:
    """CUDA devices that torch can use: those that a driver lists count only where CUDA starts."""
    return _start_torch()[0] if present() else 0


def _start_torch() -> tuple[int, str]:
    """Devices that torch can use, and what is wrong where it can use none, or not all."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return 0, f"torch cannot be imported ({reason(error)})"
    name = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return 0, f"{name} is a build for the processor"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return _count_covered(torch)
    least = builds.DRIVERS.get(torch.version.cuda.split(".")[0], 0)
    if 0 < builds.read_major(driver() or "") < least:
        wants = f"CUDA {torch.version.cuda}, which asks for driver {least} or newer"
        return 0, f"{name} is a build for {wants}; this is {driver()}"
    why = " ".join(str(said[-1].message).split()) if said else "CUDA does not start"
    return 0, f"{name}: {why}"


def _count_covered(torch: Any) -> tuple[int, str]:
    """Count devices up to the first that torch is not compiled for: others have higher numbers."""
    compiled = re.findall(r"\b(sm|compute)_(\d+)(\d)", " ".join(torch.cuda.get_arch_list()))
    for number in range(found := torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        if compiled and not any(
            (int(a), int(b)) <= (major, minor) and (kind == "compute" or int(a) == major)
            for kind, a, b in compiled
        ):
            lacking = f"has no code for GPU {number} of compute capability {major}.{minor}"
            return number, f"torch {torch.__version__} {lacking}"
    return found, ""


def faiss_count() -> int:
    """CUDA devices that faiss can use; under an old driver faiss would end the process."""
    return _start_faiss()[0] if present() and not too_old() else 0


def _start_faiss() -> tuple[int, str]:
    """Devices that faiss can use, and what is wrong where it cannot be loaded."""
    try:
        found = int(load("faiss", "cpu").get_num_gpus())
    except (InputError, RuntimeError) as error:
        return 0, f"faiss cannot be loaded ({reason(error)})"
    known = [each >= builds.FAISS_LEAST for each in _look().capabilities] if found else []
    return (min(found, sum(known)) if known else found), ""


def faiss_name() -> str | None:
    """The distribution that faiss comes from, with its version; None where there is none.

    Of several in one folder that whose files are there, over the others.
    """
    spec = importlib.util.find_spec("faiss")
    for folder, found in _installed_faiss().items():
        if spec and spec.origin and Path(spec.origin).parent == Path(folder):
            names = [f"{dist.name} {dist.version}" for dist in found]
            if not (owner := find_owner(found, "faiss")) and len(found) > 1:
                return f"{' and '.join(names)} over each other"
            mine = names[found.index(owner)] if owner else names[0]
            return " over ".join([mine, *(name for name in names if name != mine)])
    return None


def overwritten() -> str:
    """Say how to mend several builds of faiss in one folder, where the last overwrote the others.

    Returns:
        A line with both commands; empty where there is no more than one.
    """
    names = [dist.name for dist in _find_overlaid()]
    said = f"{' and '.join(names)} are installed over each other: "
    return said + replace(*names) if names else ""


def tell_overwritten() -> str:
    """Say that builds of faiss lie over each other, and whose files are there; empty for none."""
    if not (found := _find_overlaid()):
        return ""
    owner = find_owner(found, "faiss")
    whose = f"those of {owner.name} {owner.version}" if owner else "not those of one of them"
    names = " and ".join(dist.name for dist in found)
    return f"{names} are installed over each other: the files of faiss are {whose}"


def list_lost() -> list[str]:
    """Names of builds of faiss that are listed as installed, and whose files another overwrote."""
    found = _find_overlaid()
    owner = find_owner(found, "faiss")
    return [dist.name for dist in found if owner and dist is not owner]


def _find_overlaid() -> list[metadata.Distribution]:
    """Builds of faiss that were installed into one folder; none where each has its own."""
    return next((found for found in _installed_faiss().values() if len(found) > 1), [])


def _installed_faiss() -> dict[str, list[metadata.Distribution]]:
    """Distributions of faiss by the folder of their module."""
    places: dict[str, list[metadata.Distribution]] = {}
    for name in builds.FAISS:
        if dist := _distribution(name):
            places.setdefault(str(dist.locate_file("faiss")), []).append(dist)
    return places


def replace(*names: str, extra: str | None = None) -> str:
    """The two commands that put a build of faiss in the place of others.

    Args:
        names: Distributions that are in the way; those that are installed where none is named.
        extra: Of this package, that brings the build: that for this machine where None is named.
    """
    line = install(extra or builds.decide(_look()).extra)
    pip = line.partition(" install ")[0]
    names = names or tuple(name for name in builds.FAISS if _distribution(name))
    return f"{pip} uninstall -y {' '.join(names)}, then {line}" if names else line


def _distribution(name: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def explain() -> str:
    """Say why neither torch nor faiss can use a GPU, and what to do about it."""
    return "; ".join(dict.fromkeys(filter(None, [explain_torch(), explain_faiss()])))


def _explain_driver() -> str:
    """Say why no library can use a GPU; empty where a driver lets them."""
    if hidden():
        value = os.environ["CUDA_VISIBLE_DEVICES"]
        return f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU: unset it"
    if not present():
        return "no NVIDIA driver is loaded"
    if too_old():
        least = builds.FAISS_DRIVER
        return f"driver {driver()} is older than CUDA 12 asks for: install {least} or newer"
    return ""


def explain_torch() -> str:
    """Say why torch does not use every GPU of a machine, and what to do; empty where it does."""
    if said := _explain_driver():
        return said
    _, why = _start_torch()
    if not why:
        return ""
    choice = builds.decide(_look())
    chosen = choice.torch
    if chosen is None:
        return f"{why} ({choice.no_torch})"
    if chosen.version == _version("torch"):
        return why
    pip = install("").partition(" install ")[0]
    return f"{why}: {pip} uninstall -y torch, then {pip} install torch=={chosen.version}"


def _version(name: str) -> str:
    """The version of a distribution, as torch's wheels for GPUs have it; empty for none."""
    dist = _distribution(name)
    return dist.version if dist else ""


def explain_faiss() -> str:
    """Say why faiss uses no GPU of a machine that has one, and what to do; empty where it does."""
    if said := _explain_driver():
        return said
    if faiss_count():
        return ""
    if mend := overwritten():
        return mend
    name, chosen = faiss_name(), builds.decide(_look())
    if chosen.extra == "cpu":
        return f"{name or 'faiss'} searches on the processor ({chosen.no_faiss})"
    if name is None or name.startswith("faiss-cpu"):
        return f"{name or 'faiss, which is not installed,'} is for the processor: " + replace(
            extra="gpu"
        )
    under = f"under driver {driver() or 'unknown'}"
    why, mend = _start_faiss()[1], install(chosen.extra)
    return f"{why} {under}: {mend}" if why else f"{name} sees no CUDA device {under}: " + _expect()


def _expect() -> str:
    """Say what faiss's CUDA asks for, and where to look for what is in the way."""
    least = ".".join(map(str, builds.FAISS_LEAST))
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = "" if value is None else f" and CUDA_VISIBLE_DEVICES={value!r} names it"
    return (
        f"expected a GPU of compute capability {least} or newer under driver "
        f"{builds.FAISS_DRIVER} or newer: see whether nvidia-smi lists it, and this user may read "
        f"and write /dev/nvidia*{named}"
    )


def is_full(error: BaseException) -> bool:
    """Tell whether torch or faiss says that a device has no memory left."""
    said = str(error).lower()
    return isinstance(error, RuntimeError | MemoryError) and any(sign in said for sign in FULL)


def tell_full(error: BaseException) -> str:
    """Say in few words that a device had no room, and for how much where that is told."""
    found = ASKED.search(str(error))
    if not found:
        return "out of memory"
    amount, unit, size = found.groups()
    asked = float(size or amount) * (1 if size else 1024 ** " KMG".index(unit or " "))
    return f"out of memory ({asked / 1e9:.3g} GB more were asked for)"


def name_ordinals(devices: int) -> str:
    """Name so many devices as torch does, for a line that says which there are."""
    last = f"cuda:{devices - 1}"
    return {1: last, 2: f"cuda:0 or {last}"}.get(devices, f"cuda:0 to {last}")


def name_voiding() -> str:
    """Name the variables that make products less exact than the bound supposes; empty for none."""
    found = [
        f"{name}={os.environ[name]}"
        for name in VOIDING
        if os.environ.get(name, "") not in ("", "0")
    ]
    return " and ".join(found)


def variables() -> dict[str, str]:
    """Variables of this process that decide which device computes, or how."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def describe() -> str:
    """Say in one line what encodes and what searches, and what to do where it is no GPU."""
    torch, faiss = torch_count(), faiss_count()
    by_torch, by_faiss = f"torch {_version('torch') or '(none)'}", faiss_name() or "no faiss"
    search = f"{by_faiss} on {_where(faiss)}"
    if torch and not faiss:
        search = f"{by_torch} on {_where(torch)}, where exact, else {search}"
    used = f"encoding by {by_torch} on {_where(torch)}, search by {search}"
    said = [used, explain_torch(), explain_faiss(), overwritten()]
    if present():
        said += (
            [f"{value} is refused by exact search: unset it"] if (value := name_voiding()) else []
        )
        seen = f"{count(listed, 'GPU')} under " if (listed := len(gpus())) else ""
        said[0] = f"{seen}driver {driver() or 'unknown'}: {used}"
    return "; ".join(dict.fromkeys(filter(None, said)))


def _where(devices: int) -> str:
    return count(devices, "GPU") if devices else "the processor"
