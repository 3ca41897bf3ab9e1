"""Dense vectors of any sentence-transformers model, from the hub or a folder, or packaged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity, model2vec
from harness.encoders.asking import Prompts, ask, filled, role_prompts, whole_prompt
from harness.encoders.weights import Checkpoint, Precision, checkpoint
from harness.errors import InputError
from harness.vectors import Representation

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OTHERS = {"SparseEncoder": "splade", "MultiVectorEncoder": "colbert", "ColBERT": "colbert"}


@ENCODERS.register("st")
def sentence_transformer(
    target: str,
    *,
    revision: str | None = None,
    dtype: Precision = "float32",
    max_length: int | None = None,
    truncate_dim: int | None = None,
    device: str = "auto",
    batch_size: int = 32,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    text_prompt: str | None = None,
    trust_remote_code: bool = False,
) -> SentenceTransformerEncoder:
    """Dense vectors of a sentence-transformers or model2vec model: hub id, folder, packaged name.

    revision: hub branch, tag or commit. query_prompt, document_prompt, text_prompt (sentences of
    pairs, labelled texts): in place of the model's own; {instruction} in one stands for what the
    task asks for. Raises InputError where the model cannot be had, is pickled or brings code.
    """
    found = checkpoint(
        target,
        revision=revision,
        dtype=dtype,
        max_length=max_length,
        device=device,
        trust_remote_code=trust_remote_code,
        truncate_dim=truncate_dim,
        batch_size=batch_size,
    )
    config = found.config
    if other := OTHERS.get(config.get("model_type", "")):
        raise InputError(f"{target} makes no dense vectors: expected {other}:{target}")
    similarity: Similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise InputError(f"{target} compares vectors by {similarity}: expected cosine or dot")
    if max_length is not None and _static(found):
        raise InputError(f"{target}: max_length={max_length}: a static model reads all of a text")
    prompts = role_prompts(
        config.get("prompts") or {},
        query_prompt,
        document_prompt,
        text_prompt,
        default=config.get("default_prompt_name") or "",
    )
    model = cache(lambda: _load(found, truncate_dim))
    return SentenceTransformerEncoder(found, model, prompts, batch_size, similarity, truncate_dim)


@dataclass(frozen=True)
class SentenceTransformerEncoder:
    """A model and what decides its vectors. model: gives it, loaded when it is first wanted."""

    checkpoint: Checkpoint
    model: Callable[[], SentenceTransformer]
    prompts: Prompts
    batch_size: int
    similarity: Similarity
    truncate_dim: int | None

    makes: ClassVar[Representation] = "dense"

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length, dimension kept."""
        return {**self.checkpoint.identity, "truncate_dim": self.truncate_dim}

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role, else none."""
        return self.prompts[role]

    def instructed(self, instructions: Mapping[str, str]) -> SentenceTransformerEncoder:
        """The same with a task's instructions, by role, in its prompts."""
        return replace(self, prompts=filled(self.prompts, instructions))

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        self.model()

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors [n, d] as float32; of a text without tokens, zeros. Raises what the model raises,
        and InputError where a prompt wants an instruction that the task does not have.
        """
        prompt, model = whole_prompt(self.prompts, role, self.checkpoint.target), self.model()
        options = {"batch_size": self.batch_size, "convert_to_tensor": True}
        rows, made, counts = ask(model, texts, role, prompt, model.max_seq_length, **options)
        width = made.shape[1] if rows else model.get_embedding_dimension() or 1
        values = np.zeros((len(texts), width), np.float32)
        if rows:
            values[rows] = made.float().cpu().numpy()
        return Encoded(values, *counts)


def _load(found: Checkpoint, truncate_dim: int | None) -> SentenceTransformer:
    """The model, in the checkpoint's dtype."""
    if model2vec.fits(found):
        return model2vec.load(found, truncate_dim)
    model: SentenceTransformer = found.load("SentenceTransformer", truncate_dim=truncate_dim)
    if _static(found):  # which ignores the dtype that it is loaded with
        import torch

        model.to(getattr(torch, found.dtype))
    return model


def _static(found: Checkpoint) -> bool:
    """Whether a model averages vectors of tokens, which nothing around them changes."""
    modules = found.settings("modules.json") or [{"type": ""}]
    return model2vec.fits(found) or modules[0]["type"].endswith(".StaticEmbedding")
