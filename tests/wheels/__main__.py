"""Install faiss-gpu and its NVIDIA wheels into an environment of their own, and test there.

All else is seen in the environment that this runs in, torch too: faiss-cpu and faiss-gpu have one
folder. Where there is no wheel, no room or no time, that is said, and nothing fails.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from harness import builds

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-faiss-gpu"
PYTHON = VENV / "bin/python"
STAMP = VENV / "ready"
WHEELS = "faiss-gpu", "nvidia-cublas-cu12", "nvidia-cuda-runtime-cu12", "nvidia-curand-cu12"
ROOM = 6e9  # bytes: 1.6 GB installed, as much in pip's folders meanwhile, and some to spare
PATIENCE = 900.0  # seconds


def find_hindrance() -> str:
    """Say why there can be no such environment here; empty where there can."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"faiss-gpu has no wheel for {platform.system()} on {platform.machine()}"
    free = shutil.disk_usage(ROOT).free
    if free < ROOM:
        return f"{free / 1e9:.1f} GB of the disk are free, and installing it takes {ROOM / 1e9:.0f}"
    return ""


def list_pins() -> list[str]:
    """What is installed, as the files of constraints have it."""
    merged = builds.merge([ROOT / "constraints.txt", ROOT / "constraints-gpu.txt"])
    return [line for line in merged.splitlines() if line.partition("==")[0] in WHEELS]


def install(pins: list[str]) -> str:
    """Make the environment.

    Returns:
        Why it could not be made in time; empty where it was.
    """
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        subprocess.run([*pip, *pins], check=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        shutil.rmtree(VENV, ignore_errors=True)
        return f"installing faiss-gpu took more than {PATIENCE:.0f} s"
    except subprocess.CalledProcessError as error:
        raise SystemExit("faiss-gpu cannot be installed: pip says why above") from error
    inside = next(VENV.glob("lib/python*/site-packages"))
    (inside / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return ""


def prepare() -> str:
    """Make the environment where it is not there yet, or was made of other wheels.

    Returns:
        Why there is none; empty where there is one.
    """
    pins = list_pins()
    made_of = "\n".join([sys.version, sysconfig.get_path("purelib"), *pins])
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == made_of:
        return ""
    if hindrance := find_hindrance():
        return hindrance
    began = time.monotonic()
    print(f"Setting up {VENV.name}: {', '.join(pins)}", flush=True)
    if late := install(pins):
        return late
    STAMP.write_text(made_of, encoding="utf-8")
    print(f"{VENV.name} took {time.monotonic() - began:.0f} s", flush=True)
    return ""


def main() -> None:
    """Run the tests, or say why they cannot be run."""
    if hindrance := prepare():
        print(f"tests of the faiss-gpu wheel are skipped: {hindrance}")
        return
    os.environ["BESIDE"] = sys.executable
    tests = [str(each) for each in sorted(Path(__file__).parent.glob("faiss_gpu_*.py"))]
    words = [PYTHON, "-m", "pytest", *tests, *sys.argv[1:]]
    raise SystemExit(subprocess.run(words, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
