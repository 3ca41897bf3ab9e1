"""Learned sparse vectors: a weight for each term of a vocabulary (SPLADE, Formal et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.checkpoint import ModelOptions, checkpoint
from harness.encoders.pretrained import PretrainedEncoder
from harness.encoders.prompting import MODEL_S_OWN, PromptOptions
from harness.errors import InputError
from harness.vectors import Representation, Sparse

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder


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

    def encode_asked(self, texts: Sequence[str], role: Role) -> Encoded:
        """Sparse vectors [n, v], of a text without tokens an empty one."""
        from scipy.sparse import csr_matrix

        model: SparseEncoder = self.model
        rows, made, counts = self.ask(texts, role, model.max_seq_length, save_to_cpu=True)
        if not rows:
            first: Any = model[0]  # the model itself knows its width after a text only
            width = first.auto_model.config.vocab_size
            return Encoded(Sparse(csr_matrix((len(texts), width), dtype=np.float32)), *counts)
        made = made.coalesce()  # by row, then by term
        (row, term), weights = made.indices().numpy(), made.values().float().numpy()
        shape = (len(texts), made.shape[1])
        return Encoded(Sparse(csr_matrix((weights, (np.array(rows)[row], term)), shape)), *counts)
