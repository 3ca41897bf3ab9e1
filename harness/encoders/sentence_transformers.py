"""Dense vectors of any sentence-transformers model, from the hub or a folder, or packaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from harness.arrays import Float32
from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity, model2vec
from harness.encoders.checkpoint import MODEL, Checkpoint, ModelOptions, checkpoint
from harness.encoders.pretrained import Batch, PretrainedEncoder
from harness.encoders.prompting import MODEL_S_OWN, PromptOptions
from harness.encoders.settings import ModelConfig
from harness.errors import InputError
from harness.vectors import Representation

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from harness.packing.batches import Features
    from harness.packing.model import Taken

OTHERS = {"SparseEncoder": "splade", "MultiVectorEncoder": "colbert", "ColBERT": "colbert"}


@ENCODERS.register("st", renamed={"truncate_dim": "dim"})
def sentence_transformer(
    target: str,
    *,
    options: ModelOptions = MODEL,
    dim: int | None = None,
    prompts: PromptOptions = MODEL_S_OWN,
    text_prompt: str | None = None,
) -> SentenceTransformerEncoder:
    """Dense vectors of a sentence-transformers or model2vec model: hub id, folder, packaged name.

    {instruction} in a prompt stands for what the task asks for.

    Args:
        target: The model.
        options: How it is had and run.
        dim: Dimensions kept of its vectors; None for all.
        prompts: For queries and documents, in place of the model's own.
        text_prompt: The same for sentences of pairs and labelled texts.

    Returns:
        The encoder.

    Raises:
        InputError: The model cannot be had, is pickled, brings code or makes no such vectors.
    """
    found = checkpoint(target, options, dim=dim)
    saved = found.saved
    similarity = _similarity(target, saved)
    if (limit := options.max_length) is not None and _static(found):
        raise InputError(f"{target}: max_length={limit}: a static model reads all of a text")
    if options.attention is not None and _static(found):
        raise InputError(f"{target}: attention={options.attention}: a static model has none")
    own, default = saved.prompts or {}, saved.default_prompt_name or ""
    return SentenceTransformerEncoder(
        checkpoint=found,
        prompting=prompts.replace_own(own, default, text=text_prompt),
        batch_size=options.batch_size,
        similarity=similarity,
        dim=dim,
    )


def _similarity(target: str, saved: ModelConfig) -> Similarity:
    """How a model compares its vectors. Raises InputError for what is not served."""
    if other := OTHERS.get(saved.model_type or ""):
        raise InputError(f"{target} makes no dense vectors: expected {other}:{target}")
    similarity = saved.similarity_fn_name or "cosine"
    if similarity not in ("cosine", "dot"):
        raise InputError(f"{target} compares vectors by {similarity}: expected cosine or dot")
    return "cosine" if similarity == "cosine" else "dot"


@dataclass(frozen=True, kw_only=True)
class SentenceTransformerEncoder(PretrainedEncoder):
    """A model that makes one vector of a text.

    Attributes:
        similarity: How the model compares two of them.
        dim: Dimensions kept of its vectors; None for all.
    """

    representation: ClassVar[Representation] = "dense"

    similarity: Similarity = "cosine"
    dim: int | None = None

    @property
    def asked_dim(self) -> int | None:
        """Dimensions kept."""
        return self.dim

    def fingerprint(self) -> Mapping[str, object]:
        """Tell weights (content or hub commit), dtype, maximal length, dimension kept."""
        return {**self.checkpoint.identity, "truncate_dim": self.dim}

    def check(self) -> None:
        """Raise InputError where the model has fewer dimensions than are to be kept."""
        whole = self.model.get_embedding_dimension()
        if whole is not None and self.dim is not None and self.dim > whole:
            raise InputError(
                f"{self.checkpoint.target}: dim={self.dim}: the model makes {whole}-d vectors"
            )

    def read_weights(self) -> SentenceTransformer:
        """Load the model in the checkpoint's dtype. Raises InputError where there is none."""
        found = self.checkpoint
        if model2vec.fits(found):
            return model2vec.load(found)
        model: SentenceTransformer = found.load("SentenceTransformer")
        if _static(found):  # which ignores the dtype that it is loaded with
            import torch

            model.to(getattr(torch, found.options.dtype))
        return model

    def limit(self, role: Role) -> int | None:
        """The model's own, or the spec's."""
        limit: int | None = self.model.max_seq_length
        return limit

    def take(self, made: Features, texts: int) -> Taken:
        """Vectors [n, d] of the texts, cut to the dimensions that are kept."""
        return (made["sentence_embedding"][:texts, : self.dim].float(),)

    def put(self, taken: Sequence[Batch], texts: int) -> Float32:
        """Vectors [n, d] as float32; of a text without tokens, zeros."""
        whole = self.model.get_embedding_dimension()
        width = taken[0][1][0].shape[1] if taken else self.dim or whole or 1
        values = np.zeros((texts, width), np.float32)
        for rows, (made,) in taken:
            values[rows] = made
        return values

    def encode_asked(self, texts: Sequence[str], role: Role) -> Encoded:
        """Vectors [n, d] as float32; of a text without tokens, zeros."""
        rows, made, counts = self.ask(
            texts, role, self.limit(role), convert_to_tensor=True, truncate_dim=self.dim
        )
        taken = [(np.array(rows), [made.float().cpu().numpy()])] if rows else []
        return Encoded(self.put(taken, len(texts)), *counts)


def _static(found: Checkpoint) -> bool:
    """Whether a model averages vectors of tokens, which nothing around them changes."""
    first = found.modules[:1]
    return model2vec.fits(found) or any(one.endswith(".StaticEmbedding") for one in first)
