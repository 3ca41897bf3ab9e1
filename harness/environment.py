"""What measured: versions, commit, machine and threads of a process."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness import __version__, accelerators

PACKAGES = (
    "bm25s",
    "faiss-cpu",
    "faiss-gpu",
    "faiss-gpu-cuvs",
    "ir-measures",
    "numpy",
    "PyStemmer",
    "scipy",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


class Environment(BaseModel):
    """Versions, commit, machine and threads of the process that measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    python: str | None = None
    packages: dict[str, str] = {}
    commit: str | None = None
    dirty: bool | None = None
    platform: str | None = None
    processor: str | None = None
    cpus: int | None = None
    memory_gb: float | None = None
    gpus: list[str] = []
    torch_threads: int | None = None
    thread_variables: dict[str, str] = {}


def current() -> Environment:
    """Describe this process: versions, commit, machine and threads."""
    torch = sys.modules.get("torch")
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return _machine().model_copy(
        update={
            "gpus": _name_gpus(),
            "torch_threads": torch.get_num_threads() if torch else None,
            "thread_variables": {n: os.environ[n] for n in variables if n in os.environ},
        }
    )


def _name_gpus() -> list[str]:
    """GPUs of torch, else those of faiss; of a library that is not loaded nothing is asked."""
    torch = sys.modules.get("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a driver that is too old for it
        by_torch = torch and torch.cuda.is_available()
    if torch and by_torch:
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if "faiss" in sys.modules and (devices := accelerators.faiss_count()):
        return accelerators.name_devices(devices)
    return []


@cache
def code_sha256() -> str:
    """Hash the harness's own code, so that what other code has made is never taken for its own."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _machine() -> Environment:
    commit, dirty = _commit()
    lost = accelerators.list_lost()  # they compute nothing
    return Environment(
        python=platform.python_version(),
        packages={
            "retrieval-harness": __version__,
            **{name: v for name in PACKAGES if name not in lost and (v := _version(name))},
        },
        commit=commit,
        dirty=dirty,
        platform=platform.platform(),
        processor=_processor(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that runs, and whether it was changed since; None when installed."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None, None

    def git(*words: str) -> str:
        asked = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return asked.stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        return head, bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
