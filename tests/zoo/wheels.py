"""Tiny wheels in a folder, which pip takes for its only index, and zoo entries that pin them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from harness.zoo import Model, Wheel
from harness.zoo.content import content_sha256

TENSORS = b"weights of a tiny model"
FILES = {"model.safetensors": TENSORS, "modules.json": b"[]", "1_Pooling/config.json": b"{}"}


def write_wheel(
    folder: Path, name: str, members: Mapping[str, bytes], *, tags: str = "py3-none-any"
) -> Wheel:
    """A wheel of version 1.0 with these members, such as pip downloads."""
    python, abi, platform = tags.split("-")
    head = f"{name}-1.0.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    wheel = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {python}-{abi}-{platform}\n"
    path = folder / f"{name}-1.0-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{head}/METADATA", about)
        archive.writestr(f"{head}/WHEEL", wheel)
        archive.writestr(f"{head}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel(f"{name}==1.0", path.name, digest)


def entry(
    name: str,
    wheels: tuple[Wheel, ...],
    files: Mapping[str, bytes],
    *,
    inside: str = "tiny/model",
    written: Mapping[str, str] | None = None,
    disk_mb: float = 0.1,
) -> Model:
    """What the zoo would know of a model with these files."""
    written = written or {}
    whole = dict(files) | {path: text.encode() for path, text in written.items()}
    sums = {path: hashlib.sha256(whole[path]).hexdigest() for path in sorted(whole)}
    return Model(
        name=name,
        kind="dense",
        spec=f"st:{name}",
        wheels=wheels,
        inside=inside,
        files={path: f"{inside}/{path}" for path in files},
        written=written,
        weights="model.safetensors",
        weights_sha256=sums["model.safetensors"],
        folder_sha256=content_sha256(sums),
        download_mb=1,
        disk_mb=disk_mb,
        license="MIT",
        package_license="MIT",
        source="https://example.org",
        note="tiny",
    )
