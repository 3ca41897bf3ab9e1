"""Models of sentence-transformers, whatever they make: where they lie, what is refused, loading.

Weights come from safetensors only, and code that a model brings is not run unless the spec says
trust_remote_code=true.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from math import inf
from os.path import expanduser, isdir
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness import accelerators, zoo
from harness.encoders import ENCODERS
from harness.encoders.blaming import blame_model
from harness.encoders.devices import check_device
from harness.encoders.settings import (
    MODULES,
    NAMED_CODE,
    Code,
    Config,
    ModelConfig,
    Router,
    read_settings,
)
from harness.errors import InputError, reason
from harness.parameters import check_range
from harness.zoo.content import CODE, SETTINGS, WEIGHTS, content_sha256, file_sums

T = TypeVar("T")
Precision = Literal["float32", "float16", "bfloat16"]
Attention = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]

IGNORED = ("onnx/*", "openvino/*", ".*")
LIBRARIES = ("torch", "transformers", "sentence-transformers")

for _model in zoo.models().values():
    ENCODERS.alias(_model.name, _model.spec)


@dataclass(frozen=True)
class ModelOptions:
    """How a model of sentence-transformers is had and run, whatever it makes.

    Attributes:
        revision: Hub branch, tag or commit.
        dtype: Of the weights.
        max_length: Tokens that are read of a text; None for the model's own.
        device: What torch calls it, or auto.
        batch_size: Texts of a padded batch, which a model reads where it is not packed.
        packing: Whether batches have no padding, where that makes the same vectors.
        attention: What computes attention, as transformers calls it: eager, sdpa,
            flash_attention_2; batches then have padding, but for FlashAttention's. None for packed
            batches, or for what suits the model.
        batch_tokens: Tokens of a packed batch, at most, where it is more than one text; None for as
            many as suit the device.
        trust_remote_code: Whether code that the model brings is run.
    """

    revision: str | None = None
    dtype: Precision = "float32"
    max_length: int | None = None
    device: str = "auto"
    batch_size: int = 32
    packing: Literal["on", "off"] = "on"
    attention: Attention | None = None
    batch_tokens: int | None = None
    trust_remote_code: bool = False


MODEL = ModelOptions()


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder and how to load it.

    Attributes:
        target: What people call it.
        folder: Where it lies.
        source: Hub name and commit, or a content SHA-256.
        options: How it is had and run.
    """

    target: str
    folder: Path
    source: Mapping[str, str]
    options: ModelOptions

    @property
    def packing(self) -> bool:
        """Whether batches are to have no padding, where that makes the same vectors."""
        return self.options.packing == "on" and self.options.attention is None

    @property
    def identity(self) -> dict[str, object]:
        """What decides a model's vectors, whatever it makes."""
        return {**self.source, "dtype": self.options.dtype, "max_length": self.options.max_length}

    @property
    def key(self) -> Hashable:
        """What decides the weights and how they compute, by whatever name and from wherever."""
        return (*sorted(self.source.items()), replace(self.options, revision=None, batch_size=32))

    def made_with(self, batch_size: int) -> dict[str, str]:
        """Tell what may change the last bits of what the model computes.

        Args:
            batch_size: Texts of a padded batch.

        Returns:
            Device, threads, dtype, batches and the versions of libraries.
        """
        import torch
        from sentence_transformers.util import get_device_name

        device = self.torch_device or get_device_name()
        if device.startswith("cuda"):
            device = torch.cuda.get_device_name(device)
        libraries = {name: version(name) for name in LIBRARIES}
        return {
            "device": device,
            "threads": str(torch.get_num_threads()),
            "dtype": self.options.dtype,
            "batch_size": str(batch_size),
            "packing": "on" if self.packing else "off",
            **({"attention": self.options.attention} if self.options.attention else {}),
            **(
                {"batch_tokens": str(self.options.batch_tokens)}
                if self.options.batch_tokens
                else {}
            ),
            **libraries,
        }

    def settings(self, name: str, kind: type[T]) -> T:
        """What one of the folder's JSON files holds. Raises InputError."""
        return read_settings(self.folder / name, kind, kind())

    @property
    def saved(self) -> ModelConfig:
        """What sentence-transformers wrote of the model, if it did. Raises InputError."""
        return self.settings("config_sentence_transformers.json", ModelConfig)

    @property
    def modules(self) -> list[str]:
        """Types of the modules that it is made of; none where it does not tell."""
        return [m.type for m in read_settings(self.folder / "modules.json", MODULES, [])]

    @property
    def architectures(self) -> list[str]:
        """Classes of transformers that the weights are of."""
        return self.settings("config.json", Config).architectures or []

    def is_a(self, kind: str, *endings: str) -> bool:
        """Whether sentence-transformers saved it as the class of that name.

        Where others saved it, whether an architecture's name ends so.
        """
        if (self.folder / "modules.json").is_file():
            return self.saved.model_type == kind
        return any(name.endswith(endings) for name in self.architectures)

    @property
    def device_kind(self) -> str:
        """Which kind of device computes, as cuda; "" for the processor."""
        if self.options.device == "auto":
            return "cuda" if accelerators.torch_count() else ""
        return self.options.device.partition(":")[0].removeprefix("cpu")

    @property
    def torch_device(self) -> str | None:
        """What torch calls the device; None lets it choose, where it can use what it would take."""
        if self.options.device != "auto":
            return self.options.device
        return "cpu" if accelerators.present() and not accelerators.torch_count() else None

    def loading(self) -> AbstractContextManager[None]:
        """Raise InputError in place of whatever a library raises at somebody's model folder."""
        return blame_model(f"{self.target}: cannot be loaded", InputError, self.relief())

    def relief(self, batch_size: int | None = None) -> str:
        """What to do where the device is full.

        Args:
            batch_size: Texts that the model reads together, 1 where they cannot be fewer; None
                while it is loaded.
        """
        choices = [f"batch_size={batch_size // 2}"] if batch_size and batch_size > 1 else []
        choices += ["a smaller max_length"] if batch_size else []
        choices += ["dtype=bfloat16"] if self.options.dtype == "float32" else []
        return f"choose {', '.join([*choices, 'another device'])} or device=cpu"

    def load(self, kind: str, **options: Any) -> Any:
        """The model as sentence_transformers' class of that name.

        Raises InputError where the folder does not hold a usable one.
        """
        import sentence_transformers
        import torch
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        with self.loading():
            model = getattr(sentence_transformers, kind)(
                str(self.folder),
                device=self.torch_device,
                trust_remote_code=self.options.trust_remote_code,
                local_files_only=True,
                model_kwargs={
                    "dtype": getattr(torch, self.options.dtype),
                    "use_safetensors": True,
                    **(
                        {"attn_implementation": self.options.attention}
                        if self.options.attention
                        else {}
                    ),
                },
                **options,
            )
            self._limit(model)
        return model

    def _limit(self, model: Any) -> None:
        """Have a model read as much as is asked for, and never more than it has positions for."""
        most = count_positions(model)
        if self.options.max_length is not None:
            config = getattr(getattr(model[0], "auto_model", None), "config", None)
            positions = (
                most or getattr(config, "max_position_embeddings", None) or self.options.max_length
            )
            if self.options.max_length > positions:
                raise InputError(
                    f"{self.target}: max_length={self.options.max_length}: the model reads "
                    f"{positions} tokens"
                )
            model.max_seq_length = self.options.max_length
        elif most is not None and (model.max_seq_length or most + 1) > most:
            model.max_seq_length = most


def checkpoint(
    target: str,
    options: ModelOptions = MODEL,
    *,
    foreign: Collection[str] = (),
    **sizes: int | None,
) -> Checkpoint:
    """Find a model.

    Args:
        target: A hub id, a local folder or a packaged name.
        options: How it is had and run.
        foreign: Names of modules that are not run, though they are not sentence-transformers' own.
        sizes: Whatever else must be at least 1.

    Returns:
        Where it lies and what it is.

    Raises:
        InputError: The model cannot be had, is pickled or brings code, or a size is none.
    """
    given = {"max_length": options.max_length, "batch_size": options.batch_size, **sizes}
    given["batch_tokens"] = options.batch_tokens
    check_range(
        target, **{name: (size, 1, inf) for name, size in given.items() if size is not None}
    )
    check_device(target, options.device)
    folder, source = _locate(target, options.revision, options.trust_remote_code)
    _refuse_unsafe(folder, target, None if options.trust_remote_code else foreign)
    source = source or {"folder_sha256": content_sha256(file_sums(folder))}
    return Checkpoint(target, folder, source, options)


def count_positions(model: Any) -> int | None:
    """Tokens that a model has rows for in its table of positions; None where it has no table.

    RoBERTa and its kin begin to count behind the number of the padding token.
    """
    tables = [part for name, part in model.named_modules() if name.endswith(".position_embeddings")]
    sizes = [
        table.num_embeddings - (-1 if (pad := table.padding_idx) is None else pad) - 1
        for table in tables
    ]
    return min(sizes, default=None)


def _locate(
    target: str, revision: str | None, trust_remote_code: bool
) -> tuple[Path, dict[str, str] | None]:
    """The folder that holds a model and, where that is known already, what it is."""
    if target not in zoo.models() and not isdir(expanduser(target)):
        return _fetch(target, revision, trust_remote_code)
    if revision is not None:
        raise InputError(f"{target} is no model of the hub: it has no revision={revision}")
    if target not in zoo.models():
        return Path(target).expanduser(), None
    folder, content = zoo.find(target)
    return folder, {"folder_sha256": content}


@cache
def _fetch(
    target: str, revision: str | None, trust_remote_code: bool
) -> tuple[Path, dict[str, str]]:
    """A model of the hub, or its copy in the hub's own cache: one commit as long as we run."""
    if target.count("/") != 1 or target.startswith((".", "/", "~")):
        raise InputError(f"{target}: no such folder, and not a hub id (organisation/name)")
    from huggingface_hub import snapshot_download

    patterns = [*WEIGHTS, *SETTINGS, *(CODE if trust_remote_code else ())]
    try:
        snapshot = snapshot_download(
            target, revision=revision, allow_patterns=patterns, ignore_patterns=list(IGNORED)
        )
    except Exception as error:  # the hub's client raises its own, requests' and OS errors
        raise InputError(
            f"{target}: cannot be fetched from the hub ({type(error).__name__}: {reason(error)}); "
            "check name, revision and network, or give the path of a local folder"
        ) from error
    return Path(snapshot), {"hub": target, "revision": Path(snapshot).name}


def _refuse_unsafe(folder: Path, target: str, allowed: Collection[str] | None) -> None:
    """Raise InputError for what is no model, pickled weights, and code that is not allowed.

    allowed: types of modules besides sentence-transformers' own; None for any code.
    """
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise InputError(f"{folder}: no modules.json or config.json: expected a model's folder")
    for path in sorted(folder.rglob("pytorch_model*.bin")):
        # what libraries take in its place: the whole, or for a part of several the list of parts
        whole, parts = path.with_name("model.safetensors"), "model.safetensors.index.json"
        split = path.name != "pytorch_model.bin" and path.with_name(parts).is_file()
        if not whole.is_file() and not split:
            raise InputError(
                f"{path}: weights are pickled, which can run code when loaded: refused; "
                "save the model anew as safetensors"
            )
    if not any(folder.rglob("*.safetensors")):
        raise InputError(f"{target}: no *.safetensors in {folder}: expected a model's folder")
    brought = [] if allowed is None else _find_code(folder, allowed)
    if brought:
        raise InputError(
            f"{target} brings its own code ({', '.join(brought)}): refused; "
            "if you trust its authors, add trust_remote_code=true to the spec"
        )


def _find_code(folder: Path, allowed: Collection[str]) -> list[str]:
    """Code that a folder's settings name: modules, and classes of its own for any part."""
    types = [module.type for module in read_settings(folder / "modules.json", MODULES, [])]
    for path in sorted(folder.rglob("router_config.json")):
        types += (read_settings(path, Router, Router()).types or {}).values()
    foreign = [t for t in types if not t.startswith("sentence_transformers.") and t not in allowed]
    paths = sorted(folder.rglob("*config.json"))
    found = [read_settings(path, NAMED_CODE, Code()) for path in paths]
    maps = [one.auto_map or {} for one in found if isinstance(one, Code)]
    return list(dict.fromkeys([*foreign, *(name for each in maps for name in each)]))
