"""Learned sparse vectors: a weight for each term of a vocabulary (SPLADE, Formal et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.weights import Checkpoint, Precision, checkpoint, count_tokens, role_prompts
from harness.types import InputError, Representation, Role, Sparse

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder


@ENCODERS.register("splade")
def learned_sparse(
    target: str,
    *,
    revision: str | None = None,
    dtype: Precision = "float32",
    max_length: int | None = None,
    device: str = "auto",
    batch_size: int = 8,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    trust_remote_code: bool = False,
) -> LearnedSparseEncoder:
    """A learned sparse model: hub id, local folder or packaged name.

    A SparseEncoder of sentence-transformers, or a masked language model, whose logits are pooled by
    maximum. Parameters as for st; a batch needs batch_size x tokens x vocabulary numbers. Raises
    InputError where the model cannot be had, is pickled, brings code or has no weights for terms.
    """
    found = checkpoint(
        target,
        revision=revision,
        dtype=dtype,
        max_length=max_length,
        device=device,
        trust_remote_code=trust_remote_code,
        batch_size=batch_size,
    )
    config = found.settings("config_sentence_transformers.json")
    if (found.folder / "modules.json").is_file():
        trained = config.get("model_type") == "SparseEncoder"
    else:
        architectures = found.settings("config.json").get("architectures") or []
        trained = any(name.endswith("ForMaskedLM") for name in architectures)
    if not trained:
        raise InputError(
            f"{target} has no weights for terms: expected a SparseEncoder of "
            "sentence-transformers or a masked language model"
        )
    if (similarity := config.get("similarity_fn_name") or "dot") != "dot":
        raise InputError(f"{target} compares sparse vectors by {similarity}: expected dot")
    default = config.get("default_prompt_name") or ""
    prompts = role_prompts(config.get("prompts") or {}, query_prompt, document_prompt, default)
    return LearnedSparseEncoder(found, prompts, batch_size)


@dataclass(frozen=True)
class LearnedSparseEncoder:
    """A model and what decides its vectors; its weights are loaded when a text needs them."""

    checkpoint: Checkpoint
    prompts: Mapping[Role, str]
    batch_size: int

    makes: ClassVar[Representation] = "sparse"
    similarity: ClassVar[Similarity] = "dot"

    @cached_property
    def model(self) -> SparseEncoder:
        """The loaded model."""
        model: SparseEncoder = self.checkpoint.load("SparseEncoder")
        return model

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length."""
        return {**self.checkpoint.identity, "makes": self.makes}

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role, else none."""
        return self.prompts[role]

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        assert self.model is not None

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Sparse vectors [n, v], of a text without tokens an empty one; only a batch of them is
        ever dense. Raises what the model does.
        """
        from scipy.sparse import csr_matrix, vstack

        options: dict[str, Any] = {} if role == "text" else {"task": role}
        counts = count_tokens(self.model, texts, self.prompts[role], self.model.max_seq_length)
        kept = np.flatnonzero(counts[0]).tolist()  # models fail where a whole batch has no tokens
        if not kept:
            first: Any = self.model[0]  # the model itself knows its width after a text only
            width = first.auto_model.config.vocab_size
            return Encoded(Sparse(csr_matrix((len(texts), width), dtype=np.float32)), *counts)
        parts = []
        for low in range(0, len(kept), self.batch_size):
            weights = self.model.encode(
                [texts[row] for row in kept[low : low + self.batch_size]],
                prompt=self.prompts[role],
                batch_size=self.batch_size,
                show_progress_bar=False,
                convert_to_sparse_tensor=False,
                save_to_cpu=True,
                **options,
            )
            parts.append(csr_matrix(weights.float().numpy()))
        found = vstack(parts, format="csr", dtype=np.float32)
        offsets = np.zeros(len(texts) + 1, np.int64)
        offsets[1:][kept] = np.diff(found.indptr)
        shape = (len(texts), found.shape[1])
        matrix = csr_matrix((found.data, found.indices, offsets.cumsum()), shape=shape)
        return Encoded(Sparse(matrix), *counts)
