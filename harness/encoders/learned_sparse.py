"""Learned sparse vectors: a weight for each term of a vocabulary (SPLADE, Formal et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.data import Role
from harness.encoders import ENCODERS, Encoded, Similarity
from harness.encoders.asking import Prompts, ask, filled, role_prompts, whole_prompt
from harness.encoders.weights import Checkpoint, Precision, checkpoint
from harness.errors import InputError
from harness.vectors import Representation, Sparse

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
    """Learned sparse vectors (SPLADE) of a model: hub id, folder or packaged name.

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
    if not found.is_a("SparseEncoder", "ForMaskedLM"):
        raise InputError(
            f"{target} has no weights for terms: expected a SparseEncoder of "
            "sentence-transformers or a masked language model"
        )
    config = found.config
    if (similarity := config.get("similarity_fn_name") or "dot") != "dot":
        raise InputError(f"{target} compares sparse vectors by {similarity}: expected dot")
    prompts = role_prompts(
        config.get("prompts") or {},
        query_prompt,
        document_prompt,
        default=config.get("default_prompt_name") or "",
    )
    model = cache(lambda: found.load("SparseEncoder"))
    return LearnedSparseEncoder(found, model, prompts, batch_size)


@dataclass(frozen=True)
class LearnedSparseEncoder:
    """A model and what decides its vectors. model: gives it, loaded when it is first wanted."""

    checkpoint: Checkpoint
    model: Callable[[], SparseEncoder]
    prompts: Prompts
    batch_size: int

    makes: ClassVar[Representation] = "sparse"
    similarity: ClassVar[Similarity] = "dot"

    def fingerprint(self) -> Mapping[str, object]:
        """Weights (content or hub commit), dtype, maximal length."""
        return {**self.checkpoint.identity, "makes": self.makes}

    def prompt(self, role: Role) -> str:
        """The spec's prompt, else the model's own for the role, else none."""
        return self.prompts[role]

    def instructed(self, instructions: Mapping[str, str]) -> LearnedSparseEncoder:
        """The same with a task's instructions, by role, in its prompts."""
        return replace(self, prompts=filled(self.prompts, instructions))

    def load(self) -> None:
        """Load the model. Raises InputError where its folder does not hold a usable one."""
        self.model()

    def encode(self, texts: Sequence[str], role: Role) -> Encoded:
        """Sparse vectors [n, v], of a text without tokens an empty one. Raises what the model
        raises, and InputError where a prompt wants an instruction that the task does not have.
        """
        from scipy.sparse import csr_matrix

        prompt, model = whole_prompt(self.prompts, role, self.checkpoint.target), self.model()
        options = {"batch_size": self.batch_size, "save_to_cpu": True}
        rows, made, counts = ask(model, texts, role, prompt, model.max_seq_length, **options)
        if not rows:
            first: Any = model[0]  # the model itself knows its width after a text only
            width = first.auto_model.config.vocab_size
            return Encoded(Sparse(csr_matrix((len(texts), width), dtype=np.float32)), *counts)
        made = made.coalesce()  # by row, then by term
        (row, term), weights = made.indices().numpy(), made.values().float().numpy()
        shape = (len(texts), made.shape[1])
        return Encoded(Sparse(csr_matrix((weights, (np.array(rows)[row], term)), shape)), *counts)
