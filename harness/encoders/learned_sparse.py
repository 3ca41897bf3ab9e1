"""Learned sparse vectors: a weight for each term of a vocabulary (SPLADE, Formal et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.checkpoint import ModelOptions, checkpoint
from harness.encoders.pretrained import Batch, PretrainedEncoder
from harness.encoders.prompting import MODEL_S_OWN, PromptOptions
from harness.errors import InputError
from harness.vectors import Representation, Sparse

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SparseEncoder

    from harness.packing.batches import Features
    from harness.packing.model import Taken

SMALL = ModelOptions(batch_size=8)  # a batch needs batch_size x tokens x vocabulary numbers


@ENCODERS.register("splade")
def learned_sparse(
    target: str, *, options: ModelOptions = SMALL, prompts: PromptOptions = MODEL_S_OWN
) -> LearnedSparseEncoder:
    """Learned sparse vectors (SPLADE) of a model: hub id, folder or packaged name.

    A SparseEncoder of sentence-transformers, or a masked language model, whose logits are pooled by
    maximum. A batch needs batch_size x tokens x vocabulary numbers.

    Args:
        target: The model.
        options: How it is had and run.
        prompts: For queries and documents, in place of the model's own.

    Returns:
        The encoder.

    Raises:
        InputError: The model cannot be had, is pickled, brings code or has no weights for terms.
    """
    found = checkpoint(target, options)
    if not found.is_a("SparseEncoder", "ForMaskedLM"):
        raise InputError(
            f"{target} has no weights for terms: expected a SparseEncoder of "
            "sentence-transformers or a masked language model"
        )
    saved = found.saved
    if (similarity := saved.similarity_fn_name or "dot") != "dot":
        raise InputError(f"{target} compares sparse vectors by {similarity}: expected dot")
    own, default = saved.prompts or {}, saved.default_prompt_name or ""
    return LearnedSparseEncoder(
        checkpoint=found,
        prompting=prompts.replace_own(own, default),
        batch_size=options.batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class LearnedSparseEncoder(PretrainedEncoder):
    """A model that weighs the terms of its vocabulary."""

    representation: ClassVar[Representation] = "sparse"
    similarity: ClassVar[Similarity] = "dot"

    def fingerprint(self) -> Mapping[str, object]:
        """Tell weights (content or hub commit), dtype, maximal length."""
        return {**self.checkpoint.identity, "makes": self.representation}

    def read_weights(self) -> SparseEncoder:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        model: SparseEncoder = self.checkpoint.load("SparseEncoder")
        return model

    def limit(self, role: Role) -> int | None:
        """The model's own, or the spec's."""
        limit: int | None = self.model.max_seq_length
        return limit

    def take(self, made: Features, texts: int) -> Taken:
        """Text, term and weight of each weight that is not zero, and the number of terms."""
        return _list(made["sentence_embedding"][:texts].to_sparse())

    def compare(self, made: Features, texts: int) -> Taken:
        """All weights [n, v]: one that is 0 in one batch may be hardly more in the other."""
        return (made["sentence_embedding"][:texts],)

    def put(self, taken: Sequence[Batch], texts: int) -> Sparse:
        """Sparse vectors [n, v], of a text without tokens an empty one."""
        from scipy.sparse import csr_matrix

        first: Any = self.model[0]
        width = int(taken[0][1][3]) if taken else first.auto_model.config.vocab_size
        text = [rows[own] for rows, (own, *_) in taken]
        term, weights = ([arrays[at] for _, arrays in taken] for at in (1, 2))
        empty = np.zeros(0, np.intp)
        found = np.concatenate([np.zeros(0, np.float32), *weights])
        places = np.concatenate([empty, *text]), np.concatenate([empty, *term])
        return Sparse(csr_matrix((found, places), (texts, width)))

    def encode_asked(self, texts: Sequence[str], role: Role) -> Encoded:
        """Sparse vectors [n, v], of a text without tokens an empty one."""
        rows, made, counts = self.ask(texts, role, self.limit(role), save_to_cpu=True)
        taken = [(np.array(rows), [one.numpy() for one in _list(made)])] if rows else []
        return Encoded(self.put(taken, len(texts)), *counts)


def _list(made: torch.Tensor) -> Taken:
    """Row, term and weight of what a sparse tensor holds, and how wide it is."""
    import torch

    made = made.coalesce()  # by row, then by term
    row, term = made.indices()
    return row, term, made.values().float(), torch.tensor(made.shape[1])
