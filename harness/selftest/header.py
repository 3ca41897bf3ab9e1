"""What a report begins with: the machine, its libraries, and what changes their sums."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import accelerators, environment
from harness.indexes.faiss_library import load_faiss
from harness.selftest.machine import Machine
from harness.visibility import Gpu
from harness.wording import count

MAPPED = Path("/proc/self/maps")  # files that this process has in memory
CUDA = re.compile(r"/(lib(?:cudart|cublas|cublasLt|cuvs)\.so[\d.]*)$", re.M)


def describe_machine(machine: Machine) -> dict[str, Any]:
    """Tell what is tested, as JSON."""
    import torch

    return {
        "environment": environment.current().model_dump(),
        "driver": accelerators.driver(),
        "torch": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "devices": accelerators.torch_count(),
            "why_none": accelerators.explain_torch(),
        },
        "faiss": {
            "distribution": accelerators.faiss_name(),
            "version": load_faiss().__version__,
            "cuda": read_requirements(),
            "devices": accelerators.faiss_count(),
            "why_none": accelerators.explain_faiss(),
            "overwritten": accelerators.overwritten(),
        },
        "gpus": [_describe_gpu(gpu) for gpu in accelerators.gpus()],
        "tested": list(machine.names),
        "variables": accelerators.variables(),
        "cuda_libraries": list_libraries(),
    }


def read_requirements() -> str:
    """NVIDIA's libraries that the installed faiss asks for; empty where it tells none."""
    name = (accelerators.faiss_name() or "").partition(" ")[0]
    try:
        wanted = metadata.requires(name) if name else None
    except metadata.PackageNotFoundError:
        wanted = None
    return ", ".join(line for line in wanted or () if line.startswith("nvidia-"))


def list_libraries() -> list[str]:
    """CUDA's libraries that this process has loaded, by the names of their files."""
    try:
        return sorted(set(CUDA.findall(MAPPED.read_text(encoding="utf-8", errors="replace"))))
    except OSError:
        return []


def write_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows that people read of what `describe_machine` tells."""
    torch, faiss, machine = facts["torch"], facts["faiss"], facts["environment"]
    lines = [
        ("harness", _tell_harness(machine)),
        ("machine", f"{machine['processor']}, {machine['cpus']} CPUs, {machine['platform']}"),
        ("driver", str(facts["driver"] or "unknown")),
        ("torch", f"{torch['version']}, CUDA {torch['cuda'] or 'none'}: {_tell_seen(torch)}"),
        ("faiss", f"{faiss['distribution'] or faiss['version']}: {_tell_seen(faiss)}"),
        ("faiss asks for", faiss["cuda"] or "not told"),
        ("loaded", ", ".join(facts["cuda_libraries"]) or "none of CUDA's libraries"),
    ]
    for gpu in facts["gpus"]:
        what = f"{gpu['name']}, {gpu['capability']}, {_tell_room(gpu['free'], gpu['total'])}"
        lines.append((f"GPU {gpu['number']}", what))
    lines.append(("tested", ", ".join(facts["tested"])))
    for name, value in facts["variables"].items() or [("variables", "none that change sums")]:
        lines.append((name, value))
    if faiss["overwritten"]:
        lines.append(("faiss, mend", faiss["overwritten"]))
    return lines


def _describe_gpu(gpu: Gpu) -> dict[str, Any]:
    """All that is told of a GPU but its UUID, which names the machine."""
    return {name: value for name, value in vars(gpu).items() if name != "uuid"}


def _tell_room(free: int | None, total: int | None) -> str:
    whole = "" if total is None else f" of {total / 1e9:,.1f} GB"
    if free is None:
        return f"free memory unknown{whole}"
    return f"{free / 1e9:,.1f}{whole or ' GB'} free"


def _tell_harness(machine: Mapping[str, Any]) -> str:
    commit = (machine["commit"] or "no checkout")[:12]
    changed = ", changed since" if machine["dirty"] else ""
    packages = machine["packages"]
    return f"{packages['retrieval-harness']} ({commit}{changed}), Python {machine['python']}"


def _tell_seen(library: Mapping[str, Any]) -> str:
    devices: int = library["devices"]
    seen = f"sees {count(devices, 'GPU')}"
    return f"{seen}: {library['why_none']}" if not devices and library["why_none"] else seen
