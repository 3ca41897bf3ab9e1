"""Static models in model2vec's layout: a vector for each token of a vocabulary, averaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.disk import foreign
from harness.encoders.checkpoint import Checkpoint
from harness.encoders.settings import Config

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

LARGEST = 1 << 30  # bytes of a tokenizer, which is read whole


def fits(found: Checkpoint) -> bool:
    """Whether a folder has the layout, with or without sentence-transformers' modules."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(found.folder / "model.safetensors", "np") as tensors:
            return "embeddings" in tensors.keys()  # noqa: SIM118
    except (OSError, SafetensorError):  # absent or broken: sentence-transformers will say
        return False


def load(found: Checkpoint) -> SentenceTransformer:
    """The model as model2vec reads it, long texts to their end.

    Unknown tokens count for nothing, a quantised vocabulary is spread, vectors are of unit length
    where config.json says so. Raises InputError where the folder does not hold a usable one.
    """
    import torch
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    device = found.torch_device
    with found.loading():
        tensors = load_file(found.folder / "model.safetensors")
        rows = tensors["embeddings"].float()
        if "mapping" in tensors:
            rows = rows[tensors["mapping"].long()]
        if "weights" in tensors:
            rows = rows * tensors["weights"].float()[:, None]
        tokenizer = Tokenizer.from_file(str(found.folder / "tokenizer.json"))
        tokenizer.no_truncation()
        first = StaticEmbedding(tokenizer, rows.to(getattr(torch, found.options.dtype)))
        first.embedding.padding_idx = _unknown_token(found, tokenizer)  # left out of the mean
        modules: list[Any] = [first]
        if found.settings("config.json", Config).normalize:
            modules.append(Normalize())
        return SentenceTransformer(modules=modules, device=device)


def _unknown_token(found: Checkpoint, tokenizer: Tokenizer) -> int | None:
    """The number of the token that stands for what a tokenizer does not know, if it has one."""
    model = json.loads(foreign.read_bytes(found.folder / "tokenizer.json", LARGEST))["model"]
    name = model.get("unk_token")
    number: int | None = model.get("unk_id") if name is None else tokenizer.token_to_id(name)
    return number
