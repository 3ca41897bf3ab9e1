"""Which builds of torch and faiss work with this machine's driver and GPUs.

`make setup` runs it before anything is installed: it needs the standard library alone.
"""

from __future__ import annotations

import csv
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 20.0  # seconds for nvidia-smi, which wakes GPUs that nobody uses
AGAIN = 2.0  # seconds for one that hung lately
LATELY = 3600.0  # seconds
HANGS = "nvidia-smi-hangs"  # a file in an environment
KERNEL = Path("/proc/driver/nvidia/version")
CONTROL = Path("/dev/nvidiactl")  # a container may have it, and no nvidia-smi
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")
FAISS_DRIVER = 525  # CUDA 12
FAISS_LEAST = (7, 0)  # up to 9.0 there is code, for what is newer PTX

Capability = tuple[int, int]


@dataclass(frozen=True)
class Torch:
    """A release of torch as PyPI serves it for Linux.

    Attributes:
        driver: The oldest that its CUDA runs on.
        code: Compute capabilities that it is compiled for, by processor; there is no PTX.
        constraints: Files whose pins take the place of those in constraints.txt.
    """

    version: str
    cuda: str
    driver: int
    code: Mapping[str, tuple[Capability, ...]]
    constraints: tuple[str, ...]

    def covers(self, capability: Capability, processor: str) -> bool:
        """Tell whether it has code for a GPU: code runs on later minor capabilities."""
        return any(
            major == capability[0] and minor <= capability[1]
            for major, minor in self.code.get(processor, ())
        )


# newest first
TORCHES = (
    Torch(
        "2.13.0",
        "13.0",
        580,
        {
            "x86_64": ((7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)),
            "aarch64": ((8, 0), (9, 0), (10, 0), (11, 0), (12, 0)),
        },
        ("constraints-gpu.txt",),
    ),
    Torch(
        "2.10.0",
        "12.8",
        525,
        {"x86_64": ((7, 0), (7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0))},
        ("constraints-gpu.txt", "constraints-cuda12.txt"),
    ),
)
DRIVERS = {each.cuda.split(".")[0]: each.driver for each in TORCHES}


class NoAnswerError(Exception):
    """nvidia-smi does not answer; the text says how."""


class HangingError(NoAnswerError):
    """nvidia-smi runs and does not end."""


@dataclass(frozen=True)
class Host:
    """What decides on builds.

    Attributes:
        driver: Its version; empty where none answers.
        capabilities: Of each GPU; none where the driver does not tell.
        silence: Why no driver answers.
        hangs: Whether that is because nvidia-smi does not end.
    """

    system: str
    processor: str
    driver: str = ""
    capabilities: tuple[Capability, ...] = ()
    silence: str = ""
    hangs: bool = False


@dataclass(frozen=True)
class Builds:
    """What is installed.

    Attributes:
        extra: Of this package: gpu or cpu, which bring faiss-gpu and faiss-cpu.
        torch: A build that computes on the GPUs; None where torch computes on the processor.
        why: In a few words.
        no_torch: Why torch computes on the processor; empty where it does not.
        no_faiss: Why faiss searches there; empty where it does not.
    """

    extra: str
    torch: Torch | None
    why: str
    no_torch: str = ""
    no_faiss: str = ""

    @property
    def name(self) -> str:
        """As in gpu-cuda13: what an environment's stamp is called."""
        return f"{self.extra}-cuda{read_major(self.torch.cuda)}" if self.torch else self.extra

    @property
    def constraints(self) -> tuple[str, ...]:
        """Files of pins, the more general first."""
        return ("constraints.txt", *(self.torch or TORCHES[0]).constraints)

    def describe(self) -> str:
        """Say in one line what is installed, and why."""
        torch = f"torch {(self.torch or TORCHES[0]).version}"
        torch += f" for CUDA {self.torch.cuda}" if self.torch else " on the processor"
        return f"{torch} and faiss-{self.extra} ({self.why})"


def ask_driver(*fields: str, patience: float | None = None) -> list[list[str]]:
    """Ask nvidia-smi for fields of each GPU; patience: seconds, PATIENCE where none are named.

    Raises:
        NoAnswerError: where it is not there, fails or does not end.
    """
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    limit = PATIENCE if patience is None else patience
    try:
        answer = subprocess.run(
            asked, capture_output=True, text=True, timeout=limit, check=True, errors="replace"
        )
    except FileNotFoundError as error:
        raise NoAnswerError("there is no nvidia-smi") from error
    except subprocess.TimeoutExpired as error:
        raise HangingError(f"nvidia-smi has not answered in {limit:g} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).strip().splitlines() or ["fails"]
        raise NoAnswerError(f"nvidia-smi: {said[0].strip()[:200]}") from error
    except OSError as error:
        raise NoAnswerError(f"nvidia-smi cannot be run: {error.strerror}") from error
    rows = csv.reader(answer.stdout.splitlines(), skipinitialspace=True)
    return [row for row in rows if len(row) == len(fields)]


def look(patience: float | None = None) -> Host:
    """Look at this machine; patience: seconds for nvidia-smi, PATIENCE where none are named."""
    system, processor = platform.system(), platform.machine()
    try:
        rows = ask_driver("driver_version", "compute_cap", patience=patience)
    except HangingError as error:
        return Host(system, processor, _find_loaded(), silence=str(error), hangs=True)
    except NoAnswerError as error:
        try:  # drivers before 510 know no compute_cap
            rows = [[*row, ""] for row in ask_driver("driver_version", patience=patience)]
        except NoAnswerError:
            driver = _find_loaded()
            return Host(system, processor, driver, silence="" if driver else str(error))
    versions = [version for version, _ in rows if read_major(version)]
    if not versions:
        return Host(system, processor, silence="nvidia-smi names no driver")
    found = (re.fullmatch(r"(\d+)\.(\d+)", capability) for _, capability in rows)
    capabilities = tuple((int(each[1]), int(each[2])) for each in found if each)
    return Host(system, processor, versions[0], capabilities)


def _find_loaded() -> str:
    """The driver that a container without nvidia-smi is given; empty for none."""
    return read_loaded() if CONTROL.exists() else ""


def read_loaded() -> str:
    """The version of the driver's module in the kernel; empty where none is loaded."""
    try:
        text = KERNEL.read_text(encoding="utf-8")
    except OSError:
        return ""
    found = re.search(r"Kernel Module .*?\s(\d+\.[\d.]+)", text)  # for x86_64, it may say
    return found[1] if found else ""


def read_major(version: str) -> int:
    """The first number of a driver's version; 0 where it has none."""
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


def decide(host: Host) -> Builds:
    """Choose builds that work with a driver and its GPUs, the newest torch of these."""
    if none := _find_no_driver(host):
        return Builds("cpu", None, none, none, none)
    torch = _choose_torch(host)
    no_torch = "" if torch else "no build of torch fits"
    no_faiss = _find_no_faiss(host)
    notes = _describe(host), *_explain_torch(host, torch), no_torch, no_faiss
    extra = "cpu" if no_faiss else "gpu"
    return Builds(extra, torch, "; ".join(filter(None, notes)), no_torch, no_faiss)


def _find_no_driver(host: Host) -> str:
    if host.system != "Linux":
        return f"{host.system} has no CUDA"
    if not host.driver:
        return host.silence or "no NVIDIA driver"
    if read_major(host.driver) < FAISS_DRIVER:
        return f"driver {host.driver} is older than {FAISS_DRIVER}, which CUDA 12 asks for"
    return ""


def _find_no_faiss(host: Host) -> str:
    if host.processor != "x86_64":
        return f"faiss-gpu has no wheel for {host.processor}"
    if host.capabilities and max(host.capabilities) < FAISS_LEAST:
        return "faiss-gpu has no code for these GPUs"
    return ""


def _choose_torch(host: Host) -> Torch | None:
    """The build that covers most GPUs, the newest of equals."""
    able = [each for each in TORCHES if read_major(host.driver) >= each.driver]
    able = [each for each in able if host.processor in each.code]
    best = max(able, key=lambda each: sum(_find_covered(host, each)), default=None)
    return best if best and (not host.capabilities or any(_find_covered(host, best))) else None


def _find_covered(host: Host, torch: Torch) -> list[bool]:
    return [torch.covers(each, host.processor) for each in host.capabilities]


def _explain_torch(host: Host, torch: Torch | None) -> list[str]:
    """Say why it is not the newest build, and which GPUs it cannot use."""
    notes = []
    if read_major(host.driver) < TORCHES[0].driver:
        notes.append(f"CUDA {TORCHES[0].cuda} asks for {TORCHES[0].driver}")
    elif torch != TORCHES[0]:
        notes.append(f"torch {TORCHES[0].version} has no code for them")
    if torch is None:
        return notes
    idle = [
        each
        for each, covered in zip(host.capabilities, _find_covered(host, torch), strict=True)
        if not covered
    ]
    return notes + ([f"those of {_list(idle)} stay idle"] if idle else [])


def _describe(host: Host) -> str:
    kinds = f", compute capability {_list(host.capabilities)}" if host.capabilities else ""
    return f"driver {host.driver}{kinds}"


def _list(capabilities: Iterable[Capability]) -> str:
    return " and ".join(f"{major}.{minor}" for major, minor in sorted(set(capabilities)))


def merge(files: Iterable[Path]) -> str:
    """Make one file of constraints of several: pip refuses two pins of one name.

    Args:
        files: The more general first; a pin in a later one takes the place of an earlier.

    Returns:
        Its text.
    """
    pins = dict[str, str]()
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                pins[_normalize(line.partition("==")[0])] = line.strip()
    return "".join(f"{pins[name]}\n" for name in sorted(pins))


def find_misfits(venv: Path, builds: Builds) -> list[str]:
    """Name distributions of an environment that are in the way of what is to be installed.

    The wheels of faiss overwrite each other in one folder; a build of torch for the processor has
    the version that is asked for, so that pip would keep it.
    """
    found = dict[str, str]()
    for folder in venv.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        found[_normalize(name)] = version
    faiss = [name for name in FAISS if name in found]
    misfits = faiss if faiss != [f"faiss-{builds.extra}"] else []
    if builds.torch and "+" in found.get("torch", "") and "+cu" not in found["torch"]:
        misfits.append("torch")
    return misfits


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower().strip()


def recall(name: str) -> Builds:
    """The builds that a stamp names, whatever this machine is."""
    extra, _, cuda = name.partition("-cuda")
    torch = next((each for each in TORCHES if read_major(each.cuda) == read_major(cuda)), None)
    return Builds(extra, torch, f"as {name} was chosen before")


def prepare(venv: Path, name: str) -> None:
    """Write what pip is held to into an environment, and take out what is in the way.

    name: of the builds that were chosen, which another look at the machine does not change.
    """
    builds = decide(_look_again(venv))
    builds = builds if builds.name == name else recall(name)
    print(f"Setting up {venv}: {builds.describe()}; a few minutes, once", flush=True)
    merged = merge(ROOT / file for file in builds.constraints)
    (venv / "constraints.txt").write_text(merged, encoding="utf-8")
    if misfits := find_misfits(venv, builds):
        pip = [str(venv / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "uninstall", "--yes", *misfits], check=True)


def choose_name(venv: Path) -> str:
    """Name the builds for this machine, or those that an environment has and keeps.

    One made for GPUs is not taken back where no driver answers: a node without GPUs may share it,
    and its builds compute on the processor too.
    """
    host, made = _look_again(venv), _find_made(venv)
    chosen = decide(host).name
    if host.hangs:
        kind = "GPUs" if made != "cpu" else "the processor"
        kept = f"builds for {kind} stay as they are" if made else "builds are chosen without it"
        print(f"{host.silence}: {kept}", file=sys.stderr)
        return made or chosen
    if chosen == made or not _keeps(made, host):
        return chosen
    if not host.driver:
        print(
            f"no driver answers here ({host.silence}): {venv} keeps its builds for GPUs ({made}), "
            "which compute on the processor too; to have those for it: make clean, then make setup",
            file=sys.stderr,
        )
    return made


def _keeps(made: str, host: Host) -> bool:
    """Whether an environment was made for GPUs, and nothing that is known speaks against it."""
    builds = recall(made)
    if made in ("", "cpu") or made != builds.name or host.capabilities or host.system != "Linux":
        return False
    least = builds.torch.driver if builds.torch else FAISS_DRIVER
    return not host.driver or read_major(host.driver) >= least


def _find_made(venv: Path) -> str:
    """The name of the builds that an environment was made with; empty where it was not."""
    stamps = sorted(venv.glob("ready-[cg]pu*"))
    return stamps[0].name.removeprefix("ready-") if stamps else ""


def _look_again(venv: Path) -> Host:
    """Look at this machine, and note in an environment whether nvidia-smi hangs."""
    mark, patience = venv / HANGS, find_patience(venv)
    host = look(patience)
    with suppress(OSError):  # it may be another's
        if not host.hangs:
            mark.unlink(missing_ok=True)
        elif patience is None and venv.is_dir():
            mark.touch()
    return host


def find_patience(venv: Path) -> float | None:
    """Seconds for nvidia-smi: few where an environment notes that it hung lately, else None."""
    mark = venv / HANGS
    lately = mark.exists() and abs(time.time() - mark.stat().st_mtime) < LATELY
    return min(AGAIN, PATIENCE) if lately else None


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), sys.argv[3])
    else:
        print(choose_name(Path(sys.argv[2])))
